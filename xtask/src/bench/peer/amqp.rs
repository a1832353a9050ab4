//! As much of AMQP 0-9-1 as a publisher with confirms and a counting consumer need.
//!
//! In: methods and contents. Out: frames; and back again.

use crate::bench::peer::{Request, name, put};
use crate::bench::server::Ask;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use walhost_load::{Answer, Speaker, Values};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;
/// Type, channel, length; and the end.
const FRAME_BYTES: usize = 8;
/// `basic.ack` and `basic.nack`.
const TAKEN: (u16, u16) = (60, 80);
const REFUSED: (u16, u16) = (60, 120);

/// Writes arguments of a method.
#[derive(Default)]
struct Arguments(Vec<u8>);

impl Arguments {
    fn of(class: u16, method: u16) -> Arguments {
        Arguments::default().short(class).short(method)
    }
    fn octet(mut self, value: u8) -> Arguments {
        self.0.push(value);
        self
    }
    fn short(mut self, value: u16) -> Arguments {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    fn long(mut self, value: u32) -> Arguments {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    fn short_text(mut self, text: &str) -> Arguments {
        self.0.push(u8::try_from(text.len()).expect("names here are short"));
        self.0.extend_from_slice(text.as_bytes());
        self
    }
    fn long_text(mut self, text: &[u8]) -> Arguments {
        self.0.extend_from_slice(&u32::try_from(text.len()).expect("texts here are short").to_be_bytes());
        self.0.extend_from_slice(text);
        self
    }
    fn frame(self, channel: u16) -> Vec<u8> {
        frame(METHOD, channel, &self.0)
    }
}

fn frame(kind: u8, channel: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(content.len()).expect("frames here are short").to_be_bytes());
    bytes.extend_from_slice(content);
    bytes.push(END);
    bytes
}

/// One frame that was received.
struct Frame<'a> {
    kind: u8,
    content: &'a [u8],
    bytes: usize,
}

impl Frame<'_> {
    /// Class and method.
    fn method(&self) -> (u16, u16) {
        let two = |from: usize| self.content.get(from..from + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
        if self.kind == METHOD { (two(0), two(2)) } else { (0, 0) }
    }
}

/// The first frame of some bytes; none when it is not complete.
fn first(bytes: &[u8]) -> Option<Frame<'_>> {
    let head: &[u8; 7] = bytes.first_chunk()?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let content = bytes.get(7..7 + length)?;
    bytes.get(7 + length)?;
    Some(Frame { kind: head[0], content, bytes: length + FRAME_BYTES })
}

/// Reads frames until one of this method; answers its arguments.
fn expect(stream: &mut TcpStream, method: (u16, u16)) -> io::Result<Vec<u8>> {
    loop {
        let mut bytes = vec![0; 7];
        stream.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]) as usize;
        bytes.resize(length + FRAME_BYTES, 0);
        stream.read_exact(&mut bytes[7..])?;
        let Some(found) = first(&bytes) else { return Err(io::Error::other("a torn frame")) };
        match found.method() {
            found_method if found_method == method => return Ok(found.content[4..].to_vec()),
            // connection.close, channel.close: code and text.
            (10, 50) | (20, 40) => {
                let text = String::from_utf8_lossy(found.content.get(7..).unwrap_or_default()).into_owned();
                return Err(io::Error::other(text));
            }
            _ => {}
        }
    }
}

/// Opens a connection and channel 1.
pub fn open(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"AMQP\0\0\x09\x01")?;
    expect(stream, (10, 10))?;
    let start = Arguments::of(10, 11).long(0).short_text("PLAIN").long_text(b"\0guest\0guest").short_text("en_US");
    stream.write_all(&start.frame(0))?;
    expect(stream, (10, 30))?;
    // Channels, the largest frame, no heartbeats.
    stream.write_all(&Arguments::of(10, 31).short(16).long(131_072).short(0).frame(0))?;
    stream.write_all(&Arguments::of(10, 40).short_text("/").short_text("").octet(0).frame(0))?;
    expect(stream, (10, 41))?;
    stream.write_all(&Arguments::of(20, 10).short_text("").frame(1))?;
    expect(stream, (20, 11)).map(|_| ())
}

