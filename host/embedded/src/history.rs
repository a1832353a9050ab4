//! How records ended, for those who ask by id: bounded in bytes and in time.
//!
//! In: settlements. Out: outcome and attempts of a record for a target.

use crate::codec::{Reader, Writer, corrupt};
use crate::frame::attempt::Attempts;
use crate::limits::HISTORY_BYTES_MAX;
use crate::spread::SpreadMap;
use std::collections::VecDeque;
use walhost_core::Result;
use walhost_core::queue::Done;

/// How a record ended for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub outcome: Done,
    pub at_ms: u64,
    pub attempts: Attempts,
}

impl Finished {
    /// Bytes that it keeps in memory, its places in the maps included.
    fn bytes(&self) -> usize {
        128 + self.attempts.bytes()
    }
}

/// The offset at which a record was first appended, and a target.
pub(crate) type Whose = (u64, u16);

/// Finished records of one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    finished: SpreadMap<Whose, Finished>,
    order: VecDeque<Whose>,
    bytes: usize,
}

impl History {
    /// Keeps how a record ended, and forgets the oldest beyond the bound.
    pub(crate) fn add(&mut self, whose: Whose, finished: Finished) {
        self.bytes += finished.bytes();
        match self.finished.insert(whose, finished) {
            Some(before) => self.bytes -= before.bytes(),
            None => self.order.push_back(whose),
        }
        while self.bytes > HISTORY_BYTES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front()
            && let Some(finished) = self.finished.remove(&oldest)
        {
            self.bytes -= finished.bytes();
        }
    }

    /// How a record ended for a target, when that is still known.
    pub(crate) fn find(&self, whose: Whose) -> Option<&Finished> {
        self.finished.get(&whose)
    }

    /// Forgets what ended before this time.
    pub(crate) fn expire(&mut self, before_ms: u64) {
        while let Some(oldest) = self.order.front() {
            match self.finished.get(oldest) {
                Some(finished) if finished.at_ms >= before_ms => break,
                _ => self.forget_oldest(),
            }
        }
    }

    /// True when nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.u64(self.order.len() as u64);
        for whose in &self.order {
            let finished = &self.finished[whose];
            writer.u64(whose.0);
            writer.u32(u32::from(whose.1));
            writer.u8(match finished.outcome {
                Done::Delivered => 0,
                Done::Filtered => 1,
                Done::Cancelled => 2,
            });
            writer.u64(finished.at_ms);
            finished.attempts.put(writer);
        }
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<History> {
        let mut history = History::default();
        for _ in 0..reader.count()? {
            let whose = (reader.u64()?, reader.u16()?);
            let outcome = match reader.u8()? {
                0 => Done::Delivered,
                1 => Done::Filtered,
                2 => Done::Cancelled,
                _ => return Err(corrupt("outcome")),
            };
            let finished = Finished { outcome, at_ms: reader.u64()?, attempts: Attempts::get(reader)? };
            history.add(whose, finished);
        }
        Ok(history)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_in_bytes_and_in_time_and_reads_back() {
        let mut history = History::default();
        let count = HISTORY_BYTES_MAX as u64 / 128 + 10;
        for offset in 0..count {
            let finished = Finished { outcome: Done::Filtered, at_ms: offset, attempts: Attempts::default() };
            history.add((offset, 1), finished);
        }
        assert!(history.bytes <= HISTORY_BYTES_MAX);
        assert!(history.find((0, 1)).is_none() && history.find((count - 1, 2)).is_none());
        assert_eq!(history.find((count - 1, 1)).unwrap().at_ms, count - 1);
        history.expire(count - 2);
        assert!(history.find((count - 3, 1)).is_none());
        let mut writer = Writer::default();
        history.put(&mut writer);
        let read = History::get(&mut Reader::new(&writer.0)).unwrap();
        assert_eq!((read.order.len(), read.find((count - 2, 1))), (2, history.find((count - 2, 1))));
    }
}
