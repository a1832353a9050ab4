//! The body of an append: what holds for the whole batch, the ends of its records, one arena.
//!
//! In: a batch, or a body from disk. Out: parts for the log, or a `Stored` to borrow records from.

use crate::codec::{Reader, Writer, corrupt};
use crate::frame::again::Span;
use crate::frame::{ALL_TARGETS, APPEND, APPEND_DELAYED, APPEND_WITH};
use bytes::Bytes;
use walhost_core::batch::Ends;
use walhost_core::random::mix;
use walhost_core::{Headers, Idempotency, RecordBatch, Result};

/// Bytes before the facts: appended_at_ms, epoch, length of the facts, whether there is a table.
const PREFIX_BYTES: usize = 16;
/// Bytes of the length of a table.
const TABLE_LENGTH_BYTES: usize = 4;
/// Bytes of the ends of one record.
const ENDS_BYTES: usize = 12;

/// What holds for a whole batch and is not in the frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub appended_at_ms: u64,
    /// Of the log when the batch was appended: part of the records' ids.
    pub epoch: u32,
    /// The number of the only target, or `ALL_TARGETS`.
    pub only: u16,
    pub delay: Option<Delay>,
    pub idempotency: Option<Idempotency>,
}

/// When the records of a batch are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    pub due_ms: u64,
    pub jitter_ms: u64,
}

impl Delay {
    /// When the record at an offset is due: the same after every restart.
    pub(crate) fn due_ms(&self, incarnation: u32, offset: u64) -> u64 {
        let part = if self.jitter_ms == 0 {
            0
        } else {
            mix(offset ^ (u64::from(incarnation) << 32)) % self.jitter_ms.saturating_add(1)
        };
        self.due_ms.saturating_add(part)
    }
}

/// The sequence of a record: counted up from the frame's, or, of a delayed one, its due time in
/// microseconds, with the last digits of its offset so that neighbours differ.
pub(crate) fn sequence(first_sequence: u64, place: u64, delay: Option<Delay>, incarnation: u32, offset: u64) -> u64 {
    match delay {
        None => first_sequence + place,
        Some(delay) => delay.due_ms(incarnation, offset).saturating_mul(1_000).saturating_add(offset % 1_000),
    }
}

impl Meta {
    /// The kind of frame that says all of it.
    pub(crate) fn kind(&self) -> u8 {
        match self.delay {
            Some(_) => APPEND_DELAYED,
            None if self.only == ALL_TARGETS && self.idempotency.is_none() => APPEND,
            None => APPEND_WITH,
        }
    }
}

/// The parts of the body of an append.
pub(crate) fn encode(meta: &Meta, batch: &RecordBatch) -> Vec<Bytes> {
    let mut facts = Writer::default();
    if meta.kind() != APPEND {
        facts.option((meta.only != ALL_TARGETS).then_some(u64::from(meta.only)));
        facts.option(meta.delay.map(|delay| delay.due_ms));
        facts.u64(meta.delay.map_or(0, |delay| delay.jitter_ms));
        facts.flag(meta.idempotency.is_some());
        if let Some(idempotency) = &meta.idempotency {
            facts.fixed(&idempotency.key);
            facts.fixed(&idempotency.content);
        }
    }
    let mut head = Vec::with_capacity(PREFIX_BYTES + facts.0.len() + ENDS_BYTES * batch.count());
    put_prefix(&mut head, meta.appended_at_ms, meta.epoch, &facts);
    for ends in batch.ends() {
        put_ends(&mut head, *ends);
    }
    vec![Bytes::from(head), batch.arena().clone()]
}

/// Writes what stands before the ends.
pub(crate) fn put_prefix(out: &mut Vec<u8>, appended_at_ms: u64, epoch: u32, facts: &Writer) {
    out.extend_from_slice(&appended_at_ms.to_le_bytes());
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&u16::try_from(facts.0.len()).expect("facts of a batch are short").to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&facts.0);
}

/// Writes what stands before the ends of records that come again: times and epochs are theirs, in the table.
pub(crate) fn put_prefix_with_table(out: &mut Vec<u8>, facts: &Writer, table: &[u8]) {
    put_prefix(out, 0, 0, facts);
    out[PREFIX_BYTES - 2] = 1;
    out.extend_from_slice(&u32::try_from(table.len()).expect("a table fits a frame").to_le_bytes());
    out.extend_from_slice(table);
}

/// Writes the ends of one record.
pub(crate) fn put_ends(out: &mut Vec<u8>, ends: Ends) {
    for end in [ends.key, ends.headers, ends.value] {
        out.extend_from_slice(&end.to_le_bytes());
    }
}

