//! One run of the model: which operation comes next, what it must answer, what must be found afterwards.
//!
//! In: a seed. Out: counters that prove that everything happened; a panic where something does not hold.

use super::reference::{Doubt, Reference, Stand, TARGETS, fits};
use super::world::World;
use crate::backend::{EmbeddedConfig, Planted};
use std::collections::BTreeMap;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::{BatchBuilder, Idempotency};
use walhost_core::inspect::{DeadLetterFilter, DeadLetterId};
use walhost_core::queue::{Done, From, Lease, LeaseRequest, QueueContext, QueuePolicy, Settlement};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{Attempt, Clock, Kind, NamespaceName, Queue, Random, Subscription, TargetName, VerdictKind};

const VISIBILITY_MS: u64 = 5_000;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Ran(BTreeMap<&'static str, u64>);

const MUST: [&str; 28] = [
    "append", "append delayed", "append for one", "append keyed", "deduplicated", "append in doubt", "doubt was there",
    "doubt was not there", "lease", "delivered", "filtered", "later", "held", "dead", "lease ended", "cancel", "reschedule",
    "redrive", "purge", "expire", "advance", "snapshot", "roll", "reopen", "power cut", "kill", "sync failed", "disk full",
];

impl Ran {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Ran) {
        other.0.iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
    }

    /// Each operation and each fault happened.
    pub(super) fn prove(&self) {
        let missing: Vec<_> = MUST.iter().filter(|what| !self.0.contains_key(*what)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?} of {:?}", self.0);
    }
}

pub(super) struct Run {
    world: World,
    random: Random,
    reference: Reference,
    queue: Option<Arc<dyn Queue>>,
    leases: Vec<(&'static str, Lease)>,
    values: u64,
    ran: Ran,
}

fn model_policy() -> QueuePolicy {
    QueuePolicy { history_ms: u64::MAX / 4, idempotency_window_ms: u64::MAX / 4, dlq_retention_ms: 400_000, ..policy() }
}

fn target(name: &str) -> TargetName {
    TargetName::new(name).unwrap()
}

impl Run {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Run {
        let mut world = World::new(seed, 64 * 1024, planted);
        world.open().unwrap();
        let random = Random::seeded(seed ^ 0xabcd);
        let (reference, ran) = (Reference::default(), Ran::default());
        let mut run = Run { world, random, reference, queue: None, leases: Vec::new(), values: 0, ran };
        run.take_up();
        run
    }

    pub(super) fn ran(self) -> Ran {
        self.ran
    }

    fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(self.queue.as_ref().unwrap())
    }

    fn now_ms(&self) -> u64 {
        self.world.clock.now_ms()
    }

    fn take_up(&mut self) {
        let context = QueueContext { namespace: NamespaceName::new("n").unwrap(), policy: model_policy() };
        let embedded = self.world.embedded();
        let queue = self.world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
        for name in TARGETS {
            self.world.wait(queue.subscribe(&target(name), From::Latest)).unwrap();
        }
        self.queue = Some(queue);
    }

    fn sub(&mut self, name: &str) -> Arc<dyn Subscription> {
        let queue = self.queue();
        self.world.wait(queue.subscribe(&target(name), From::Latest)).unwrap()
    }

    pub(super) fn step(&mut self, _step: usize) {
        match self.random.below(100) {
            0..30 => self.append(),
            30..48 => self.lease(),
            48..66 => self.settle(),
            66..70 => self.cancel(),
            70..73 => self.reschedule(),
            73..77 => self.redrive(),
            77..78 => self.purge(),
            78..84 => self.advance(),
            84..87 => self.keep(),
            87..89 => {
                self.ran.count("roll");
                self.world.embedded().roll();
            }
            89..91 => self.reopen(),
            91..94 => self.crash(),
            94..96 => self.fail_sync(),
            96..98 => self.fill(),
            _ => self.stop_soon(),
        }
        self.balance();
    }

    fn value(&mut self) -> Vec<u8> {
        self.values += 1;
        let mut value = format!("value {} ", self.values).into_bytes();
        let fill = self.random.below(400) as usize;
        value.extend((0..fill).map(|at| (at as u64 ^ self.values) as u8));
        value
    }

