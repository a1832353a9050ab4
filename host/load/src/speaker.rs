//! One connection's side of a protocol.
//!
//! In: numbers and times of records. Out: requests; and from received bytes, when a request is answered.

use std::io;
use std::net::TcpStream;

/// Speaks a protocol on one connection, with one request outstanding.
pub trait Speaker {
    /// What comes before the first request, and after every reconnection; the stream still blocks.
    fn greet(&mut self, stream: &mut TcpStream) -> io::Result<()>;

    /// Makes the next request carry the records from `first` on, to be sent at `at_us`.
    fn stamp(&mut self, first: u64, at_us: u64);

    /// The request as it was stamped.
    fn request(&self) -> &[u8];

    /// Looks at what was received and not taken so far.
    fn answer(&mut self, received: &[u8]) -> Answer;
}

/// What received bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No whole answer; so many bytes are done with.
    More(usize),
    /// Every record of the request is acknowledged.
    Done(usize),
    /// The request is refused, with a code.
    Refused(usize, String),
    /// The request is acknowledged, and the other side closes.
    Last,
    /// Not this protocol.
    Garbled,
}
