//! The body of a frame of dead letters: what is known of each, then the bytes of their records.
//!
//! In: letters with their records. Out: parts for the log, and letters back. One frame holds the letters
//! and the settlements that they are, so that a crash keeps both or neither (I16).

use crate::codec::{Reader, Writer, corrupt};
use crate::frame::attempt::Attempts;
use bytes::Bytes;
use walhost_core::attempt::Exhausted;
use walhost_core::{Headers, Result};

/// One record given up on by one target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub target: u16,
    /// The place that is settled by it, or from which the record is being moved.
    pub offset: u64,
    /// Where the record may be by now if it was moved: below this offset. Beyond, a redrive has put it.
    pub below: u64,
    /// Where the record was first appended, and in which epoch: its id.
    pub origin: u64,
    pub epoch: u32,
    pub sequence: u64,
    pub appended_at_ms: u64,
    pub dead_at_ms: u64,
    pub exhausted: Option<Exhausted>,
    /// All attempts that were kept, the last one included.
    pub attempts: Attempts,
    /// Hash of the key that it parks; none: it parks none.
    pub parks: Option<u64>,
    /// Empty: none.
    pub key: Bytes,
    pub headers: Headers,
    pub value: Bytes,
}

impl Letter {
    /// Bytes of the record.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.headers.as_bytes().len() + self.value.len()
    }

    fn put(&self, writer: &mut Writer) {
        writer.u32(u32::from(self.target));
        writer.u64(self.offset);
        writer.u64(self.below);
        writer.u64(self.origin);
        writer.u32(self.epoch);
        writer.u64(self.sequence);
        writer.u64(self.appended_at_ms);
        writer.u64(self.dead_at_ms);
        put_exhausted(writer, self.exhausted);
        self.attempts.put(writer);
        writer.option(self.parks.map(|hash| hash >> 1));
        for length in [self.key.len(), self.headers.as_bytes().len(), self.value.len()] {
            writer.u64(length as u64);
        }
    }
}

/// Writes which budget was used up.
pub(crate) fn put_exhausted(writer: &mut Writer, exhausted: Option<Exhausted>) {
    writer.u8(match exhausted {
        None => 0,
        Some(Exhausted::Attempts) => 1,
        Some(Exhausted::Age) => 2,
    });
}

/// Reads which budget was used up.
pub(crate) fn get_exhausted(reader: &mut Reader<'_>) -> Result<Option<Exhausted>> {
    Ok(match reader.u8()? {
        0 => None,
        1 => Some(Exhausted::Attempts),
        2 => Some(Exhausted::Age),
        _ => return Err(corrupt("budget")),
    })
}

/// The parts of the body; records are written from where they are.
pub(crate) fn encode(letters: &[Letter]) -> Vec<Bytes> {
    let mut meta = Writer::default();
    letters.iter().for_each(|letter| letter.put(&mut meta));
    let mut head = Writer::default();
    head.bytes(&meta.0);
    let mut parts = Vec::with_capacity(1 + 3 * letters.len());
    parts.push(head.finish());
    for letter in letters {
        for part in [&letter.key, letter.headers.as_bytes(), &letter.value] {
            if !part.is_empty() {
                parts.push(part.clone());
            }
        }
    }
    parts
}

/// The letters of a body.
pub(crate) fn decode(body: &Bytes, count: u32) -> Result<Vec<Letter>> {
    let mut reader = Reader::new(body);
    let mut meta = Reader::new(reader.bytes()?);
    let mut at = body.len() - reader.left();
    let mut take = |length: u64| -> Result<Bytes> {
        let length = usize::try_from(length).map_err(|_| corrupt("length"))?;
        let end = at.checked_add(length).filter(|end| *end <= body.len()).ok_or_else(|| corrupt("record"))?;
        let part = body.slice(at..end);
        at = end;
        Ok(part)
    };
    let mut letters = Vec::new();
    for _ in 0..count {
        letters.push(Letter {
            target: meta.u16()?,
            offset: meta.u64()?,
            below: meta.u64()?,
            origin: meta.u64()?,
            epoch: meta.u32()?,
            sequence: meta.u64()?,
            appended_at_ms: meta.u64()?,
            dead_at_ms: meta.u64()?,
            exhausted: get_exhausted(&mut meta)?,
            attempts: Attempts::get(&mut meta)?,
            parks: meta.option()?.map(|hash| hash << 1),
            key: take(meta.u64()?)?,
            headers: Headers::from_encoded(take(meta.u64()?)?).ok_or_else(|| corrupt("headers"))?,
            value: take(meta.u64()?)?,
        });
    }
    if meta.is_empty() { Ok(letters) } else { Err(corrupt("dead letters")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use walhost_core::{Attempt, VerdictKind};

    pub(crate) fn letter(offset: u64) -> Letter {
        let mut attempts = Attempts::default();
        let (code, message) = ("http-400".into(), "no".into());
        attempts.add(&Attempt { number: 1, at_ms: 4, verdict: VerdictKind::Reject, code, message, digest: None });
        Letter {
            target: 1,
            offset,
            below: 1_000,
            origin: offset / 2,
            epoch: 3,
            sequence: 1_000,
            appended_at_ms: 1,
            dead_at_ms: 4,
            exhausted: Some(Exhausted::Age),
            attempts,
            parks: Some(84),
            key: Bytes::from_static(b"k"),
            headers: Headers::encode([("a", b"1".as_slice())]),
            value: Bytes::from(format!("value {offset}")),
        }
    }

    #[test]
    fn letters_read_back_with_their_records() {
        let letters = vec![letter(8), Letter { key: Bytes::new(), exhausted: None, parks: None, ..letter(9) }];
        let body: Bytes = encode(&letters).concat().into();
        assert_eq!(decode(&body, 2).unwrap(), letters);
        assert!(letters[0].bytes() > letters[1].bytes());
        for length in 0..body.len() {
            assert!(decode(&body.slice(..length), 2).is_err(), "{length}");
        }
        assert!(decode(&body, 1).is_err() && decode(&body, 3).is_err());
    }
}