    fn append(&mut self) {
        let now_ms = self.now_ms();
        let count = 1 + self.random.below(5);
        let values: Vec<Vec<u8>> = (0..count).map(|_| self.value()).collect();
        let mut builder = BatchBuilder::default();
        for (place, value) in values.iter().enumerate() {
            builder.record_with((place % 2 == 0).then_some(b"k"), [("content-type", b"x/y".as_slice())], value);
        }
        let mut batch = builder.build().unwrap();
        let mut doubt = Doubt { values, only: None, due_ms: now_ms, key: None };
        self.ran.count("append");
        match self.random.below(8) {
            0 => {
                doubt.due_ms = now_ms + 1 + self.random.below(100_000);
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
                doubt.key = Some(key);
                self.ran.count("append keyed");
            }
            _ => {}
        }
        let known = doubt.key.and_then(|key| self.reference.keys.get(&key).copied());
        let queue = self.queue();
        match (self.world.wait(queue.append(batch)), known) {
            (Ok(appended), Some((first, count))) => {
                assert!(appended.deduplicated, "a known key gave new records");
                let ids: Vec<_> = self.reference.records[first..first + count].iter().map(|known| known.id.clone()).collect();
                assert_eq!(appended.ids, ids, "I23");
                self.ran.count("deduplicated");
            }
            (Ok(appended), None) => {
                assert!(!appended.deduplicated);
                assert_eq!(appended.ids.len(), doubt.values.len());
                assert!(appended.ids.iter().all(|id| self.reference.find(id).is_none()), "an id was given twice");
                self.reference.add(&appended.ids, &doubt);
            }
            (Err(error), _) if error.kind() == Kind::OutcomeUnknown => {
                self.ran.count("append in doubt");
                self.reference.doubts.push(doubt);
            }
            (Err(error), _) => assert!(
                matches!(error.kind(), Kind::DiskFull | Kind::Unavailable | Kind::Overloaded | Kind::Closed),
                "{error}"
            ),
        }
    }

    fn lease(&mut self) {
        let name = TARGETS[self.random.below(2) as usize];
        let request = LeaseRequest {
            records_max: 1 + self.random.below(12) as usize,
            bytes_max: 3_000,
            visibility_ms: VISIBILITY_MS,
            wait_ms: 0,
        };
        let sub = self.sub(name);
        let Ok(leases) = self.world.wait(sub.lease(request)) else { return };
        self.ran.count("lease");
        for lease in leases {
            self.check_lease(name, &lease);
            self.leases.push((name, lease));
        }
    }

    fn check_lease(&mut self, name: &'static str, lease: &Lease) {
        let now_ms = self.world.clock.now_ms();
        let known = self.reference.find(&lease.record.id).unwrap_or_else(|| panic!("{:?} was never acknowledged", lease.record.id));
        assert_eq!(lease.record.value, known.value, "I3");
        let sequence = *known.sequence.get_or_insert(lease.record.sequence);
        assert_eq!(lease.record.sequence, sequence, "a sequence never changes");
        let slot = known.slots.get_mut(name).unwrap_or_else(|| panic!("not meant for {name}"));
        let Stand::Pending { attempts, due_ms } = slot.now else { panic!("{:?} was handed out again: {slot:?}", lease.record.id) };
        assert!(now_ms >= due_ms, "I20: due at {due_ms}, handed out at {now_ms}");
        assert!(slot.leased_until_ms <= now_ms, "leased twice");
        assert_eq!(lease.record.attempt, attempts + 1);
        slot.leased_until_ms = now_ms + VISIBILITY_MS;
    }

    fn attempt(&self, lease: &Lease, verdict: VerdictKind) -> Attempt {
        let number = lease.record.attempt;
        Attempt { number, at_ms: self.now_ms(), verdict, code: "code".into(), message: "words".into(), digest: None }
    }

