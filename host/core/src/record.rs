//! A record as transforms and targets see it: borrowed slices of one frame, nothing re-encoded.
//!
//! In: bytes that a queue has verified. Out: `Record`, `RecordId`, `Headers`.

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;

/// Header under which the content type of a value is kept.
pub const CONTENT_TYPE: &str = "content-type";
/// Header that marks a tombstone: the value is empty, and the key's value is deleted at the target.
pub const TOMBSTONE: &str = "wal-tombstone";
/// Header that carries the W3C trace context from the producer to the targets.
pub const TRACEPARENT: &str = "traceparent";
/// The vendor part of the W3C trace context.
pub const TRACESTATE: &str = "tracestate";

/// What a target deduplicates by: given once at ingest, the same on every attempt and after a redrive.
///
/// Opaque to everyone but the queue that gave it. At most `limits::RECORD_ID_BYTES_MAX` bytes of
/// `[A-Za-z0-9._-]`, so it can stand in a URL path and in an HTTP header as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(Text);

/// Ids are short and made for every record: up to 30 bytes are kept inline, without an allocation.
#[derive(Clone)]
enum Text {
    Inline(u8, [u8; 30]),
    Shared(Arc<str>),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Text::Inline(length, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).expect("made from a str of this length")
            }
            Text::Shared(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Text {}
impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}
impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl RecordId {
    /// Takes the text as it is; whether it names a record is for the queue to say.
    pub fn new(text: &str) -> RecordId {
        let mut inline = [0_u8; 30];
        match inline.get_mut(..text.len()) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                RecordId(Text::Inline(text.len() as u8, inline))
            }
            None => RecordId(Text::Shared(text.into())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The id of the `number`th output (from 1) that a transform made of this record.
    pub fn output(&self, number: usize) -> RecordId {
        RecordId::new(&format!("{}.{number}", self.as_str()))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
impl fmt::Debug for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordId({})", self.as_str())
    }
}

/// Headers in their encoded form: for each one `u16` length of the name, the name, `u32` length of the
/// value, the value; integers little-endian. Reading them allocates nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Bytes);

impl Headers {
    /// Wraps encoded headers. Bytes that are not well-formed are refused with `None`.
    pub fn from_encoded(bytes: Bytes) -> Option<Headers> {
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let (_, after) = split_one(rest)?;
            rest = after;
        }
        Some(Headers(bytes))
    }

    /// Encodes names and values in their order. Names longer than 65,535 bytes are cut by no one: the
    /// caller has checked them against `limits::HEADER_NAME_BYTES_MAX`.
    pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Headers {
        let mut bytes = BytesMut::new();
        for (name, value) in pairs {
            put_header(&mut bytes, name, value);
        }
        Headers(bytes.freeze())
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (pair, after) = split_one(rest)?;
            rest = after;
            Some(pair)
        })
    }

    /// The first value under a name (names are lower case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// The first value under a name, when it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter().map(|(n, v)| (n, String::from_utf8_lossy(v)))).finish()
    }
}

/// Appends one header in the encoding of [`Headers`].
pub fn put_header(bytes: &mut impl BufMut, name: &str, value: &[u8]) {
    bytes.put_u16_le(u16::try_from(name.len()).expect("header names are bounded at ingest"));
    bytes.put_slice(name.as_bytes());
    bytes.put_u32_le(u32::try_from(value.len()).expect("header values are bounded at ingest"));
    bytes.put_slice(value);
}

type Pair<'a> = (&'a str, &'a [u8]);

fn split_one(bytes: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(((std::str::from_utf8(name).ok()?, value), rest))
}

/// One record of a namespace, on its way to one target. Cheap to clone: every field is inline or shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The same on every attempt and after a redrive.
    pub id: RecordId,
    /// Microseconds of the append, made strictly increasing within a namespace and partition; of a
    /// delayed record its due time. Unchanged by retries, moves and redrives.
    pub sequence: u64,
    /// When the record was appended, in milliseconds since the Unix epoch.
    pub appended_at_ms: u64,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// The ordering and partition key. An empty key is no key.
    pub key: Option<Bytes>,
    /// The record's own headers, `content-type` among them.
    pub headers: Headers,
    /// The record's value, byte for byte as it was posted.
    pub value: Bytes,
}

impl Record {
    /// Bytes of key, headers and value together.
    pub fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.headers.as_bytes().len() + self.value.len()
    }

    /// True when the record says that its key's value is to be deleted.
    pub fn is_tombstone(&self) -> bool {
        self.value.is_empty() && self.headers.get(TOMBSTONE).is_some()
    }

    /// The content type of the value, when one was given.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.text(CONTENT_TYPE)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_ids_read_back_and_compare_by_text() {
        let short = RecordId::new("1-1-0-2z");
        let long = RecordId::new(&"x".repeat(100));
        assert_eq!(short.as_str(), "1-1-0-2z");
        assert_eq!(long.as_str().len(), 100);
        assert_eq!(short.output(2).as_str(), "1-1-0-2z.2");
        assert!(short < long);
    }

    #[test]
    fn headers_keep_order_and_repeats_and_refuse_torn_bytes() {
        let headers = Headers::encode([("a", b"1".as_slice()), ("b", b""), ("a", b"2")]);
        let read: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
        assert_eq!(read, vec![("a".into(), b"1".to_vec()), ("b".into(), vec![]), ("a".into(), b"2".to_vec())]);
        assert_eq!(headers.text("a"), Some("1"));
        let torn = headers.as_bytes().slice(..headers.as_bytes().len() - 1);
        assert!(Headers::from_encoded(torn).is_none());
    }
}
