//! The destination that the generator plays for the host: takes every record, remembers its number and
//! time, and fails as it is told to.
//!
//! In: deliveries of http targets. Out: counts. It runs on a thread of its own.

use crate::counts::{Latency, Numbers, histogram};
use crate::head;
use crate::poller::Poller;
use crate::timeline::{Timeline, thread_cpu_us, wake_exactly};
use crate::value::Values;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use walhost_core::exec;

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
/// Between two looks at what it is told, in microseconds.
const LOOK_US: u64 = 5_000;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// A due time has whole milliseconds: records may come that much before the time that they carry.
const EARLY_US: u64 = 1_000;
/// The listener's number among the connections'.
const LISTENER: u64 = 0;

/// What has arrived so far.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Records that were answered with 200.
    pub delivered: Numbers,
    /// How often one of those came again.
    pub duplicated: u64,
    /// Requests that were answered with 500.
    pub failed: u64,
    /// Records that came more than a millisecond before the time that they carry.
    pub early: u64,
    /// Records whose request is held without an answer.
    pub held: u64,
    /// When the last record came, on the timeline.
    pub last_us: u64,
    /// When the first one came.
    pub first_us: Option<u64>,
    /// Processor time of the receiver's thread, in microseconds.
    pub cpu_us: f64,
    latency: Histogram<u64>,
}

impl Seen {
    fn new() -> anyhow::Result<Seen> {
        let delivered = Numbers::default();
        let latency = histogram()?;
        Ok(Seen {
            delivered,
            duplicated: 0,
            failed: 0,
            early: 0,
            held: 0,
            last_us: 0,
            first_us: None,
            cpu_us: 0.0,
            latency,
        })
    }

    /// From the time that a record carries to its delivery.
    pub fn latency(&self) -> Latency {
        Latency::of(&self.latency)
    }
}

/// What it does with requests; changed while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Every so many-th request is answered with 500; 0: none.
    pub fail_every: u64,
    /// Nobody listens.
    pub down: bool,
    /// Requests with this record are never answered.
    pub hold: Option<u64>,
}

struct Shared {
    seen: Mutex<Seen>,
    behaviour: Mutex<Behaviour>,
    stop: AtomicBool,
}

