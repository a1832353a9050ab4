//! What a producer hands in: one to N records in one arena, laid out as the frame on disk will be.
//!
//! In: keys, headers and values at ingest. Out: `RecordBatch`, parsed once and never checked again.

use crate::limits;
use crate::name::TargetName;
use crate::record::{Headers, put_header};
use bytes::{BufMut, Bytes, BytesMut};

/// Cumulative ends of one record's parts in the arena; it begins where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ends {
    /// Where the key ends.
    pub key: u32,
    /// Where the encoded headers end.
    pub headers: u32,
    /// Where the value ends: the next record's key begins here.
    pub value: u32,
}

/// The producer's own mark against duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// The first 16 bytes of the SHA-256 of the `Idempotency-Key`.
    pub key: [u8; 16],
    /// The first 16 bytes of the SHA-256 of value, key, headers, content type, target and delay.
    pub content: [u8; 16],
}

/// One to N records that are appended together. Parsed at the door, never checked again.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordBatch {
    arena: Bytes,
    ends: Vec<Ends>,
    /// Only this target of the namespace, else all of them.
    pub target: Option<TargetName>,
    /// Earliest delivery, in milliseconds since the Unix epoch.
    pub due_ms: Option<u64>,
    /// Each record's due time gets a part of its own of at most this, in milliseconds.
    pub jitter_ms: u64,
    /// The producer's mark against duplicates.
    pub idempotency: Option<Idempotency>,
}

impl RecordBatch {
    /// How many records there are: at least one.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all keys, headers and values.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The arena, for a queue that writes it as it is.
    pub fn arena(&self) -> &Bytes {
        &self.arena
    }

    /// The ends of all records, in order.
    pub fn ends(&self) -> &[Ends] {
        &self.ends
    }

    /// Key (empty: none), headers and value of the record at `place` (from 0).
    pub fn parts(&self, place: usize) -> (Bytes, Headers, Bytes) {
        parts(&self.arena, &self.ends, place).expect("the builder made these ends")
    }
}

/// Key, headers and value at `place` of an arena; `None` when the ends do not fit the arena, which bytes
/// from disk may do.
pub fn parts(arena: &Bytes, ends: &[Ends], place: usize) -> Option<(Bytes, Headers, Bytes)> {
    let end = ends.get(place)?;
    let start = if place == 0 { 0 } else { ends[place - 1].value };
    if !(start <= end.key && end.key <= end.headers && end.headers <= end.value && end.value as usize <= arena.len()) {
        return None;
    }
    let headers = Headers::from_encoded(arena.slice(end.key as usize..end.headers as usize))?;
    Some((
        arena.slice(start as usize..end.key as usize),
        headers,
        arena.slice(end.headers as usize..end.value as usize),
    ))
}

/// Builds a [`RecordBatch`]: for each record `begin`, `header`s, `value`.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    arena: BytesMut,
    ends: Vec<Ends>,
}

impl BatchBuilder {
    /// Makes room for about this many records and bytes.
    pub fn with_capacity(records: usize, bytes: usize) -> BatchBuilder {
        BatchBuilder { arena: BytesMut::with_capacity(bytes), ends: Vec::with_capacity(records) }
    }

    /// Adds one record. `headers` are encoded already and may be shared by many records.
    pub fn record(&mut self, key: Option<&[u8]>, headers: &Headers, value: &[u8]) {
        self.arena.put_slice(key.unwrap_or_default());
        let key_end = self.arena.len();
        self.arena.put_slice(headers.as_bytes());
        self.finish(key_end, value);
    }

    /// Adds one record with headers given as pairs.
    pub fn record_with<'a>(
        &mut self,
        key: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        value: &[u8],
    ) {
        self.arena.put_slice(key.unwrap_or_default());
        let key_end = self.arena.len();
        for (name, header) in headers {
            put_header(&mut self.arena, name, header);
        }
        self.finish(key_end, value);
    }

    fn finish(&mut self, key_end: usize, value: &[u8]) {
        let headers_end = self.arena.len();
        self.arena.put_slice(value);
        assert!(self.arena.len() <= limits::BATCH_BYTES_HARD_MAX, "the door bounds a batch before it is built");
        self.ends.push(Ends { key: key_end as u32, headers: headers_end as u32, value: self.arena.len() as u32 });
    }

    /// How many records were added.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The batch; `None` when nothing was added.
    pub fn build(self) -> Option<RecordBatch> {
        (!self.ends.is_empty()).then(|| RecordBatch {
            arena: self.arena.freeze(),
            ends: self.ends,
            target: None,
            due_ms: None,
            jitter_ms: 0,
            idempotency: None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_as_they_were_added() {
        let mut builder = BatchBuilder::default();
        builder.record(None, &Headers::default(), b"one");
        builder.record_with(Some(b"k"), [("content-type", b"text/plain".as_slice())], b"two");
        let batch = builder.build().unwrap();
        assert_eq!(batch.count(), 2);
        assert_eq!(batch.parts(0).2, "one");
        let (key, headers, value) = batch.parts(1);
        assert_eq!(
            (&key[..], headers.text("content-type"), &value[..]),
            (b"k".as_slice(), Some("text/plain"), b"two".as_slice())
        );
    }

    #[test]
    fn ends_that_do_not_fit_are_refused_and_an_empty_batch_is_none() {
        let arena = Bytes::from_static(b"abc");
        assert!(parts(&arena, &[Ends { key: 0, headers: 0, value: 4 }], 0).is_none());
        assert!(parts(&arena, &[Ends { key: 2, headers: 1, value: 3 }], 0).is_none());
        assert!(BatchBuilder::default().build().is_none());
    }
}
