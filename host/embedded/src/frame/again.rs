//! The body of a frame of records that are appended again, for one target: moves and redrives.
//!
//! In: records where they are, with what they bring along. Out: parts for the log; each record's facts back.
//! The frame is laid out as an append, so that it is leased like any other, with a table of facts before the
//! ends. It also ends what the records were before: a crash keeps both or neither.

use crate::codec::{Reader, Writer, corrupt};
use crate::frame::append::{Stored, put_ends, put_prefix_with_table};
use crate::frame::attempt::Attempts;
use bytes::Bytes;
use walhost_core::batch::Ends;
use walhost_core::{Headers, Result};

/// What all records of a frame wait for. It is in the frame's head too, so that a restart need not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing: they are next in the order of offsets.
    Ready,
    /// Their next attempt. They hold their keys.
    Retry,
    /// A time of their own. They hold nothing.
    Time,
    /// An earlier record of their key.
    Behind,
}

impl Class {
    /// In the head of the frame, where others have a sequence.
    pub(crate) fn number(self) -> u64 {
        self as u64
    }

    pub(crate) fn of(number: u64) -> Option<Class> {
        Some(match number {
            0 => Class::Ready,
            1 => Class::Retry,
            2 => Class::Time,
            3 => Class::Behind,
            _ => return None,
        })
    }
}

/// What ends with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The offset where the record was until now.
    Offset(u64),
    /// The dead letter that it was until now.
    Letter(u64),
}

/// What a record brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    pub instead: Instead,
    /// Where the record was first appended: with the epoch its id.
    pub origin: u64,
    pub epoch: u32,
    pub sequence: u64,
    pub appended_at_ms: u64,
    /// Number of the last attempt that was spent; 0: none.
    pub number: u32,
    /// Attempts spent of the present budget.
    pub spent: u32,
    pub first_spent_at_ms: Option<u64>,
    /// When it is due; 0: at once.
    pub due_ms: u64,
    /// Facts with a lower number do not count any more.
    pub change: u64,
    /// Hash of the key that it holds, or waits for; none: it is not in order.
    pub hash: Option<u64>,
    /// Where the record is that holds the key; only for those that wait behind one.
    pub holder: Option<u64>,
    pub attempts: Attempts,
}

/// All of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub target: u16,
    pub class: Class,
    pub records: Vec<Returned>,
}

impl Returned {
    fn put(&self, writer: &mut Writer) {
        let (tag, number) = match self.instead {
            Instead::Offset(offset) => (0, offset),
            Instead::Letter(letter) => (1, letter),
        };
        writer.u8(tag);
        writer.u64(number);
        writer.u64(self.origin);
        writer.u32(self.epoch);
        writer.u64(self.sequence);
        writer.u64(self.appended_at_ms);
        writer.u32(self.number);
        writer.u32(self.spent);
        writer.option(self.first_spent_at_ms);
        writer.u64(self.due_ms);
        writer.u64(self.change);
        writer.option(self.hash.map(|hash| hash >> 1));
        writer.option(self.holder);
        self.attempts.put(writer);
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Returned> {
        let tag = reader.u8()?;
        let number = reader.u64()?;
        let instead = match tag {
            0 => Instead::Offset(number),
            1 => Instead::Letter(number),
            _ => return Err(corrupt("what a record was before")),
        };
        Ok(Returned {
            instead,
            origin: reader.u64()?,
            epoch: reader.u32()?,
            sequence: reader.u64()?,
            appended_at_ms: reader.u64()?,
            number: reader.u32()?,
            spent: reader.u32()?,
            first_spent_at_ms: reader.option()?,
            due_ms: reader.u64()?,
            change: reader.u64()?,
            hash: reader.option()?.map(|hash| hash << 1),
            holder: reader.option()?,
            attempts: Attempts::get(reader)?,
        })
    }
}

/// Key, headers and value of a record in one piece, and how long the first two are.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub bytes: Bytes,
    pub key: u32,
    pub headers: u32,
}

impl Span {
    /// From parts that lie apart.
    pub(crate) fn joined(key: &Bytes, headers: &Headers, value: &Bytes) -> Span {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record fits a frame");
        Span {
            bytes: [key, headers.as_bytes(), value].map(|part| &part[..]).concat().into(),
            key: length(key),
            headers: length(headers.as_bytes()),
        }
    }
}