    fn settle(&mut self) {
        let name = TARGETS[self.random.below(2) as usize];
        let mut call = Vec::new();
        let mut stands = Vec::new();
        let now_ms = self.now_ms();
        for (whose, lease) in std::mem::take(&mut self.leases) {
            if whose != name || self.random.below(4) == 0 {
                self.leases.push((whose, lease));
                continue;
            }
            let held = self.reference.find(&lease.record.id).map(|known| known.slots[name].leased_until_ms);
            let alive = held.is_some_and(|until| until == u64::MAX || until > now_ms);
            let attempts = lease.record.attempt;
            let due_ms = now_ms + self.random.below(3_000);
            let (settlement, stand, what) = match self.random.below(10) {
                0..4 => {
                    let attempt = Some(self.attempt(&lease, VerdictKind::Delivered));
                    (Settlement::Done { outcome: Done::Delivered, attempt }, Stand::Delivered, "delivered")
                }
                4 => (Settlement::Done { outcome: Done::Filtered, attempt: None }, Stand::Filtered, "filtered"),
                5 | 6 => {
                    let spent = Some(self.attempt(&lease, VerdictKind::Retry));
                    (Settlement::Later { due_ms, spent }, Stand::Pending { attempts, due_ms }, "later")
                }
                7 => (Settlement::Later { due_ms, spent: None }, Stand::Pending { attempts: attempts - 1, due_ms }, "held"),
                _ => {
                    let attempt = self.attempt(&lease, VerdictKind::Reject);
                    (Settlement::Dead { attempt, exhausted: None }, Stand::Dead, "dead")
                }
            };
            call.push((lease.token, settlement));
            if alive {
                stands.push((lease, stand, what));
            } else {
                self.ran.count("lease ended");
            }
        }
        let sub = self.sub(name);
        let settled = self.world.wait(sub.settle(call));
        for (lease, stand, what) in stands {
            let slot = self.reference.find(&lease.record.id).unwrap().slots.get_mut(name).unwrap();
            if stand == Stand::Dead {
                slot.last = lease.record.attempt;
            }
            match (&settled, stand) {
                (Ok(()), Stand::Dead) => slot.fix(stand),
                (Ok(()), _) => slot.change(stand),
                // It was not settled; what is on disk is another question.
                (Err(_), _) => {
                    slot.maybe.push(stand);
                    self.leases.push((name, lease));
                    continue;
                }
            }
            self.ran.count(what);
        }
    }

    fn any_id(&self) -> Option<walhost_core::RecordId> {
        let count = self.reference.records.len() as u64;
        (count > 0).then(|| self.reference.records[self.random.below(count) as usize].id.clone())
    }

    fn change_waiting(&mut self, id: &walhost_core::RecordId, durable: bool, stand: impl Fn(Stand) -> Stand) -> usize {
        let now_ms = self.now_ms();
        let known = self.reference.find(id).unwrap();
        let mut changed = 0;
        for slot in known.slots.values_mut() {
            if matches!(slot.now, Stand::Pending { .. }) && slot.leased_until_ms <= now_ms {
                let stand = stand(slot.now);
                if durable { slot.fix(stand) } else { slot.change(stand) }
                changed += 1;
            }
        }
        changed
    }

    fn cancel(&mut self) {
        let Some(id) = self.any_id() else { return };
        self.settle_expiry();
        let queue = self.queue();
        match self.world.wait(queue.cancel(&id)) {
            Ok(_) => {
                self.change_waiting(&id, true, |_| Stand::Cancelled);
                self.ran.count("cancel");
            }
            Err(error) if matches!(error.kind(), Kind::TooLate | Kind::NotFound) => {
                assert_eq!(self.change_waiting(&id, true, |stand| stand), 0, "{error}");
            }
            // Applied in memory, perhaps, and not known to be durable.
            Err(_) => self.look(&id),
        }
    }

    fn reschedule(&mut self) {
        let Some(id) = self.any_id() else { return };
        self.settle_expiry();
        let due_ms = self.now_ms() + self.random.below(60_000);
        let moved = |stand| match stand {
            Stand::Pending { attempts, .. } => Stand::Pending { attempts, due_ms },
            other => other,
        };
        let queue = self.queue();
        match self.world.wait(queue.reschedule(&id, due_ms)) {
            Ok(_) => {
                self.change_waiting(&id, true, moved);
                self.ran.count("reschedule");
            }
            Err(error) if matches!(error.kind(), Kind::TooLate | Kind::NotFound) => {}
            Err(_) => {
                let known = self.reference.find(&id).unwrap();
                known.slots.values_mut().for_each(|slot| slot.maybe.push(moved(slot.now)));
                self.look_with(&id, moved);
            }
        }
    }

