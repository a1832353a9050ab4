//! The engine: many connections, one thread, one outstanding request on each.
//!
//! In: what to send, and a speaker for each connection. Out: what came of it.

use crate::counts::{Latency, Numbers, Outcome, histogram};
use crate::poller::Poller;
use crate::schedule::{Schedule, Turn};
use crate::speaker::{Answer, Speaker};
use crate::timeline::{Timeline, thread_cpu_us, wake_exactly};
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// After a refusal or a lost connection, so that a server that is not there is not hammered: microseconds.
const REST_US: u64 = 10_000;
/// Until an answer counts as lost, in microseconds.
const ANSWER_TIMEOUT_US: u64 = 60_000_000;
/// Between two looks for lost answers, in microseconds.
const LOOK_US: u64 = 1_000_000;
/// For connecting and greeting.
const GREET_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is generated.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Connections, each with one request outstanding.
    pub connections: usize,
    /// Records of each request.
    pub batch: usize,
    /// Records a second; none: as many as the server takes.
    pub rate: Option<u64>,
    /// For how long requests are to be sent.
    pub duration: Duration,
    /// How long after that the requests that are late may still be sent.
    pub patience: Duration,
    /// Number of the first record.
    pub first: u64,
}

struct Flight {
    first: u64,
    /// Its latency counts from here.
    from_us: u64,
    sent_us: u64,
}

struct Connection<S> {
    stream: Option<TcpStream>,
    speaker: S,
    received: Vec<u8>,
    flight: Option<Flight>,
    /// Bytes of the request that the socket has taken.
    written: usize,
}

struct Drive<'a, S> {
    load: &'a Load,
    timeline: &'a Timeline,
    poller: Poller,
    connections: Vec<Connection<S>>,
    schedule: Schedule,
    free: VecDeque<usize>,
    /// Until when, who.
    resting: VecDeque<(u64, usize)>,
    in_flight: usize,
    scratch: Vec<u8>,
    latency: Histogram<u64>,
    late: Histogram<u64>,
    acknowledged: Numbers,
    requests: u64,
    refused: BTreeMap<String, u64>,
}

/// Sends what is asked for and returns when every answer has come. Blocks the calling thread.
///
/// # Errors
/// A server that cannot be reached at the beginning. One that goes away later is counted.
pub fn drive<S: Speaker>(
    load: &Load,
    timeline: &Timeline,
    mut speaker: impl FnMut(usize) -> S,
) -> anyhow::Result<Outcome> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4);
    let mut drive = Drive {
        load,
        timeline,
        poller: Poller::new()?,
        connections: Vec::with_capacity(load.connections),
        schedule: Schedule::new(load.first, load.rate, load.batch as u64, micros(load.duration), micros(load.patience)),
        free: (0..load.connections).collect(),
        resting: VecDeque::new(),
        in_flight: 0,
        scratch: vec![0; READ_BYTES],
        latency: histogram()?,
        late: histogram()?,
        acknowledged: Numbers::default(),
        requests: 0,
        refused: BTreeMap::new(),
    };
    for number in 0..load.connections {
        let mut speaker = speaker(number);
        let stream = connect(load.address, &mut speaker)
            .map_err(|error| anyhow::anyhow!("no host answers at {}: {error}", load.address))?;
        drive.poller.watch(&stream, number as u64)?;
        let (stream, received) = (Some(stream), Vec::with_capacity(1_024));
        drive.connections.push(Connection { stream, speaker, received, flight: None, written: 0 });
    }
    wake_exactly();
    drive.run()
}

