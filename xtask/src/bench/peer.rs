//! Servers beside walhost, installed from Debian, started on loopback, spoken to over bare TCP by the same
//! engine.
//!
//! In: a directory. Out: a running server. What they share is here: a request of many records, and bytes
//! read from a stream that blocks.

pub mod redis;
pub mod nats;
pub mod rabbitmq;
mod amqp;

use crate::bench::server::Ask;
use std::io::{self, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use walhost_load::Values;
use walhost_load::value::digits;

/// Digits of a stream's number.
const NAME_DIGITS: usize = 4;

/// The name of a stream, topic or queue.
pub fn name(number: u64) -> String {
    format!("bench-{number:0NAME_DIGITS$}")
}

/// A request whose records and names change in place.
pub struct Request {
    bytes: Vec<u8>,
    values_at: Vec<usize>,
    names_at: Vec<usize>,
    batch: u64,
    streams: u64,
    values: Arc<Values>,
}

impl Request {
    /// Built by `record`, which appends one record to the bytes and answers where its value and the names in
    /// it lie; the names are `name(0)`.
    pub fn new(
        ask: &Ask,
        values: &Arc<Values>,
        mut record: impl FnMut(&mut Vec<u8>, &[u8]) -> (usize, Range<usize>),
    ) -> Request {
        let mut request = Request {
            bytes: Vec::new(),
            values_at: Vec::new(),
            names_at: Vec::new(),
            batch: ask.batch as u64,
            streams: ask.streams.max(1),
            values: Arc::clone(values),
        };
        for _ in 0..ask.batch {
            let (value_at, name) = record(&mut request.bytes, values.template());
            request.values_at.push(value_at);
            request.names_at.push(name.end - NAME_DIGITS);
        }
        request
    }

    /// Makes it carry the records from `first` on.
    pub fn stamp(&mut self, first: u64, at_us: u64) {
        for (number, place) in (first..).zip(&self.values_at) {
            self.values.stamp(&mut self.bytes[*place..], number, at_us);
        }
        if self.streams > 1 {
            let stream = first / self.batch % self.streams;
            for place in &self.names_at {
                digits(&mut self.bytes[*place..*place + NAME_DIGITS], stream);
            }
        }
    }

    /// As it goes out.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends text and answers where it lies.
fn put(bytes: &mut Vec<u8>, text: &[u8]) -> Range<usize> {
    let from = bytes.len();
    bytes.extend_from_slice(text);
    from..bytes.len()
}

/// A line without its end.
fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).map_err(|_| io::Error::other("a line that is no text"))
}

/// Where a line ends, and what it says; none when it is not complete.
fn line(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((end + 2, &bytes[..end]))
}
