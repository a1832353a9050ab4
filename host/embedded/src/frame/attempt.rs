//! One attempt, and the list of all that are kept of a record, as bytes.
//!
//! In: attempts as delivery tells them. Out: `Attempts`, which is kept as it is written.

use crate::codec::{Reader, Writer, corrupt};
use walhost_core::limits::ATTEMPTS_KEPT_MAX;
use walhost_core::{Attempt, Digest, Result, VerdictKind};

/// Bytes of an attempt beside its texts: number, time, verdict, lengths, digest.
const BYTES_USUAL: usize = 48;

/// Attempts of one record, oldest first, encoded; at most `ATTEMPTS_KEPT_MAX`: the first half of those and
/// the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    count: u32,
    bytes: Vec<u8>,
}

impl Attempts {
    /// Adds the newest one.
    pub(crate) fn add(&mut self, attempt: &Attempt) {
        if self.count as usize >= ATTEMPTS_KEPT_MAX {
            let mut kept = self.list();
            kept.remove(ATTEMPTS_KEPT_MAX / 2);
            *self = Attempts::default();
            kept.iter().for_each(|attempt| self.add(attempt));
        }
        let mut writer = Writer(std::mem::take(&mut self.bytes));
        writer.0.reserve_exact(BYTES_USUAL + attempt.code.len() + attempt.message.len());
        put(&mut writer, attempt);
        self.bytes = writer.0;
        self.count += 1;
    }

    /// All that are kept.
    pub(crate) fn list(&self) -> Vec<Attempt> {
        let mut reader = Reader::new(&self.bytes);
        (0..self.count).map_while(|_| get(&mut reader).ok()).collect()
    }

    /// Bytes that it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.u32(self.count);
        writer.bytes(&self.bytes);
    }

    /// Reads and checks every one.
    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Attempts> {
        let count = reader.u32()?;
        let bytes = reader.bytes()?;
        let mut inside = Reader::new(bytes);
        if count as usize > ATTEMPTS_KEPT_MAX {
            return Err(corrupt("count of attempts"));
        }
        for _ in 0..count {
            get(&mut inside)?;
        }
        if !inside.is_empty() {
            return Err(corrupt("attempts"));
        }
        Ok(Attempts { count, bytes: bytes.to_vec() })
    }
}

/// Writes one attempt.
pub(crate) fn put(writer: &mut Writer, attempt: &Attempt) {
    writer.u32(attempt.number);
    writer.u64(attempt.at_ms);
    writer.u8(match attempt.verdict {
        VerdictKind::Delivered => 0,
        VerdictKind::Retry => 1,
        VerdictKind::Throttle => 2,
        VerdictKind::Reject => 3,
    });
    writer.text(&attempt.code);
    writer.text(&attempt.message);
    writer.flag(attempt.digest.is_some());
    if let Some(digest) = &attempt.digest {
        writer.fixed(&digest.0);
    }
}

/// Reads one attempt.
pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Attempt> {
    Ok(Attempt {
        number: reader.u32()?,
        at_ms: reader.u64()?,
        verdict: match reader.u8()? {
            0 => VerdictKind::Delivered,
            1 => VerdictKind::Retry,
            2 => VerdictKind::Throttle,
            3 => VerdictKind::Reject,
            _ => return Err(corrupt("verdict")),
        },
        code: reader.text()?.to_owned(),
        message: reader.text()?.to_owned(),
        digest: if reader.flag()? { Some(Digest(reader.fixed()?)) } else { None },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> Attempt {
        let digest = number.is_multiple_of(2).then_some(Digest([number as u8; 32]));
        Attempt { number, at_ms: 5, verdict: VerdictKind::Retry, code: "http-500".into(), message: "ü".into(), digest }
    }

    #[test]
    fn the_first_and_the_newest_attempts_are_kept_and_read_back() {
        let mut attempts = Attempts::default();
        for number in 1..=100 {
            attempts.add(&attempt(number));
        }
        let list = attempts.list();
        assert_eq!(list.len(), ATTEMPTS_KEPT_MAX);
        assert_eq!(
            (&list[0], &list[ATTEMPTS_KEPT_MAX - 1], list[15].number, list[16].number),
            (&attempt(1), &attempt(100), 16, 85)
        );
        let mut writer = Writer::default();
        attempts.put(&mut writer);
        let read = Attempts::get(&mut Reader::new(&writer.0)).unwrap();
        assert_eq!((read.list(), read.bytes() > 0), (list, true));
        for length in 0..writer.0.len() {
            assert!(Attempts::get(&mut Reader::new(&writer.0[..length])).is_err());
        }
    }
}