fn connect<S: Speaker>(address: SocketAddr, speaker: &mut S) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, GREET_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREET_TIMEOUT))?;
    speaker.greet(&mut stream)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl<S: Speaker> Drive<'_, S> {
    fn run(mut self) -> anyhow::Result<Outcome> {
        let (cpu_us, begun_us) = (thread_cpu_us(), self.timeline.now_us());
        self.schedule.begin(begun_us);
        let (mut ready, mut looked_us) = (Vec::new(), begun_us);
        let mut over = false;
        while !over || self.in_flight > 0 {
            let now_us = self.timeline.now_us();
            while let Some((_, number)) = self.resting.pop_front_if(|(until_us, _)| *until_us <= now_us) {
                self.free.push_back(number);
            }
            let mut wake_us = self.resting.front().map_or(now_us + LOOK_US, |(until_us, _)| *until_us);
            while !over && let Some(number) = self.free.pop_front() {
                match self.schedule.turn(self.timeline.now_us()) {
                    Turn::Now(first, at_us) => self.send(number, first, at_us, true),
                    Turn::At(at_us) => {
                        self.free.push_front(number);
                        wake_us = wake_us.min(at_us);
                        break;
                    }
                    Turn::Over => over = true,
                }
            }
            // What is free now waits; whoever becomes free below sends in the same round.
            let now_us = self.timeline.now_us();
            self.poller.wait(wake_us.saturating_sub(now_us).min(LOOK_US), &mut ready)?;
            for number in ready.drain(..) {
                over |= self.ready(number as usize);
            }
            let now_us = self.timeline.now_us();
            if now_us >= looked_us + LOOK_US {
                looked_us = now_us;
                self.give_up(now_us);
                over |= self.schedule.is_over(now_us);
            }
        }
        Ok(Outcome {
            requests: self.requests,
            acknowledged: self.acknowledged,
            refused: self.refused,
            latency: Latency::of(&self.latency),
            late: Latency::of(&self.late),
            took_us: self.timeline.now_us() - begun_us,
            cpu_us: thread_cpu_us() - cpu_us,
            unsent: self.schedule.unsent(),
            next: self.schedule.next(),
        })
    }

    /// Sends one request; `waited` says that the connection was free before the turn came.
    fn send(&mut self, number: usize, first: u64, at_us: Option<u64>, waited: bool) {
        let sent_us = self.timeline.now_us();
        let from_us = at_us.unwrap_or(sent_us);
        if waited && at_us.is_some() {
            self.late.saturating_record(sent_us.saturating_sub(from_us));
        }
        let connection = &mut self.connections[number];
        if connection.stream.is_none() {
            connection.stream = connect(self.load.address, &mut connection.speaker)
                .and_then(|stream| self.poller.watch(&stream, number as u64).map(|()| stream))
                .ok();
        }
        connection.speaker.stamp(first, from_us);
        connection.flight = Some(Flight { first, from_us, sent_us });
        connection.written = 0;
        self.in_flight += 1;
        self.write(number);
    }

    fn write(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let Some(stream) = &mut connection.stream else { return self.lost(number, "connection-lost") };
        while connection.flight.is_some() && connection.written < connection.speaker.request().len() {
            match stream.write(&connection.speaker.request()[connection.written..]) {
                Ok(count) => connection.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lost(number, "connection-lost"),
            }
        }
    }

    /// Something happened to a connection: reads its answer and sends the next request. True when there is
    /// no next one.
    fn ready(&mut self, number: usize) -> bool {
        if self.connections[number].written < self.connections[number].speaker.request().len() {
            self.write(number);
        }
        if !self.read(number) {
            return false;
        }
        let connection = &mut self.connections[number];
        let answer = connection.speaker.answer(&connection.received);
        let (taken, code) = match answer {
            Answer::More(taken) => {
                connection.received.drain(..taken);
                return false;
            }
            Answer::Done(taken) => (taken, None),
            Answer::Refused(taken, code) => (taken, Some(code)),
            Answer::Last => {
                connection.stream = None;
                (connection.received.len(), None)
            }
            Answer::Garbled => {
                self.lost(number, "connection-garbled");
                return false;
            }
        };
        if taken == connection.received.len() {
            connection.received.clear();
        } else {
            connection.received.drain(..taken);
        }
        let Some(flight) = connection.flight.take() else { return false };
        self.in_flight -= 1;
        let now_us = self.timeline.now_us();
        if let Some(code) = code {
            *self.refused.entry(code).or_default() += self.load.batch as u64;
            self.resting.push_back((now_us + REST_US, number));
            return false;
        }
        self.requests += 1;
        self.latency.saturating_record(now_us.saturating_sub(flight.from_us));
        self.acknowledged.add_all(flight.first, self.load.batch as u64);
        match self.schedule.turn(now_us) {
            // Those that waited longer come first.
            Turn::Now(first, at_us) if self.free.is_empty() => self.send(number, first, at_us, false),
            Turn::Now(first, at_us) => {
                let waiting = self.free.pop_front().unwrap_or(number);
                self.free.push_back(number);
                self.send(waiting, first, at_us, true);
            }
            Turn::At(_) => self.free.push_back(number),
            Turn::Over => return true,
        }
        false
    }

    /// Reads all that there is; false when the connection is lost.
    fn read(&mut self, number: usize) -> bool {
        let connection = &mut self.connections[number];
        loop {
            let Some(stream) = &mut connection.stream else { return false };
            let have = connection.received.len();
            let outcome = stream.read(&mut self.scratch);
            connection.received.extend_from_slice(&self.scratch[..outcome.as_ref().copied().unwrap_or(0)]);
            match outcome {
                Ok(0) => {
                    self.lost(number, "connection-lost");
                    return false;
                }
                Ok(READ_BYTES) if have < ANSWER_BYTES_MAX => {}
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return have > 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.lost(number, "connection-lost");
                    return false;
                }
            }
        }
    }

    /// Counts what was in flight as refused, and lets the connection rest before it is made again.
    fn lost(&mut self, number: usize, code: &str) {
        let connection = &mut self.connections[number];
        connection.stream = None;
        connection.received.clear();
        if connection.flight.take().is_some() {
            self.in_flight -= 1;
            *self.refused.entry(code.to_owned()).or_default() += self.load.batch as u64;
            self.resting.push_back((self.timeline.now_us() + REST_US, number));
        }
    }

    fn give_up(&mut self, now_us: u64) {
        for number in 0..self.connections.len() {
            let flight = self.connections[number].flight.as_ref();
            if flight.is_some_and(|flight| now_us.saturating_sub(flight.sent_us) > ANSWER_TIMEOUT_US) {
                self.lost(number, "connection-timeout");
            }
        }
    }
}

#[cfg(test)]
mod tests;