/// A listening destination; it ends when this is dropped.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// Listens at an address (port 0: a free one) for records of these values.
    pub fn start(address: SocketAddr, values: &Arc<Values>, timeline: &Timeline) -> anyhow::Result<Receiver> {
        let listener = listen(address).map_err(|error| anyhow::anyhow!("cannot listen at {address}: {error}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            seen: Mutex::new(Seen::new()?),
            behaviour: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut taking = Taking {
            address,
            poller: Poller::new()?,
            listener: None,
            connections: HashMap::new(),
            next: LISTENER + 1,
            requests: 0,
            scratch: vec![0; READ_BYTES],
            shared: Arc::clone(&shared),
            values: Arc::clone(values),
            timeline: timeline.clone(),
        };
        taking.poller.watch(&listener, LISTENER)?;
        taking.listener = Some(listener);
        let thread = exec::thread("bench-receiver", move || taking.run())?;
        Ok(Receiver { address, shared, thread: Some(thread) })
    }

    /// What has arrived so far.
    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// How many different records have been taken.
    pub fn delivered(&self) -> u64 {
        self.lock().delivered.count()
    }

    /// Forgets what arrived.
    pub fn forget(&self) -> anyhow::Result<()> {
        *self.lock() = Seen::new()?;
        Ok(())
    }

    /// From now on does as this says; it goes down and comes back within some milliseconds.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("the receiver does not panic") = behaviour;
    }

    /// How many of these have not arrived.
    pub fn missing(&self, acknowledged: &Numbers) -> u64 {
        acknowledged.without(&self.lock().delivered)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().expect("the receiver does not panic")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the receiver has been reported on its thread.
            drop(thread.join());
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// No more answers: a request of it is held.
    held: bool,
}

struct Taking {
    address: SocketAddr,
    poller: Poller,
    listener: Option<TcpListener>,
    connections: HashMap<u64, Connection>,
    next: u64,
    requests: u64,
    scratch: Vec<u8>,
    shared: Arc<Shared>,
    values: Arc<Values>,
    timeline: Timeline,
}

impl Taking {
    fn run(mut self) {
        wake_exactly();
        let mut ready = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let behaviour = *self.shared.behaviour.lock().expect("nobody panics with it");
            self.be(behaviour);
            if self.poller.wait(LOOK_US, &mut ready).is_err() {
                return;
            }
            if ready.contains(&LISTENER) {
                self.accept();
            }
            for number in ready.drain(..).filter(|number| *number != LISTENER) {
                let Some(mut connection) = self.connections.remove(&number) else { continue };
                if self.take(&mut connection) {
                    self.connections.insert(number, connection);
                }
            }
            self.shared.seen.lock().expect("nobody panics with it").cpu_us = thread_cpu_us();
        }
    }

    /// Goes down, or comes back.
    fn be(&mut self, behaviour: Behaviour) {
        if behaviour.down {
            self.listener = None;
            self.connections.clear();
        } else if self.listener.is_none()
            && let Ok(listener) = listen(self.address)
            && self.poller.watch(&listener, LISTENER).is_ok()
        {
            self.listener = Some(listener);
        }
    }

    fn accept(&mut self) {
        while let Some((stream, _)) = self.listener.as_ref().and_then(|listener| listener.accept().ok()) {
            let number = self.next;
            let ready = stream.set_nonblocking(true).is_ok()
                // Without it, small answers wait for the other side's delayed ones.
                && stream.set_nodelay(true).is_ok()
                && self.poller.watch(&stream, number).is_ok();
            if ready {
                self.next += 1;
                self.connections.insert(number, Connection { stream, received: Vec::new(), held: false });
            }
        }
    }

    /// Takes what a connection brought; false when it is to be closed.
    fn take(&mut self, connection: &mut Connection) -> bool {
        loop {
            let outcome = connection.stream.read(&mut self.scratch);
            connection.received.extend_from_slice(&self.scratch[..outcome.as_ref().copied().unwrap_or(0)]);
            match outcome {
                Ok(0) => return false,
                Ok(_) if !self.answer(connection) => return false,
                Ok(READ_BYTES) => {}
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Answers every whole request that is there.
    fn answer(&mut self, connection: &mut Connection) -> bool {
        let mut taken = 0;
        while !connection.held {
            let rest = &connection.received[taken..];
            let request = match head::head(rest) {
                Ok(Some(request)) if rest.len() >= request.bytes() => request,
                Ok(_) => break,
                Err(_) => return false,
            };
            let content = &rest[request.head_bytes..request.bytes()];
            taken += request.bytes();
            self.requests += 1;
            let answer = self.judge(content);
            match answer {
                Some(answer) if connection.stream.write_all(answer).is_ok() => {}
                Some(_) => return false,
                None => connection.held = true,
            }
        }
        connection.received.drain(..taken);
        true
    }

    fn judge(&self, content: &[u8]) -> Option<&'static [u8]> {
        let now_us = self.timeline.now_us();
        let behaviour = *self.shared.behaviour.lock().expect("nobody panics with it");
        let mut seen = self.shared.seen.lock().expect("nobody panics with it");
        if let Some(hold) = behaviour.hold
            && self.values.find(content).any(|(number, _)| number == hold)
        {
            seen.held += 1;
            return None;
        }
        if behaviour.fail_every > 0 && self.requests.is_multiple_of(behaviour.fail_every) {
            seen.failed += 1;
            return Some(FAILED);
        }
        for (number, at_us) in self.values.find(content) {
            if seen.delivered.add(number) {
                seen.latency.saturating_record(now_us.saturating_sub(at_us));
                seen.early += u64::from(now_us + EARLY_US < at_us);
                seen.first_us.get_or_insert(now_us);
                seen.last_us = now_us;
            } else {
                seen.duplicated += 1;
            }
        }
        Some(TAKEN)
    }
}
