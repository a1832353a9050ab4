//! One connection of the generator: a request, its answer, the next one.
//!
//! In: turns of the schedule. Out: counts.

use super::Run;
use super::answer::{self, Head};
use super::schedule::Turn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use walhost_core::Clock;

/// How late the timer may wake a sender without its being the host's doing: tokio's has whole milliseconds.
const TIMER_SLACK_US: u64 = 2_000;
/// After a refusal or a lost connection, so that a host that is not there is not hammered.
const PAUSE: Duration = Duration::from_millis(10);
/// Until an answer counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything of a request before its length and body.
pub fn head(namespace: &str, ingest_url: &str, token: Option<&str>, batch: usize) -> String {
    let host = ingest_url.strip_prefix("http://").unwrap_or(ingest_url);
    let kind = if batch > 1 { "application/x-ndjson" } else { "application/json" };
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("POST /v1/namespaces/{namespace}/records HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\n{token}")
}

/// One connection with its request, of which only numbers and times change.
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the values begin in the request.
    values: Vec<usize>,
    received: Vec<u8>,
    run: Rc<Run>,
}

impl Connection {
    /// Connects and builds the request.
    pub async fn open(address: SocketAddr, head: &str, batch: usize, run: Rc<Run>) -> anyhow::Result<Connection> {
        let stream =
            connect(address).await.map_err(|error| anyhow::anyhow!("no host answers at {address}: {error}"))?;
        let separators = if batch > 1 { batch } else { 0 };
        let length = batch * run.values.size_bytes() + separators;
        let mut request = format!("{head}content-length: {length}\r\n\r\n").into_bytes();
        request.reserve_exact(length);
        let mut values = Vec::with_capacity(batch);
        for _ in 0..batch {
            values.push(request.len());
            request.extend_from_slice(run.values.template());
            if batch > 1 {
                request.push(b'\n');
            }
        }
        Ok(Connection { address, stream, request, values, received: Vec::with_capacity(1024), run })
    }

    /// Sends until the schedule has no more turns.
    pub async fn generate(mut self) {
        let mut free_us = self.run.now_us();
        loop {
            let turn = self.run.schedule.borrow_mut().turn(self.run.now_us());
            let Some(turn) = turn else { return };
            let from_us = self.wait(turn, free_us).await;
            let failed = self.exchange(turn.first, from_us).await;
            if let Err(code) = failed {
                self.run.counts.borrow_mut().refused(&code, self.values.len() as u64);
                self.run.clock.sleep(PAUSE).await;
                if code.starts_with("connection-") {
                    self.reconnect().await;
                }
            }
            free_us = self.run.now_us();
        }
    }

    /// Waits for a turn's time; answers from when on its latency counts: from its time in the schedule, but
    /// for what the timer alone was late.
    async fn wait(&self, turn: Turn, free_us: u64) -> u64 {
        let Some(at_us) = turn.at_us else { return self.run.now_us() };
        let now_us = self.run.now_us();
        if at_us > now_us {
            self.run.clock.sleep(Duration::from_micros(at_us - now_us)).await;
        }
        let now_us = self.run.now_us();
        let late_us = now_us.saturating_sub(at_us);
        if free_us <= at_us && late_us <= TIMER_SLACK_US { now_us } else { at_us }
    }

    /// One request and its answer; the error is a code.
    async fn exchange(&mut self, first: u64, from_us: u64) -> Result<(), String> {
        for (number, place) in (first..).zip(&self.values) {
            let value = &mut self.request[*place..];
            self.run.values.stamp(value, number, from_us);
        }
        let request = &self.request;
        self.stream.write_all(request).await.map_err(|_| "connection-lost".to_owned())?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.answer()).await;
        let head = answer.map_err(|_| "connection-timeout".to_owned())??;
        let body = &self.received[head.head_bytes..head.bytes()];
        let outcome = match head.status {
            200..300 => Ok(()),
            status => Err(answer::code(status, body)),
        };
        self.received.drain(..head.bytes());
        if outcome.is_ok() {
            let took_us = self.run.now_us().saturating_sub(from_us);
            self.run.counts.borrow_mut().acknowledged(first, self.values.len() as u64, took_us);
        }
        if head.closes {
            self.reconnect().await;
        }
        outcome
    }

    async fn answer(&mut self) -> Result<Head, String> {
        loop {
            match answer::head(&self.received) {
                Ok(Some(head)) if self.received.len() >= head.bytes() => return Ok(head),
                Ok(_) => {}
                Err(_) => return Err("connection-garbled".to_owned()),
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(count) if count > 0 => {}
                _ => return Err("connection-lost".to_owned()),
            }
        }
    }

    async fn reconnect(&mut self) {
        self.received.clear();
        if let Ok(stream) = connect(self.address).await {
            self.stream = stream;
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
