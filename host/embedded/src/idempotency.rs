//! Idempotency keys: what was appended under a key within the window (I23).
//!
//! In: a batch's mark. Out: go on, the first answer again, in flight, mismatch, or no room. A key is looked for
//! among the recent ones under the view's lock, and in the runs without it (`claim`).

pub(crate) mod claim;
pub(crate) mod examine;
pub(crate) mod run;
pub(crate) mod tend;

use crate::codec::{Reader, Writer};
use run::{Entry, Run, RunId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
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
    /// It is not among the recent ones: the key is in flight from now on, and the runs are to be asked.
    Begin,
    /// It is there.
    Known(First),
    /// The first one has no answer so far.
    InFlight,
    /// The first one had other content.
    Mismatch,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    content: [u8; 8],
    /// None: in flight.
    first: Option<First>,
    at_ms: u64,
}

/// What of a content's hash is kept.
pub(crate) fn content(mark: &Idempotency) -> [u8; 8] {
    mark.content[..8].try_into().expect("a hash has sixteen bytes")
}

/// The keys of one namespace: the recent ones in memory, older ones in runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<[u8; 16], Known>,
    /// In order of time; a key whose time is another one by now is passed over.
    order: VecDeque<(u64, [u8; 16])>,
    /// The newest first.
    runs: Arc<Vec<Arc<Run>>>,
    /// From the snapshot: runs that are not open so far.
    pub(crate) referenced: Vec<RunReference>,
}

/// What a snapshot says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunReference {
    pub id: RunId,
    pub count: u64,
    pub newest_ms: u64,
}

impl Keys {
    /// Asks for a key.
    pub(crate) fn begin(&mut self, mark: &Idempotency, now_ms: u64, window_ms: u64) -> Answer {
        self.expire(now_ms, window_ms);
        if let Some(known) = self.known.get(&mark.key) {
            return match known {
                known if known.content != content(mark) => Answer::Mismatch,
                Known { first: Some(first), .. } => Answer::Known(*first),
                _ => Answer::InFlight,
            };
        }
        self.known.insert(mark.key, Known { content: content(mark), first: None, at_ms: now_ms });
        Answer::Begin
    }

    /// True while no more keys than these are remembered, those in flight included.
    pub(crate) fn fit(&self, now_ms: u64, window_ms: u64, keys_max: u64) -> bool {
        let recent = self.known.len() as u64;
        recent <= keys_max && recent + self.runs.iter().map(|run| run.live(now_ms, window_ms)).sum::<u64>() <= keys_max
    }

    /// The append is durable.
    pub(crate) fn settle(&mut self, mark: &Idempotency, first: First, at_ms: u64) {
        self.remember(mark.key, content(mark), first, at_ms);
    }

    fn remember(&mut self, key: [u8; 16], content: [u8; 8], first: First, at_ms: u64) {
        let known = Known { content, first: Some(first), at_ms };
        // A replay may go over the same append, and over an older one whose window had ended by then.
        if self.known.insert(key, known).is_none_or(|before| before.first.is_none() || before.at_ms != at_ms) {
            self.order.push_back((at_ms, key));
        }
    }

    /// The append is not there: the key may be used again.
    pub(crate) fn give_up(&mut self, key: &[u8; 16]) {
        if self.known.get(key).is_some_and(|known| known.first.is_none()) {
            self.known.remove(key);
        }
    }

    /// Forgets the recent keys whose window has ended.
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

    /// How many are in memory.
    pub(crate) fn recent(&self) -> usize {
        self.known.len()
    }