/// The body of a frame with records, taken apart so far that records can be borrowed from it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub appended_at_ms: u64,
    pub epoch: u32,
    pub facts: Bytes,
    /// What each record brings along, when they were appended again.
    pub table: Bytes,
    ends: Bytes,
    arena: Bytes,
}

impl Stored {
    /// Takes a body apart that holds so many records.
    pub(crate) fn decode(body: &Bytes, count: u32) -> Result<Stored> {
        let mut reader = Reader::new(body);
        let appended_at_ms = u64::from_le_bytes(reader.fixed()?);
        let epoch = u32::from_le_bytes(reader.fixed()?);
        let facts_bytes = usize::from(u16::from_le_bytes(reader.fixed()?));
        let has_table = match reader.fixed::<2>()? {
            [0, 0] => false,
            [1, 0] => true,
            _ => return Err(corrupt("prefix of an append")),
        };
        reader.take(facts_bytes)?;
        let table_at = PREFIX_BYTES + facts_bytes;
        let (mut table, mut ends_at) = (Bytes::new(), table_at);
        if has_table {
            let length = u32::from_le_bytes(reader.fixed()?) as usize;
            reader.take(length)?;
            ends_at = table_at + TABLE_LENGTH_BYTES + length;
            table = body.slice(table_at + TABLE_LENGTH_BYTES..ends_at);
        }
        let ends_bytes = (count as usize).checked_mul(ENDS_BYTES).ok_or_else(|| corrupt("count"))?;
        reader.take(ends_bytes)?;
        Ok(Stored {
            appended_at_ms,
            epoch,
            facts: body.slice(PREFIX_BYTES..table_at),
            table,
            ends: body.slice(ends_at..ends_at + ends_bytes),
            arena: body.slice(ends_at + ends_bytes..),
        })
    }

    /// From the parts that were just written, without reading them back.
    pub(crate) fn of_parts(meta: &Meta, parts: &[Bytes], count: u32) -> Stored {
        let ends_at = parts[0].len() - count as usize * ENDS_BYTES;
        Stored {
            appended_at_ms: meta.appended_at_ms,
            epoch: meta.epoch,
            facts: parts[0].slice(PREFIX_BYTES..ends_at),
            table: Bytes::new(),
            ends: parts[0].slice(ends_at..),
            arena: parts[1].clone(),
        }
    }

    /// The same of records that come again.
    pub(crate) fn of_again(parts: &[Bytes], facts_bytes: usize, table_bytes: usize) -> Stored {
        let facts_end = PREFIX_BYTES + facts_bytes;
        let table_at = facts_end + TABLE_LENGTH_BYTES;
        Stored {
            appended_at_ms: 0,
            epoch: 0,
            facts: parts[0].slice(PREFIX_BYTES..facts_end),
            table: parts[0].slice(table_at..table_at + table_bytes),
            ends: parts[0].slice(table_at + table_bytes..),
            arena: parts[1].clone(),
        }
    }

    /// Bytes of key, headers and value of the record at `place`; none when its ends do not fit.
    pub(crate) fn record_bytes(&self, place: u32) -> Option<usize> {
        let (start, ends) = self.bounds(place)?;
        Some((ends.value - start) as usize)
    }

    /// Key of the record at `place`; empty: it has none.
    pub(crate) fn key(&self, place: u32) -> Option<&[u8]> {
        let (start, ends) = self.bounds(place)?;
        self.arena.get(start as usize..ends.key as usize)
    }

    /// Where the record at `place` begins and ends.
    fn bounds(&self, place: u32) -> Option<(u32, Ends)> {
        let ends = self.ends(place)?;
        let start = if place == 0 { 0 } else { self.ends(place - 1)?.value };
        let fits = start <= ends.key && ends.key <= ends.headers && ends.headers <= ends.value;
        (fits && ends.value as usize <= self.arena.len()).then_some((start, ends))
    }

    /// Key, headers and value of the record at `place` in one piece.
    pub(crate) fn span(&self, place: u32) -> Option<Span> {
        let (start, ends) = self.bounds(place)?;
        let bytes = self.arena.slice(start as usize..ends.value as usize);
        Some(Span { bytes, key: ends.key - start, headers: ends.headers - ends.key })
    }

