//! Idempotency keys: what was appended under a key within the window (I23).
//!
//! In: a batch's mark. Out: go on, the first answer again, in flight, mismatch, or no room.

use crate::codec::{Reader, Writer};
use std::collections::{HashMap, VecDeque};
use walhost_core::{Idempotency, Result};

/// The append that a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First {
    pub first_offset: u64,
    pub count: u32,
    pub epoch: u32,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Append it; the key is in flight from now on.
    Begin,
    /// It is there.
    Known(First),
    /// The first one has no answer so far.
    InFlight,
    /// The first one had other content.
    Mismatch,
    /// As many keys as are allowed are remembered.
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    content: [u8; 16],
    /// None: in flight.
    first: Option<First>,
    at_ms: u64,
}

/// The keys of one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<[u8; 16], Known>,
    /// In order of time; a key whose time is another one by now is passed over.
    order: VecDeque<(u64, [u8; 16])>,
}

impl Keys {
    /// Asks for a key.
    pub(crate) fn begin(&mut self, mark: &Idempotency, now_ms: u64, window_ms: u64, keys_max: u64) -> Answer {
        self.expire(now_ms, window_ms);
        if let Some(known) = self.known.get(&mark.key) {
            return match known {
                known if known.content != mark.content => Answer::Mismatch,
                Known { first: Some(first), .. } => Answer::Known(*first),
                _ => Answer::InFlight,
            };
        }
        if self.known.len() as u64 >= keys_max {
            return Answer::Full;
        }
        self.known.insert(mark.key, Known { content: mark.content, first: None, at_ms: now_ms });
        Answer::Begin
    }

    /// The append is durable.
    pub(crate) fn settle(&mut self, mark: &Idempotency, first: First, at_ms: u64) {
        let known = Known { content: mark.content, first: Some(first), at_ms };
        // A replay may go over the same append, and over an older one whose window had ended by then.
        if self.known.insert(mark.key, known).is_none_or(|before| before.first.is_none() || before.at_ms != at_ms) {
            self.order.push_back((at_ms, mark.key));
        }
    }

    /// The append is not there: the key may be used again.
    pub(crate) fn give_up(&mut self, mark: &Idempotency) {
        if self.known.get(&mark.key).is_some_and(|known| known.first.is_none()) {
            self.known.remove(&mark.key);
        }
    }

    /// Forgets the keys whose window has ended.
    pub(crate) fn expire(&mut self, now_ms: u64, window_ms: u64) {
        while let Some((at_ms, key)) = self.order.front().copied() {
            if at_ms.saturating_add(window_ms) > now_ms {
                break;
            }
            self.order.pop_front();
            if self.known.get(&key).is_some_and(|known| known.at_ms == at_ms && known.first.is_some()) {
                self.known.remove(&key);
            }
        }
    }

    /// True when none is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Writes those that are durable, in order of time.
    pub(crate) fn put(&self, writer: &mut Writer) {
        let durable = || {
            self.order.iter().filter_map(|(at_ms, key)| {
                let known = self.known.get(key).filter(|known| known.at_ms == *at_ms)?;
                Some((key, known, known.first?))
            })
        };
        writer.u64(durable().count() as u64);
        for (key, known, first) in durable() {
            writer.fixed(key);
            writer.fixed(&known.content);
            writer.u64(known.at_ms);
            writer.u64(first.first_offset);
            writer.u32(first.count);
            writer.u32(first.epoch);
        }
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Keys> {
        let mut keys = Keys::default();
        for _ in 0..reader.count()? {
            let mark = Idempotency { key: reader.fixed()?, content: reader.fixed()? };
            let at_ms = reader.u64()?;
            let first = First { first_offset: reader.u64()?, count: reader.u32()?, epoch: reader.u32()? };
            keys.settle(&mark, first, at_ms);
        }
        Ok(keys)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mark(key: u8, content: u8) -> Idempotency {
        Idempotency { key: [key; 16], content: [content; 16] }
    }

    #[test]
    fn i23_a_key_gives_the_first_answer_within_its_window_and_is_refused_in_flight() {
        let mut keys = Keys::default();
        let first = First { first_offset: 4, count: 2, epoch: 1 };
        assert_eq!(keys.begin(&mark(1, 1), 0, 100, 2), Answer::Begin);
        assert_eq!(keys.begin(&mark(1, 1), 1, 100, 2), Answer::InFlight);
        keys.give_up(&mark(1, 1));
        assert_eq!(keys.begin(&mark(1, 1), 2, 100, 2), Answer::Begin);
        keys.settle(&mark(1, 1), first, 2);
        keys.give_up(&mark(1, 1));
        assert_eq!(keys.begin(&mark(1, 1), 50, 100, 2), Answer::Known(first));
        assert_eq!(keys.begin(&mark(1, 2), 50, 100, 2), Answer::Mismatch);
        assert_eq!(keys.begin(&mark(2, 1), 50, 100, 1), Answer::Full);
        let mut writer = Writer::default();
        keys.put(&mut writer);
        let mut read = Keys::get(&mut Reader::new(&writer.0)).unwrap();
        assert_eq!(read.begin(&mark(1, 1), 101, 100, 1), Answer::Known(first));
        assert_eq!(read.begin(&mark(1, 1), 102, 100, 1), Answer::Begin);
        assert_eq!(read.len(), 1);
    }

    #[test]
    fn i23_a_key_that_a_replay_meets_twice_is_remembered_and_forgotten_by_its_newer_append() {
        let mut keys = Keys::default();
        let first = |first_offset| First { first_offset, count: 1, epoch: 1 };
        keys.settle(&mark(1, 1), first(4), 2);
        keys.settle(&mark(1, 1), first(9), 200);
        keys.settle(&mark(1, 1), first(9), 200);
        let mut writer = Writer::default();
        keys.put(&mut writer);
        let mut read = Keys::get(&mut Reader::new(&writer.0)).unwrap();
        for keys in [&mut keys, &mut read] {
            assert_eq!(keys.begin(&mark(1, 1), 299, 100, 9), Answer::Known(first(9)));
            assert_eq!(keys.begin(&mark(1, 1), 300, 100, 9), Answer::Begin);
        }
    }
}