    /// Nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.runs.is_empty() && self.referenced.is_empty()
    }

    /// The runs of now, the newest first.
    pub(crate) fn runs(&self) -> &Arc<Vec<Arc<Run>>> {
        &self.runs
    }

    /// What a run would hold: all recent keys that are durable, sorted.
    pub(crate) fn settled(&self) -> Vec<Entry> {
        let entry = |(key, known): (&[u8; 16], &Known)| {
            Some(Entry { key: *key, content: known.content, at_ms: known.at_ms, first: known.first? })
        };
        let mut entries: Vec<Entry> = self.known.iter().filter_map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        entries
    }

    /// These keys are in a run from now on; those that have changed meanwhile stay in memory too.
    pub(crate) fn written(&mut self, entries: &[Entry], run: Run) {
        for entry in entries {
            if self.known.get(&entry.key).is_some_and(|known| known.first == Some(entry.first)) {
                self.known.remove(&entry.key);
            }
        }
        let known = &self.known;
        self.order.retain(|(at_ms, key)| known.get(key).is_some_and(|known| known.at_ms == *at_ms));
        self.known.shrink_to(self.known.len() * 2);
        let mut runs = vec![Arc::new(run)];
        runs.extend(self.runs.iter().cloned());
        self.runs = Arc::new(runs);
    }

    /// Puts one run in the place of others; no run: they hold nothing that counts.
    pub(crate) fn replace(&mut self, old: &[RunId], new: Option<Run>) {
        let mut runs: Vec<Arc<Run>> = self.runs.iter().filter(|run| !old.contains(&run.id)).cloned().collect();
        runs.extend(new.map(Arc::new));
        runs.sort_by_key(|run| std::cmp::Reverse((run.newest_ms, run.id)));
        self.runs = Arc::new(runs);
    }

    /// Writes those that are durable, in order of time, and which runs there are.
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
        writer.u64((self.runs.len() + self.referenced.len()) as u64);
        let open = self.runs.iter().map(|run| RunReference { id: run.id, count: run.count, newest_ms: run.newest_ms });
        for reference in open.chain(self.referenced.iter().copied()) {
            writer.u32(reference.id.epoch);
            writer.u32(reference.id.number);
            writer.u64(reference.count);
            writer.u64(reference.newest_ms);
        }
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Keys> {
        let mut keys = Keys::default();
        for _ in 0..reader.count()? {
            let (key, content, at_ms) = (reader.fixed()?, reader.fixed()?, reader.u64()?);
            let first = First { first_offset: reader.u64()?, count: reader.u32()?, epoch: reader.u32()? };
            keys.remember(key, content, first, at_ms);
        }
        for _ in 0..reader.count()? {
            let id = RunId { epoch: reader.u32()?, number: reader.u32()? };
            keys.referenced.push(RunReference { id, count: reader.u64()?, newest_ms: reader.u64()? });
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
        assert_eq!(keys.begin(&mark(1, 1), 0, 100), Answer::Begin);
        assert_eq!(keys.begin(&mark(1, 1), 1, 100), Answer::InFlight);
        keys.give_up(&[1; 16]);
        assert_eq!(keys.begin(&mark(1, 1), 2, 100), Answer::Begin);
        keys.settle(&mark(1, 1), first, 2);
        keys.give_up(&[1; 16]);
        assert_eq!(keys.begin(&mark(1, 1), 50, 100), Answer::Known(first));
        assert_eq!(keys.begin(&mark(1, 2), 50, 100), Answer::Mismatch);
        assert!(keys.fit(50, 100, 1) && !keys.fit(50, 100, 0));
        let mut writer = Writer::default();
        keys.put(&mut writer);
        let mut read = Keys::get(&mut Reader::new(&writer.0)).unwrap();
        assert_eq!(read.begin(&mark(1, 1), 101, 100), Answer::Known(first));
        assert_eq!(read.begin(&mark(1, 1), 102, 100), Answer::Begin);
        assert_eq!(read.recent(), 1);
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
            assert_eq!(keys.begin(&mark(1, 1), 299, 100), Answer::Known(first(9)));
            assert_eq!(keys.begin(&mark(1, 1), 300, 100), Answer::Begin);
        }
    }
}
