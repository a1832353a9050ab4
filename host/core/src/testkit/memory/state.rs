//! Everything that a queue in memory knows: records, the progress of each target, idempotency keys.
//!
//! In: what the ports are asked, with the time of now. Out: their answers.

use super::progress::{Progress, Stage, Standing};
use crate::batch::RecordBatch;
use crate::error::{Error, Kind, Result};
use crate::name::TargetName;
use crate::queue::{Appended, From, Lease, LeaseRequest, LeaseToken, QueuePolicy, QueueStats, Settlement};
use crate::random::Random;
use crate::record::{Record, RecordId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// One reading of the clock.
pub struct Now {
    pub us: u64,
    pub ms: u64,
    pub monotonic: Duration,
}

/// A record as it was appended.
pub struct Stored {
    /// With attempt 0.
    pub record: Record,
    /// Its own earliest time.
    pub due_ms: Option<u64>,
    /// Targets that have not settled it.
    pub waiting: BTreeSet<TargetName>,
    /// When the last target settled it.
    pub settled_at_ms: Option<u64>,
    /// The only target that it was meant for.
    only: Option<TargetName>,
}

struct Keyed {
    content: [u8; 16],
    appended: Appended,
    at_ms: u64,
}

/// All of it.
pub struct State {
    pub policy: QueuePolicy,
    pub closed: bool,
    pub settling_refused: bool,
    pub records: BTreeMap<u64, Stored>,
    pub targets: BTreeMap<TargetName, Progress>,
    keys: HashMap<[u8; 16], Keyed>,
    numbers: Numbers,
}

/// Numbers that are never given twice.
#[derive(Default)]
pub struct Numbers {
    offset: u64,
    sequence: u64,
    pub place: u64,
    pub token: u64,
    pub letter: u64,
    /// A bug that the suite must find.
    #[cfg(test)]
    pub planted: &'static str,
}

impl Numbers {
    /// True when this bug was planted: only in tests of the suite itself.
    pub fn is_planted(&self, bug: &str) -> bool {
        #[cfg(test)]
        return self.planted == bug;
        #[cfg(not(test))]
        return bug.is_empty();
    }
}

/// The next of a row.
pub fn next(number: &mut u64) -> u64 {
    *number += 1;
    *number
}

impl State {
    pub fn new(policy: QueuePolicy) -> State {
        State {
            policy,
            closed: false,
            settling_refused: false,
            records: BTreeMap::new(),
            targets: BTreeMap::new(),
            keys: HashMap::new(),
            numbers: Numbers::default(),
        }
    }

    /// What time alone changes: leases end, delayed records take their place, dead letters expire, history
    /// and idempotency keys are forgotten.
    pub fn tick(&mut self, now: &Now) {
        let State { policy, records, targets, keys, numbers, .. } = self;
        for progress in targets.values_mut() {
            progress.end_leases(now.monotonic);
            progress.promote(records, now, policy.ordered, numbers);
            progress.expire_letters(now.ms, policy.dlq_retention_ms);
        }
        keys.retain(|_, keyed| now.ms <= keyed.at_ms + policy.idempotency_window_ms);
        let forgotten: Vec<u64> = records
            .iter()
            .filter(|(_, stored)| stored.settled_at_ms.is_some_and(|at| now.ms > at + policy.history_ms))
            .map(|(offset, _)| *offset)
            .filter(|offset| !targets.values().any(|progress| progress.is_dead(*offset)))
            .collect();
        for offset in forgotten {
            records.remove(&offset);
            targets.values_mut().for_each(|progress| progress.forget(offset));
        }
    }

    pub fn append(&mut self, batch: &RecordBatch, now: &Now, random: &Random) -> Result<Appended> {
        let refuse = |kind, detail: &'static str| Err(Error::new(kind, "queue.append", detail));
        if self.closed {
            return refuse(Kind::Closed, "the queue is closed");
        }
        if batch.target.as_ref().is_some_and(|target| self.subscribed(target).is_none()) {
            return refuse(Kind::UnknownTarget, "the namespace has no such target");
        }
        if let Some(mark) = &batch.idempotency {
            match self.keys.get(&mark.key) {
                Some(keyed) if keyed.content == mark.content => {
                    return Ok(Appended { deduplicated: true, ..keyed.appended.clone() });
                }
                Some(_) => return refuse(Kind::IdempotencyMismatch, "the idempotency key was used with other content"),
                None if self.keys.len() as u64 >= self.policy.idempotency_keys_max => {
                    return refuse(Kind::QuotaExceeded, "the namespace remembers as many idempotency keys as it may");
                }
                None => {}
            }
        }
        if self.backlog().1 + batch.bytes() as u64 > self.policy.backlog_bytes_max {
            return refuse(Kind::QuotaExceeded, "the namespace's backlog is full");
        }
        let first = self.numbers.offset + 1;
        let ids = (0..batch.count()).map(|place| self.append_one(batch, place, now, random)).collect();
        let appended = Appended {
            ids,
            first: format!("0:{first}"),
            last: format!("0:{}", self.numbers.offset),
            durability: "none",
            deduplicated: false,
        };
        if let Some(mark) = &batch.idempotency {
            let keyed = Keyed { content: mark.content, appended: appended.clone(), at_ms: now.ms };
            self.keys.insert(mark.key, keyed);
        }
        self.tick(now);
        Ok(appended)
    }

    fn append_one(&mut self, batch: &RecordBatch, place: usize, now: &Now, random: &Random) -> RecordId {
        let offset = next(&mut self.numbers.offset);
        let jitter_ms = if batch.jitter_ms == 0 { 0 } else { random.below(batch.jitter_ms + 1) };
        let due_ms = batch.due_ms.map(|due_ms| due_ms + jitter_ms).filter(|due_ms| *due_ms > now.ms);
        let sequence = match due_ms {
            Some(due_ms) => due_ms * 1_000 + offset % 1_000,
            None => {
                self.numbers.sequence = now.us.max(self.numbers.sequence + 1);
                self.numbers.sequence
            }
        };
        let (key, headers, value) = batch.parts(place);
        let id = id_of(offset);
        let key = (!key.is_empty()).then_some(key);
        let record = Record { id: id.clone(), sequence, appended_at_ms: now.ms, attempt: 0, key, headers, value };
        let meant = |target: &TargetName| batch.target.as_ref().is_none_or(|only| only == target);
        let mut waiting = BTreeSet::new();
        for (target, progress) in self.targets.iter_mut().filter(|(t, p)| p.subscribed && meant(t)) {
            waiting.insert(target.clone());
            progress.accept(offset, due_ms, now.ms);
        }
        let stored = Stored { record, due_ms, waiting, settled_at_ms: None, only: batch.target.clone() };
        self.records.insert(offset, stored);
        id
    }

    pub fn subscribe(&mut self, target: &TargetName, from: From, now: &Now) {
        let progress = self.targets.entry(target.clone()).or_default();
        if std::mem::replace(&mut progress.subscribed, true) || from == From::Latest {
            return;
        }
        for (offset, stored) in &mut self.records {
            let meant = stored.only.as_ref().is_none_or(|only| only == target);
            if meant && stored.settled_at_ms.is_none() && !progress.records.contains_key(offset) {
                stored.waiting.insert(target.clone());
                progress.accept(*offset, stored.due_ms, now.ms);
            }
        }
        self.tick(now);
    }

    pub fn unsubscribe(&mut self, target: &TargetName, now: &Now) -> u64 {
        let Some(progress) = self.subscribed(target) else { return 0 };
        progress.subscribed = false;
        let pending = progress.cancel_all(now.ms);
        for offset in &pending {
            self.settled(*offset, target, now);
        }
        pending.len() as u64
    }

    /// The progress of a target that is subscribed.
    pub fn subscribed(&mut self, target: &TargetName) -> Option<&mut Progress> {
        self.targets.get_mut(target).filter(|progress| progress.subscribed)
    }

    pub fn lease(&mut self, target: &TargetName, request: &LeaseRequest, now: &Now) -> Vec<Lease> {
        let State { policy, records, targets, numbers, .. } = self;
        let progress = targets.get_mut(target).expect("the caller has looked");
        progress.lease(records, request, now, policy.ordered, numbers)
    }

    pub fn settle(&mut self, target: &TargetName, token: LeaseToken, settlement: Settlement, now: &Now) {
        let State { policy, records, targets, numbers, .. } = self;
        let Some(progress) = targets.get_mut(target) else { return };
        let Some(offset) = progress.settle(token, settlement, records, now, policy.ordered, numbers) else { return };
        self.settled(offset, target, now);
        // A key that was parked takes its later records along.
        self.tick(now);
    }

    /// The attempt of a suspect begins. False: another one that was counted before is on its way.
    pub fn start(&mut self, target: &TargetName, token: LeaseToken, now: &Now) -> Result<bool> {
        let others = self.targets.iter().filter(|(name, _)| *name != target);
        let busy = others.flat_map(|(_, progress)| progress.records.values()).any(Standing::is_counted_and_on_its_way);
        let standing = self.targets.get_mut(target).and_then(|progress| progress.leased(token));
        let Some(standing) = standing else {
            return Err(Error::new(Kind::NotFound, "subscription.start", "the lease has ended"));
        };
        if busy && standing.crashes > 0 {
            return Ok(false);
        }
        if standing.is_suspect() {
            standing.started_at_ms = Some(now.ms);
        }
        Ok(true)
    }

    /// A target has settled a record for good.
    pub fn settled(&mut self, offset: u64, target: &TargetName, now: &Now) {
        if let Some(stored) = self.records.get_mut(&offset) {
            stored.waiting.remove(target);
            if stored.waiting.is_empty() {
                stored.settled_at_ms = Some(now.ms);
            }
        }
    }

    /// Ends all leases.
    pub fn end_leases(&mut self) {
        self.targets.values_mut().for_each(|progress| progress.end_leases(Duration::MAX));
    }

    /// Records and bytes that some target has not settled.
    fn backlog(&self) -> (u64, u64) {
        let pending = self.records.values().filter(|stored| stored.settled_at_ms.is_none());
        pending.fold((0, 0), |(records, bytes), stored| (records + 1, bytes + stored.record.bytes() as u64))
    }

    pub fn stats(&self, now: &Now) -> QueueStats {
        let (backlog_records, backlog_bytes) = self.backlog();
        let targets = self.targets.iter().map(|(target, progress)| (target.clone(), progress.stats(now)));
        QueueStats { backlog_bytes, backlog_records, targets: targets.collect() }
    }

    /// The offset of an id that this queue has given and still knows.
    pub fn offset_of(&self, id: &RecordId) -> Option<u64> {
        let offset = id.as_str().strip_prefix('m')?.parse().ok()?;
        (id_of(offset) == *id && self.records.contains_key(&offset)).then_some(offset)
    }

    pub fn numbers(&mut self) -> (&mut BTreeMap<TargetName, Progress>, &mut BTreeMap<u64, Stored>, &mut Numbers) {
        (&mut self.targets, &mut self.records, &mut self.numbers)
    }
}

fn id_of(offset: u64) -> RecordId {
    RecordId::new(&format!("m{offset}"))
}

impl Standing {
    /// A record that a target has just been given.
    pub fn new(due_ms: Option<u64>, now_ms: u64) -> Standing {
        Standing {
            stage: Stage::Scheduled { due_ms: due_ms.unwrap_or(now_ms) },
            place: None,
            attempts: Vec::new(),
            number: 1,
            spent: 0,
            first_spent_at_ms: None,
            suspect: false,
            started_at_ms: None,
            crashes: 0,
        }
    }
}