/// Declares a durable quorum queue, or asks for it; answers how many records are ready in it.
pub fn declare(stream: &mut TcpStream, queue: &str) -> io::Result<u64> {
    const DURABLE: u8 = 2;
    let kind = Arguments::default().short_text("x-queue-type").octet(b'S').long_text(b"quorum");
    let declare = Arguments::of(50, 10).short(0).short_text(queue).octet(DURABLE).long_text(&kind.0);
    stream.write_all(&declare.frame(1))?;
    let answer = expect(stream, (50, 11))?;
    let after_name = 1 + answer.first().copied().map_or(0, usize::from);
    let count = answer.get(after_name..after_name + 4);
    Ok(count.map_or(0, |four| u64::from(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))))
}

/// Waits for one delivery of a queue.
pub fn first_delivery(stream: &mut TcpStream, queue: &str) -> io::Result<()> {
    stream.write_all(&Arguments::of(60, 10).long(0).short(64).octet(0).frame(1))?;
    expect(stream, (60, 11))?;
    let consume = Arguments::of(60, 20).short(0).short_text(queue).short_text("").octet(0).long(0);
    stream.write_all(&consume.frame(1))?;
    expect(stream, (60, 60)).map(|_| ())
}

/// A connection's publishes with confirms; several records of a request are several publishes in one write.
pub struct Publisher {
    request: Request,
    batch: usize,
    /// Delivery tag of the request's first record, less one.
    before: u64,
    /// Which of the request's records are confirmed.
    confirmed: Vec<bool>,
}

impl Publisher {
    /// Builds the request.
    pub fn new(ask: &Ask, values: &Arc<Values>) -> Publisher {
        let request = Request::new(ask, values, |bytes, value| {
            let queue = name(0);
            let publish = Arguments::of(60, 40).short(0).short_text("").short_text(&queue).octet(0);
            let named = put(bytes, &publish.frame(1));
            // The routing key ends before the flags and the frame's end.
            let named = named.end - 2 - queue.len()..named.end - 2;
            // Class, weight, length of 64 bits, which properties: the delivery mode, which is persistent.
            let length = u32::try_from(value.len()).expect("values here are short");
            let header = Arguments::default().short(60).short(0).long(0).long(length).short(0x1000).octet(2);
            put(bytes, &frame(HEADER, 1, &header.0));
            let value_at = put(bytes, &frame(BODY, 1, value)).start + 7;
            (value_at, named)
        });
        Publisher { request, before: 0, confirmed: Vec::new(), batch: ask.batch }
    }
}

impl Speaker for Publisher {
    fn greet(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.before = 0;
        self.confirmed.clear();
        open(stream)?;
        stream.write_all(&Arguments::of(85, 10).octet(0).frame(1))?;
        expect(stream, (85, 11)).map(|_| ())
    }

    fn stamp(&mut self, first: u64, at_us: u64) {
        // Tags count the publishes of a channel; the last request's are all confirmed.
        self.before += self.confirmed.len() as u64;
        self.confirmed.clear();
        self.confirmed.resize(self.batch, false);
        self.request.stamp(first, at_us);
    }

    fn request(&self) -> &[u8] {
        self.request.bytes()
    }

    fn answer(&mut self, received: &[u8]) -> Answer {
        let mut taken = 0;
        while let Some(found) = first(&received[taken..]) {
            taken += found.bytes;
            match found.method() {
                TAKEN => {
                    let Some(tag) = found.content.get(4..12) else { return Answer::Garbled };
                    let tag = u64::from_be_bytes(tag.try_into().expect("eight bytes were taken"));
                    let multiple = found.content.get(12).is_some_and(|flags| flags & 1 == 1);
                    // They come in any order; one for several covers all before it.
                    let place = usize::try_from(tag.saturating_sub(self.before + 1)).unwrap_or(usize::MAX);
                    let from = if multiple { 0 } else { place };
                    self.confirmed.iter_mut().take(place.saturating_add(1)).skip(from).for_each(|one| *one = true);
                }
                REFUSED => return Answer::Refused(received.len(), "rabbitmq-nack".into()),
                (10, 50) | (20, 40) => return Answer::Garbled,
                _ => {}
            }
        }
        if self.confirmed.iter().all(|one| *one) { Answer::Done(taken) } else { Answer::More(taken) }
    }
}