    /// Leases whose time is over are noticed by a lease call; cancelling looks at what was noticed.
    fn settle_expiry(&mut self) {
        for name in TARGETS {
            let sub = self.sub(name);
            let none = LeaseRequest { records_max: 1, bytes_max: 1, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
            if let Ok(leases) = self.world.wait(sub.lease(none)) {
                for lease in leases {
                    self.check_lease(name, &lease);
                    self.leases.push((name, lease));
                }
            }
        }
    }

    /// Takes over what a call that failed has done in memory.
    fn look(&mut self, id: &walhost_core::RecordId) {
        self.look_with(id, |_| Stand::Cancelled);
    }

    fn look_with(&mut self, id: &walhost_core::RecordId, changed: impl Fn(Stand) -> Stand) {
        let now_ms = self.now_ms();
        let queue = self.queue();
        let Ok(Some(found)) = self.world.wait(queue.find(id)) else { return };
        for (name, slot) in &mut self.reference.find(id).unwrap().slots {
            let stand = changed(slot.now);
            if !fits(&slot.now, found.targets.get(&target(name)), now_ms)
                && fits(&stand, found.targets.get(&target(name)), now_ms)
            {
                slot.change(stand);
            }
        }
    }

    fn letters(&mut self) -> Vec<(DeadLetterId, walhost_core::RecordId, String)> {
        let queue = self.queue();
        let page = self.world.wait(queue.dead_letters(&DeadLetterFilter::default(), None, 1_000)).unwrap();
        page.items.into_iter().map(|letter| (letter.id, letter.record, letter.target.as_str().to_owned())).collect()
    }

    fn some_letters(&mut self) -> Vec<(DeadLetterId, walhost_core::RecordId, String)> {
        let mut letters = self.letters();
        letters.retain(|_| self.random.below(2) == 0);
        letters.truncate(5);
        letters
    }

    fn redrive(&mut self) {
        let letters = self.some_letters();
        let mut ids: Vec<_> = letters.iter().map(|(id, ..)| id.clone()).collect();
        ids.extend(ids.clone());
        let queue = self.queue();
        let moved = self.world.wait(queue.redrive(&ids));
        let left = self.letters();
        for (id, record, name) in &letters {
            let now_ms = self.now_ms();
            let slot = self.reference.find(record).unwrap().slots.get_mut(name.as_str()).unwrap();
            let attempts = slot.last;
            let pending = Stand::Pending { attempts, due_ms: now_ms };
            if left.iter().any(|(still, ..)| still == id) {
                assert!(moved.is_err() || moved.as_ref().is_ok_and(|moved| (*moved as usize) < letters.len()));
                slot.maybe.push(pending);
            } else {
                slot.fix(pending);
                self.ran.count("redrive");
            }
        }
        if let Ok(moved) = moved {
            assert!(moved as usize <= letters.len(), "I17: each is moved once");
        }
    }

    fn purge(&mut self) {
        let letters = self.some_letters();
        let ids: Vec<_> = letters.iter().map(|(id, ..)| id.clone()).collect();
        let queue = self.queue();
        let purged = self.world.wait(queue.purge(&ids));
        let left = self.letters();
        for (id, record, name) in &letters {
            let slot = self.reference.find(record).unwrap().slots.get_mut(name.as_str()).unwrap();
            if left.iter().any(|(still, ..)| still == id) {
                assert!(purged.is_err());
            } else if purged.is_ok() {
                slot.fix(Stand::Purged);
                self.ran.count("purge");
            } else {
                slot.change(Stand::Purged);
            }
        }
    }

    fn advance(&mut self) {
        self.ran.count("advance");
        let most = if self.random.below(4) == 0 { 60_000 } else { 500 };
        let ms = 1 + self.random.below(most);
        self.world.advance(ms);
    }

    /// Housekeeping, and what it makes of the dead letters.
    fn keep(&mut self) {
        let before = self.letters();
        let embedded = self.world.embedded();
        if embedded.keep().and_then(|()| embedded.snapshot()).is_ok() {
            self.ran.count("snapshot");
        }
        self.world.step();
        let left = self.letters();
        for (id, record, name) in before {
            if !left.iter().any(|(still, ..)| *still == id) {
                let slot = self.reference.find(&record).unwrap().slots.get_mut(name.as_str()).unwrap();
                slot.change(Stand::Expired);
                self.ran.count("expire");
            }
        }
    }

    fn reopen(&mut self) {
        if self.world.close().is_ok() {
            self.reference.saved();
            self.ran.count("reopen");
        }
        self.come_back();
    }

    fn crash(&mut self) {
        if self.random.below(3) == 0 {
            self.world.flush();
            if self.world.embedded().state() == walhost_log::State::Ok {
                self.world.embedded().keep().ok();
                self.world.flush();
            }
        }
        let power = self.random.below(2) == 0;
        self.ran.count(if power { "power cut" } else { "kill" });
        self.world.end(power);
        self.come_back();
    }

    fn fail_sync(&mut self) {
        self.ran.count("sync failed");
        self.world.disk.fail_syncs(self.random.below(2), 1);
        self.append();
    }

    fn fill(&mut self) {
        self.ran.count("disk full");
        self.world.disk.set_capacity_bytes(1);
        for _ in 0..6 {
            self.append();
            self.settle();
            self.world.advance(1_100);
        }
        self.world.disk.set_capacity_bytes(u64::MAX);
        self.world.advance(1_100);
    }

    /// The process stops at some operation of the disk, in the middle of whatever.
    fn stop_soon(&mut self) {
        self.world.disk.stop_after(1 + self.random.below(12));
        for _ in 0..4 {
            match self.random.below(4) {
                0 => self.settle(),
                1 => self.keep(),
                2 => self.redrive(),
                _ => self.append(),
            }
        }
        self.ran.count("power cut");
        self.world.end(true);
        self.world.disk.go_on();
        self.come_back();
    }

    /// Opens again, and holds everything that is there against everything that may be.
    fn come_back(&mut self) {
        self.leases.clear();
        self.queue = None;
        self.world.disk.fail_syncs(0, 0);
        self.world.open().unwrap();
        assert_eq!(self.world.embedded().report().lost, 0, "nothing was damaged, and something was lost");
        self.take_up();
        self.resolve_doubts();
        let now_ms = self.now_ms();
        let queue = self.queue();
        for at in 0..self.reference.records.len() {
            let id = self.reference.records[at].id.clone();
            let found = self.world.wait(queue.find(&id)).unwrap();
            for (name, slot) in &mut self.reference.records[at].slots {
                let found = found.as_ref().and_then(|found| found.targets.get(&target(name)));
                let stands = std::iter::once(slot.now).chain(slot.maybe.iter().rev().copied());
                let Some(stand) = stands.into_iter().find(|stand| fits(stand, found, now_ms)) else {
                    panic!("{id} for {name}: found {found:?}, was {slot:?}");
                };
                slot.fix(stand);
            }
        }
    }

    /// Appends that were not answered are there whole, or not at all (I24).
    fn resolve_doubts(&mut self) {
        let (mut from, mut unknown) = (None::<String>, Vec::new());
        loop {
            let queue = self.queue();
            let page = self.world.wait(queue.peek(from.as_deref(), 1_000)).unwrap();
            let new = page.items.into_iter().map(|peeked| peeked.record).filter(|record| self.reference.find(&record.id).is_none());
            unknown.extend(new.collect::<Vec<_>>());
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        for doubt in std::mem::take(&mut self.reference.doubts) {
            let there: Vec<_> = unknown.extract_if(.., |record| doubt.values.iter().any(|value| record.value == *value)).collect();
            if there.is_empty() {
                self.ran.count("doubt was not there");
                continue;
            }
            assert_eq!(there.len(), doubt.values.len(), "I24: a batch is there whole, or not at all");
            let ids: Vec<_> = there.into_iter().map(|record| record.id).collect();
            self.reference.add(&ids, &doubt);
            self.ran.count("doubt was there");
        }
        assert!(unknown.is_empty(), "records that nobody appended: {unknown:?}");
    }

    fn balance(&mut self) {
        let stats = self.queue().stats();
        for name in TARGETS {
            let accounting = stats.targets[&target(name)].accounting;
            assert!(accounting.balances(), "I12: {accounting:?}");
            assert_eq!(accounting, self.reference.accounting(name), "I12 of {name}");
        }
    }

    /// Everything that is open is handed out in the end, and can be delivered.
    pub(super) fn drain(&mut self) {
        self.world.end(false);
        self.come_back();
        self.world.advance(200_000);
        for name in TARGETS {
            let sub = self.sub(name);
            loop {
                let request = LeaseRequest { records_max: 100, bytes_max: 1 << 20, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
                let leases = self.world.wait(sub.lease(request)).unwrap();
                if leases.is_empty() {
                    break;
                }
                let mut call = Vec::new();
                for lease in leases {
                    self.check_lease(name, &lease);
                    let attempt = Some(self.attempt(&lease, VerdictKind::Delivered));
                    call.push((lease.token, Settlement::Done { outcome: Done::Delivered, attempt }));
                    self.reference.find(&lease.record.id).unwrap().slots.get_mut(name).unwrap().change(Stand::Delivered);
                }
                self.world.wait(sub.settle(call)).unwrap();
            }
            assert_eq!(self.reference.accounting(name).pending, 0, "all that was open was handed out");
        }
        self.balance();
        assert_eq!(self.queue().stats().backlog_records, 0);
    }
}
