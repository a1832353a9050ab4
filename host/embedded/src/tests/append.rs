//! What producers do in a run of the model.
//!
//! In: a run. Out: the same run, with what was appended taken into the reference.

use super::reference::{Doubt, TARGETS};
use super::run::{Run, target};
use walhost_core::Kind;
use walhost_core::batch::{BatchBuilder, Idempotency};

/// Different keys of a namespace: few, so that they often meet.
const KEYS: [&[u8]; 3] = [b"k0", b"key-one", b"a longer key, the third"];

impl Run {
    fn value(&mut self) -> Vec<u8> {
        self.values += 1;
        let mut value = format!("value {} of {} ", self.values, self.space.name).into_bytes();
        let fill = self.random.below(400) as usize;
        value.extend((0..fill).map(|at| (at as u64 ^ self.values) as u8));
        value
    }

    pub(super) fn append(&mut self) {
        let now_ms = self.now_ms();
        let count = 1 + self.random.below(5);
        let values: Vec<Vec<u8>> = (0..count).map(|_| self.value()).collect();
        let mut builder = BatchBuilder::default();
        let mut keys = Vec::new();
        for value in &values {
            let key = self.random.below(2 * KEYS.len() as u64) as usize;
            let bytes = KEYS.get(key).copied();
            builder.record_with(bytes, [("content-type", b"x/y".as_slice())], value);
            keys.push(bytes.map(|_| key as u8));
        }
        let mut batch = builder.build().unwrap();
        let mut doubt = Doubt { values, keys, only: None, due_ms: now_ms, timed: false, idempotency: None };
        self.ran.count("append");
        match self.random.below(8) {
            0 => {
                doubt.due_ms = now_ms + 1 + self.random.below(100_000);
                doubt.timed = true;
                batch.due_ms = Some(doubt.due_ms);
                self.ran.count("append delayed");
            }
            1 => {
                doubt.only = Some(TARGETS[self.random.below(2) as usize]);
                batch.target = doubt.only.map(target);
                self.ran.count("append for one");
            }
            2 => {
                let key = self.random.below(12) as u8;
                batch.idempotency = Some(Idempotency { key: [key; 16], content: [key; 16] });
                doubt.idempotency = Some(key);
                self.ran.count("append keyed");
            }
            _ => {}
        }
        let known = doubt.idempotency.and_then(|key| self.space.reference.keys.get(&key).copied());
        let bytes = batch.bytes() as u64;
        let queue = self.queue();
        let open = doubt.clone();
        let may = |space: &mut super::spaces::Space| {
            if known.is_none() {
                space.reference.doubts.push(open);
            }
        };
        let appended = self.watched("during: append", may, |run| run.world.wait(queue.append(batch)));
        self.note(|| format!("append {:?} -> {appended:?}", doubt.values.len()));
        match (appended, known) {
            (Ok(appended), Some((first, count))) => {
                assert!(appended.deduplicated, "a known key gave new records");
                let records = &self.space.reference.records[first..first + count];
                let ids: Vec<_> = records.iter().map(|known| known.id.clone()).collect();
                assert_eq!(appended.ids, ids, "I23");
                self.ran.count("deduplicated");
            }
            (Ok(appended), None) => {
                assert!(!appended.deduplicated && appended.ids.len() == doubt.values.len());
                for id in &appended.ids {
                    assert!(self.ids.insert(id.clone()), "{id} was given twice");
                }
                self.space.reference.add(&appended.ids, &doubt);
                self.space.gone_maybe = false;
            }
            (Err(error), _) if error.kind() == Kind::OutcomeUnknown => {
                self.ran.count("append in doubt");
                self.space.reference.doubts.push(doubt);
            }
            (Err(error), _) if error.kind() == Kind::DiskFull => self.ran.count("no room"),
            (Err(error), _) if error.kind() == Kind::QuotaExceeded => {
                let backlog = queue.stats().backlog_bytes;
                let limit = self.space.backlog_bytes_max;
                assert!(backlog + bytes + 1_000 > limit, "refused at {backlog} and {bytes} of {limit} bytes");
                self.ran.count("over quota");
            }
            (Err(error), _) => {
                assert!(matches!(error.kind(), Kind::Unavailable | Kind::Overloaded | Kind::Closed), "{error}");
            }
        }
    }
}
