//! One run of the model: which operation comes next, what it must answer, what must be found afterwards.
//!
//! In: a seed. Out: counters that prove that everything happened; a panic where something does not hold.

use super::reference::{Doubt, Reference, Stand, TARGETS};
use super::world::World;
use crate::backend::{EmbeddedConfig, Planted};
use std::collections::BTreeMap;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::{BatchBuilder, Idempotency};
use walhost_core::queue::{Done, From, Lease, LeaseRequest, QueueContext, QueuePolicy, Settlement};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{Attempt, Clock, Kind, NamespaceName, Queue, Random, Subscription, TargetName, VerdictKind};

pub(super) const VISIBILITY_MS: u64 = 5_000;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Ran(BTreeMap<&'static str, u64>);

const MUST: [&str; 38] = [
    "append",
    "append delayed",
    "append for one",
    "append keyed",
    "deduplicated",
    "append in doubt",
    "doubt was there",
    "doubt was not there",
    "lease",
    "delivered",
    "filtered",
    "later",
    "held",
    "dead",
    "lease ended",
    "cancel",
    "reschedule",
    "redrive",
    "purge",
    "expire",
    "moved",
    "advance",
    "snapshot",
    "roll",
    "reopen",
    "power cut",
    "kill",
    "sync failed",
    "disk full",
    "no room",
    "in order",
    "segment given back",
    "copied",
    "segment emptied",
    "sectors lost",
    "lies lost",
    "names lost",
    "files torn",
];

impl Ran {
    pub(super) fn count(&mut self, what: &'static str) {
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
    pub(super) world: World,
    pub(super) random: Random,
    pub(super) reference: Reference,
    pub(super) queue: Option<Arc<dyn Queue>>,
    pub(super) leases: Vec<(&'static str, Lease)>,
    values: u64,
    pub(super) ran: Ran,
    ordered: bool,
    /// The last things done, for whoever reads a failure.
    trace: Vec<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.trace.len().saturating_sub(25);
            eprintln!("{}", self.trace[from..].join("\n"));
        }
    }
}

fn model_policy(ordered: bool) -> QueuePolicy {
    QueuePolicy {
        ordered,
        history_ms: u64::MAX / 4,
        idempotency_window_ms: u64::MAX / 4,
        dlq_retention_ms: 60_000,
        ..policy()
    }
}

pub(super) fn target(name: &str) -> TargetName {
    TargetName::new(name).unwrap()
}

impl Run {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Run {
        let mut world = World::new(seed, 64 * 1024, planted);
        world.clean_slack_segments = 0;
        world.open().unwrap();
        let random = Random::seeded(seed ^ 0xabcd);
        let (reference, ran) = (Reference::default(), Ran::default());
        let mut run = Run {
            world,
            random,
            reference,
            queue: None,
            leases: Vec::new(),
            values: 0,
            ran,
            ordered: seed % 2 == 1,
            trace: Vec::new(),
        };
        run.take_up();
        run
    }

    pub(super) fn ran(self) -> Ran {
        self.ran.clone()
    }

    pub(super) fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(self.queue.as_ref().unwrap())
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.world.clock.now_ms()
    }

    pub(super) fn take_up(&mut self) {
        let context = QueueContext { namespace: NamespaceName::new("n").unwrap(), policy: model_policy(self.ordered) };
        let embedded = self.world.embedded();
        let queue = self.world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
        for name in TARGETS {
            self.world.wait(queue.subscribe(&target(name), From::Latest)).unwrap();
        }
        self.queue = Some(queue);
    }

    pub(super) fn sub(&mut self, name: &str) -> Arc<dyn Subscription> {
        let queue = self.queue();
        self.world.wait(queue.subscribe(&target(name), From::Latest)).unwrap()
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("{}: {what}", self.now_ms()));
    }

    pub(super) fn step(&mut self, step: usize) {
        let dice = self.random.below(100);
        self.note(format!("step {step}, dice {dice}"));
        match dice {
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

    pub(super) fn append(&mut self) {
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
        let appended = self.world.wait(queue.append(batch));
        self.note(format!("append {:?} -> {appended:?}", doubt.values.len()));
        match (appended, known) {
            (Ok(appended), Some((first, count))) => {
                assert!(appended.deduplicated, "a known key gave new records");
                let ids: Vec<_> =
                    self.reference.records[first..first + count].iter().map(|known| known.id.clone()).collect();
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
            (Err(error), _) if error.kind() == Kind::DiskFull => self.ran.count("no room"),
            (Err(error), _) => {
                assert!(matches!(error.kind(), Kind::Unavailable | Kind::Overloaded | Kind::Closed), "{error}")
            }
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
            self.note(format!("lease {name} {:?} {:?}", lease.token, lease.record.id));
            self.check_lease(name, &lease);
            self.leases.push((name, lease));
        }
    }

    pub(super) fn check_lease(&mut self, name: &'static str, lease: &Lease) {
        let now_ms = self.world.clock.now_ms();
        let known = self
            .reference
            .find(&lease.record.id)
            .unwrap_or_else(|| panic!("{:?} was never acknowledged", lease.record.id));
        assert_eq!(lease.record.value, known.value, "I3");
        let sequence = *known.sequence.get_or_insert(lease.record.sequence);
        assert_eq!(lease.record.sequence, sequence, "a sequence never changes");
        let slot = known.slots.get_mut(name).unwrap_or_else(|| panic!("not meant for {name}"));
        let Stand::Pending { attempts, due_ms } = slot.now else {
            panic!("{:?} was handed out again: {slot:?}", lease.record.id)
        };
        assert!(now_ms >= due_ms, "I20: due at {due_ms}, handed out at {now_ms}");
        assert!(slot.leased_until_ms <= now_ms, "leased twice");
        assert_eq!(lease.record.attempt, attempts + 1);
        (slot.token, slot.leased_until_ms, slot.started) = (lease.token.0, now_ms + VISIBILITY_MS, true);
        if self.ordered && known.keyed {
            let holds = |other: &&super::reference::Known| {
                other.keyed && other.id != lease.record.id && other.slots.get(name).is_some_and(|slot| slot.started)
            };
            let holder = self.reference.records.iter().find(holds).map(|other| other.id.clone());
            assert_eq!(holder, None, "I19: {:?} was handed out behind an open record of its key", lease.record.id);
            self.ran.count("in order");
        }
    }

    fn attempt(&self, lease: &Lease, verdict: VerdictKind) -> Attempt {
        let number = lease.record.attempt;
        Attempt { number, at_ms: self.now_ms(), verdict, code: "code".into(), message: "words".into(), digest: None }
    }

    pub(super) fn settle(&mut self) {
        let name = TARGETS[self.random.below(2) as usize];
        let mut call = Vec::new();
        let mut stands = Vec::new();
        let now_ms = self.now_ms();
        for (whose, lease) in std::mem::take(&mut self.leases) {
            if whose != name || self.random.below(4) == 0 {
                self.leases.push((whose, lease));
                continue;
            }
            let slot = self.reference.find(&lease.record.id).map(|known| known.slots[name].clone());
            let alive = slot.is_some_and(|slot| slot.token == lease.token.0 && slot.leased_until_ms > now_ms);
            let attempts = lease.record.attempt;
            let most_ms = if self.random.below(4) == 0 { 90_000 } else { 3_000 };
            let due_ms = now_ms + self.random.below(most_ms);
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
                7 => (
                    Settlement::Later { due_ms, spent: None },
                    Stand::Pending { attempts: attempts - 1, due_ms },
                    "held",
                ),
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
        let noted = format!(
            "settle {name} {call:?} alive {:?}",
            stands.iter().map(|(lease, ..)| lease.record.id.clone()).collect::<Vec<_>>()
        );
        let settled = self.world.wait(sub.settle(call));
        self.note(format!("{noted} -> {settled:?}"));
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

    pub(super) fn any_id(&self) -> Option<walhost_core::RecordId> {
        let count = self.reference.records.len() as u64;
        (count > 0).then(|| self.reference.records[self.random.below(count) as usize].id.clone())
    }

    pub(super) fn change_waiting(
        &mut self,
        id: &walhost_core::RecordId,
        durable: bool,
        stand: impl Fn(Stand) -> Stand,
    ) -> usize {
        let now_ms = self.now_ms();
        let known = self.reference.find(id).unwrap();
        let mut changed = 0;
        for slot in known.slots.values_mut() {
            if matches!(slot.now, Stand::Pending { .. }) && slot.leased_until_ms <= now_ms {
                let stand = stand(slot.now);
                if durable {
                    slot.fix(stand)
                } else {
                    slot.change(stand)
                }
                changed += 1;
            }
        }
        changed
    }

    fn advance(&mut self) {
        self.ran.count("advance");
        let most = if self.random.below(4) == 0 { 60_000 } else { 500 };
        let ms = 1 + self.random.below(most);
        self.world.advance(ms);
    }

    /// Cleans for a while; now and then after so many snapshots that there is something to clean.
    fn clean(&mut self) {
        let embedded = self.world.embedded();
        if self.random.below(2) == 0 {
            embedded.roll();
            for _ in 0..3 {
                self.world.flush();
                let _ = embedded.snapshot();
            }
        }
        for _ in 0..self.random.below(24) {
            let _ = embedded.clean();
            if self.random.below(3) > 0 {
                self.world.step();
            }
        }
        let space = embedded.space();
        if space.cleaned_bytes > 0 {
            self.ran.count("copied");
        }
        if space.cleaned_segments > 0 {
            self.ran.count("segment emptied");
        }
    }

    /// Housekeeping, and what it makes of the dead letters.
    pub(super) fn keep(&mut self) {
        let before = self.letters();
        let embedded = self.world.embedded();
        if embedded.keep().and_then(|()| embedded.snapshot()).is_ok() {
            self.ran.count("snapshot");
        }
        self.world.step();
        if embedded.namespaces().0.iter().any(|one| one.view.lock().targets.iter().any(|t| !t.moved.is_empty())) {
            self.ran.count("moved");
        }
        self.clean();
        if embedded.stats().recycled > 0 {
            self.ran.count("segment given back");
        }
        let left = self.letters();
        for (id, record, name) in before {
            if !left.iter().any(|(still, ..)| *still == id) {
                let slot = self.reference.find(&record).unwrap().slots.get_mut(name.as_str()).unwrap();
                slot.change(Stand::Expired);
                self.ran.count("expire");
            }
        }
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
                let request =
                    LeaseRequest { records_max: 100, bytes_max: 1 << 20, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
                let leases = self.world.wait(sub.lease(request)).unwrap();
                if leases.is_empty() {
                    break;
                }
                let mut call = Vec::new();
                for lease in leases {
                    self.check_lease(name, &lease);
                    let attempt = Some(self.attempt(&lease, VerdictKind::Delivered));
                    call.push((lease.token, Settlement::Done { outcome: Done::Delivered, attempt }));
                    self.reference
                        .find(&lease.record.id)
                        .unwrap()
                        .slots
                        .get_mut(name)
                        .unwrap()
                        .change(Stand::Delivered);
                }
                self.world.wait(sub.settle(call)).unwrap();
            }
            assert_eq!(self.reference.accounting(name).pending, 0, "all that was open was handed out");
        }
        self.balance();
        assert_eq!(self.queue().stats().backlog_records, 0);
        let disk = self.world.disk.counters();
        let happened = [
            ("sectors lost", disk.sectors_lost),
            ("lies lost", disk.lies_lost),
            ("names lost", disk.names_lost),
            ("files torn", disk.files_torn),
        ];
        happened.into_iter().filter(|(_, count)| *count > 0).for_each(|(what, _)| self.ran.count(what));
    }
}