/// The parts of the body, and the same taken apart. `spans` are those of the records, in their order.
pub(crate) fn encode(again: &Again, spans: &[Span]) -> (Vec<Bytes>, Stored) {
    let mut facts = Writer::default();
    facts.u32(u32::from(again.target));
    facts.u8(again.class as u8);
    let (mut table, mut entries) = (Vec::with_capacity(8 * again.records.len()), Writer::default());
    for returned in &again.records {
        returned.put(&mut entries);
        table.extend_from_slice(&u32::try_from(entries.0.len()).expect("a table fits a frame").to_le_bytes());
    }
    table.extend_from_slice(&entries.0);
    let mut head = Vec::with_capacity(64 + table.len() + 12 * spans.len());
    put_prefix_with_table(&mut head, &facts, &table);
    let mut arena = Vec::with_capacity(spans.iter().map(|span| span.bytes.len()).sum());
    for span in spans {
        let key = arena.len() as u32 + span.key;
        arena.extend_from_slice(&span.bytes);
        put_ends(&mut head, Ends { key, headers: key + span.headers, value: arena.len() as u32 });
    }
    let parts = vec![Bytes::from(head), Bytes::from(arena)];
    let stored = Stored::of_again(&parts, facts.0.len(), table.len());
    (parts, stored)
}

/// Whose records they are, and what they wait for.
pub(crate) fn whose(stored: &Stored) -> Result<(u16, Class)> {
    let mut reader = Reader::new(&stored.facts);
    let target = reader.u16()?;
    let class = Class::of(u64::from(reader.u8()?)).ok_or_else(|| corrupt("what records wait for"))?;
    Ok((target, class))
}

/// Everything that a frame of so many records says about them.
pub(crate) fn decode(stored: &Stored, count: u32) -> Result<Again> {
    let (target, class) = whose(stored)?;
    let records = (0..count).map(|place| one(stored, place, count)).collect::<Result<Vec<_>>>()?;
    Ok(Again { target, class, records })
}

/// What the frame says about the record at `place` of `count`.
pub(crate) fn one(stored: &Stored, place: u32, count: u32) -> Result<Returned> {
    let short = || corrupt("table of records");
    let table = &stored.table;
    let entries_at = (count as usize).checked_mul(4).ok_or_else(short)?;
    let end = |place: usize| -> Result<usize> {
        let bytes = table.get(4 * place..4 * place + 4).ok_or_else(short)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    let start = if place == 0 { 0 } else { end(place as usize - 1)? };
    let entries = table.get(entries_at..).ok_or_else(short)?;
    let entry = entries.get(start..end(place as usize)?).ok_or_else(short)?;
    let mut reader = Reader::new(entry);
    let returned = Returned::get(&mut reader)?;
    if reader.is_empty() { Ok(returned) } else { Err(short()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::frame::dead::tests::letter;

    pub(crate) fn returned(instead: Instead, origin: u64) -> Returned {
        Returned {
            instead,
            origin,
            epoch: 3,
            sequence: 1_000,
            appended_at_ms: 1,
            number: 2,
            spent: 2,
            first_spent_at_ms: Some(5),
            due_ms: 77,
            change: 6,
            hash: Some(84),
            holder: None,
            attempts: letter(8).attempts,
        }
    }

    pub(crate) fn spans(count: usize) -> Vec<Span> {
        let headers = Headers::encode([("a", b"1".as_slice())]);
        let span = |at| Span::joined(&Bytes::from_static(b"k"), &headers, &Bytes::from(format!("value {at}")));
        (0..count).map(span).collect()
    }

    #[test]
    fn records_that_come_again_keep_id_sequence_history_and_bytes() {
        let first = returned(Instead::Offset(9), 4);
        let second = Returned { hash: None, holder: Some(2), ..returned(Instead::Letter(7), 5) };
        let again = Again { target: 1, class: Class::Behind, records: vec![first, second] };
        let (parts, kept) = encode(&again, &spans(2));
        let body: Bytes = parts.concat().into();
        let stored = Stored::decode(&body, 2).unwrap();
        for stored in [&stored, &kept] {
            assert_eq!(decode(stored, 2).unwrap(), again);
            let (key, headers, value) = stored.parts(1).unwrap();
            assert_eq!((&key[..], headers.text("a"), &value[..]), (&b"k"[..], Some("1"), &b"value 1"[..]));
        }
        assert_eq!(stored.bytes(), kept.bytes());
        assert!(one(&stored, 2, 2).is_err() && one(&stored, 0, u32::MAX).is_err() && decode(&stored, 3).is_err());
        for length in 0..body.len() {
            let short = Stored::decode(&body.slice(..length), 2);
            assert!(short.is_err() || short.unwrap().parts(1).is_none(), "{length}");
        }
        assert_eq!((0..5).filter_map(Class::of).map(Class::number).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