    /// Target, delay and idempotency of an append with such.
    pub(crate) fn meta(&self) -> Result<Meta> {
        let mut meta = Meta {
            appended_at_ms: self.appended_at_ms,
            epoch: self.epoch,
            only: ALL_TARGETS,
            delay: None,
            idempotency: None,
        };
        if self.facts.is_empty() {
            return Ok(meta);
        }
        let mut reader = Reader::new(&self.facts);
        if let Some(only) = reader.option()? {
            meta.only = u16::try_from(only).map_err(|_| corrupt("target"))?;
        }
        let due_ms = reader.option()?;
        let jitter_ms = reader.u64()?;
        meta.delay = due_ms.map(|due_ms| Delay { due_ms, jitter_ms });
        if reader.flag()? {
            meta.idempotency = Some(Idempotency { key: reader.fixed()?, content: reader.fixed()? });
        }
        Ok(meta)
    }

    /// Bytes that it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        PREFIX_BYTES + self.facts.len() + self.table.len() + self.ends.len() + self.arena.len()
    }

    /// Key (empty: none), headers and value of the record at `place`.
    pub(crate) fn parts(&self, place: u32) -> Option<(Bytes, Headers, Bytes)> {
        let (start, ends) = self.bounds(place)?;
        let slice = |from: u32, to: u32| self.arena.slice(from as usize..to as usize);
        let headers = Headers::from_encoded(slice(ends.key, ends.headers))?;
        Some((slice(start, ends.key), headers, slice(ends.headers, ends.value)))
    }

    fn ends(&self, place: u32) -> Option<Ends> {
        let at = place as usize * ENDS_BYTES;
        let bytes = self.ends.get(at..at + ENDS_BYTES)?;
        let end = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Ends { key: end(0), headers: end(4), value: end(8) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::BatchBuilder;

    fn batch() -> RecordBatch {
        let mut builder = BatchBuilder::default();
        builder.record(Some(b"k"), &Headers::encode([("a", b"1".as_slice())]), b"one");
        builder.record(None, &Headers::default(), b"");
        builder.build().unwrap()
    }

    fn joined(parts: &[Bytes]) -> Bytes {
        parts.concat().into()
    }

    #[test]
    fn an_append_reads_back_with_everything_that_holds_for_it() {
        let plain = Meta { appended_at_ms: 5, epoch: 3, only: ALL_TARGETS, delay: None, idempotency: None };
        let full = Meta {
            only: 2,
            delay: Some(Delay { due_ms: 99, jitter_ms: 10 }),
            idempotency: Some(Idempotency { key: [1; 16], content: [2; 16] }),
            ..plain
        };
        for meta in [plain, full] {
            let parts = encode(&meta, &batch());
            let stored = Stored::decode(&joined(&parts), 2).unwrap();
            assert_eq!(stored.meta().unwrap(), meta);
            let kept = Stored::of_parts(&meta, &parts, 2);
            assert_eq!((kept.meta().unwrap(), kept.bytes()), (meta, stored.bytes()));
            for stored in [stored, kept] {
                let (key, headers, value) = stored.parts(0).unwrap();
                assert_eq!((&key[..], headers.text("a"), &value[..]), (&b"k"[..], Some("1"), &b"one"[..]));
                assert_eq!(stored.parts(1).unwrap().2.len(), 0);
                assert!(stored.parts(2).is_none());
            }
        }
        assert_eq!((plain.kind(), full.kind()), (APPEND, APPEND_DELAYED));
        assert_eq!(Meta { delay: None, ..full }.kind(), APPEND_WITH);
    }

    #[test]
    fn bytes_that_do_not_fit_are_an_error_and_never_a_panic() {
        let meta = Meta { appended_at_ms: 5, epoch: 3, only: ALL_TARGETS, delay: None, idempotency: None };
        let body = joined(&encode(&meta, &batch()));
        for length in 0..PREFIX_BYTES + 2 * ENDS_BYTES {
            assert!(Stored::decode(&body.slice(..length), 2).is_err());
        }
        assert!(Stored::decode(&body, u32::MAX).is_err());
        let short = Stored::decode(&body.slice(..body.len() - 1), 2).unwrap();
        assert!(short.parts(1).is_none() || short.parts(0).is_none());
    }

    #[test]
    fn i20_jitter_is_the_same_every_time_and_never_early() {
        let delay = Delay { due_ms: 1_000, jitter_ms: 50 };
        for offset in 0..500 {
            let due_ms = delay.due_ms(9, offset);
            assert!((1_000..=1_050).contains(&due_ms));
            assert_eq!(due_ms, delay.due_ms(9, offset));
            assert_eq!(sequence(7, 0, Some(delay), 9, offset) / 1_000, due_ms);
        }
        assert_eq!(sequence(7, 3, None, 9, 1), 10);
        assert!(Delay { due_ms: u64::MAX, jitter_ms: u64::MAX }.due_ms(1, 1) == u64::MAX);
    }
}
