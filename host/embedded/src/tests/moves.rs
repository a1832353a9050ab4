//! Records that wait for long: they are moved, whatever comes in between, and nothing depends on where they were.
//!
//! In: a world with one namespace. Out: what is handed out, before and after crashes.

use super::world::World;
use crate::backend::EmbeddedConfig;
use crate::shared::Namespace;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::inspect::{State, TargetState};
use walhost_core::queue::{Done, From, Lease, LeaseRequest, QueueContext, QueuePolicy, Settlement};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{
    Attempt, BatchBuilder, Clock, NamespaceName, Queue, RecordId, Subscription, TargetName, VerdictKind,
};

/// One namespace with one target in a world.
pub(super) struct Rig {
    pub world: World,
    pub ordered: bool,
    pub parking: bool,
    pub queue: Option<Arc<dyn Queue>>,
    pub sub: Option<Arc<dyn Subscription>>,
}

pub(super) const LONG_MS: u64 = 3_600_000;

impl Rig {
    pub(super) fn new(seed: u64, ordered: bool) -> Rig {
        let mut world = World::new(seed, 64 * 1024, None);
        world.open().unwrap();
        let mut rig = Rig { world, ordered, parking: false, queue: None, sub: None };
        rig.take_up();
        rig
    }

    fn take_up(&mut self) {
        let policy = QueuePolicy { ordered: self.ordered, ..policy() };
        let context = QueueContext { namespace: NamespaceName::new("n").unwrap(), policy };
        let embedded = self.world.embedded();
        let queue = self.world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
        let sub = self.world.wait(queue.subscribe(&TargetName::new("a").unwrap(), From::Latest)).unwrap();
        sub.park(self.parking);
        (self.queue, self.sub) = (Some(queue), Some(sub));
    }

    /// Power cut, and up again.
    pub(super) fn crash(&mut self) {
        (self.queue, self.sub) = (None, None);
        self.world.end(true);
        self.world.open().unwrap();
        self.take_up();
    }

    pub(super) fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(self.queue.as_ref().unwrap())
    }

    pub(super) fn sub(&self) -> Arc<dyn Subscription> {
        Arc::clone(self.sub.as_ref().unwrap())
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.world.clock.now_ms()
    }

    pub(super) fn append(&mut self, records: &[(&str, &str)]) -> Vec<RecordId> {
        let mut builder = BatchBuilder::default();
        for (key, value) in records {
            let key = (!key.is_empty()).then_some(key.as_bytes());
            builder.record_with(key, std::iter::empty::<(&str, &[u8])>(), value.as_bytes());
        }
        let queue = self.queue();
        self.world.wait(queue.append(builder.build().unwrap())).unwrap().ids
    }

    /// What can be leased now, in as many calls as it takes.
    pub(super) fn lease(&mut self) -> Vec<Lease> {
        let sub = self.sub();
        let request = LeaseRequest { records_max: 100, bytes_max: 1 << 20, visibility_ms: 5_000, wait_ms: 0 };
        let mut all = Vec::new();
        loop {
            let leases = self.world.wait(sub.lease(request)).unwrap();
            if leases.is_empty() {
                return all;
            }
            all.extend(leases);
        }
    }

    pub(super) fn attempt(&self, lease: &Lease, verdict: VerdictKind) -> Attempt {
        let (number, at_ms) = (lease.record.attempt, self.now_ms());
        Attempt { number, at_ms, verdict, code: "code".into(), message: String::new(), digest: None }
    }

    pub(super) fn settle(&mut self, lease: &Lease, settlement: Settlement) {
        let sub = self.sub();
        self.world.wait(sub.settle(vec![(lease.token, settlement)])).unwrap();
    }

    pub(super) fn done(&mut self, lease: &Lease) {
        let attempt = Some(self.attempt(lease, VerdictKind::Delivered));
        self.settle(lease, Settlement::Done { outcome: Done::Delivered, attempt });
    }

    pub(super) fn retry(&mut self, lease: &Lease, after_ms: u64) {
        let spent = Some(self.attempt(lease, VerdictKind::Retry));
        let due_ms = self.now_ms() + after_ms;
        self.settle(lease, Settlement::Later { due_ms, spent });
    }

    pub(super) fn dead(&mut self, lease: &Lease) {
        let attempt = self.attempt(lease, VerdictKind::Reject);
        self.settle(lease, Settlement::Dead { attempt, exhausted: None });
    }

    /// A round of housekeeping, and all that it wrote is durable.
    pub(super) fn keep(&mut self) {
        self.world.embedded().keep().unwrap();
        self.world.flush();
    }

    pub(super) fn state(&mut self, id: &RecordId) -> TargetState {
        let queue = self.queue();
        let found = self.world.wait(queue.find(id)).unwrap().unwrap();
        found.targets[&TargetName::new("a").unwrap()].clone()
    }

    pub(super) fn namespace(&self) -> Arc<Namespace> {
        self.world.embedded().namespaces().0.remove(0)
    }

    /// How many records of the target were moved and are open.
    pub(super) fn moved(&self) -> usize {
        self.namespace().view.lock().targets[0].moved.len()
    }

    pub(super) fn balanced(&mut self) {
        let stats = self.queue().stats();
        let target = &stats.targets[&TargetName::new("a").unwrap()];
        assert!(target.accounting.balances(), "{target:?}");
    }
}

pub(super) fn values(leases: &[Lease]) -> Vec<String> {
    leases.iter().map(|lease| String::from_utf8(lease.record.value.to_vec()).unwrap()).collect()
}

#[test]
fn a_long_retry_is_moved_keeps_all_that_it_has_and_pins_nothing() {
    let mut rig = Rig::new(1, false);
    let ids = rig.append(&[("", "1"), ("", "2")]);
    let leases = rig.lease();
    rig.retry(&leases[0], LONG_MS);
    rig.done(&leases[1]);
    let due_ms = rig.now_ms() + LONG_MS;
    rig.keep();
    {
        let namespace = rig.namespace();
        let view = namespace.view.lock();
        assert_eq!((view.targets[0].settled.floor(), view.targets[0].moved.get(&0)), (2, Some(&2)));
        assert!(view.targets[0].tried.is_empty(), "its attempts are in its frame");
        assert!(view.extents.find(0).is_none_or(|extent| extent.live == 0));
    }
    for crash in [false, true, true] {
        if crash {
            rig.crash();
        }
        let state = rig.state(&ids[0]);
        assert_eq!((state.state, state.due_ms, state.attempts.len()), (State::Retrying, Some(due_ms), 1));
        assert!(rig.lease().is_empty());
    }
    rig.world.advance(due_ms - rig.now_ms() - 1);
    assert!(rig.lease().is_empty(), "I20");
    rig.world.advance(1);
    let again = rig.lease();
    assert_eq!((values(&again), &again[0].record.id, again[0].record.attempt), (vec!["1".into()], &ids[0], 2));
    assert_eq!((again[0].record.sequence, again[0].spent), (leases[0].record.sequence, 1));
    rig.retry(&again[0], LONG_MS);
    rig.keep();
    rig.crash();
    let state = rig.state(&ids[0]);
    assert_eq!(state.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    rig.world.advance(LONG_MS);
    let last = rig.lease();
    assert_eq!((last[0].record.attempt, last[0].spent), (3, 2));
    rig.done(&last[0]);
    assert_eq!((rig.state(&ids[0]).state, rig.moved()), (State::Delivered, 0));
    rig.balanced();
}

#[test]
fn i09_a_record_that_waits_for_long_does_not_keep_its_segment() {
    let mut rig = Rig::new(2, false);
    rig.append(&[("", "stuck")]);
    let stuck = rig.lease();
    rig.retry(&stuck[0], 100 * LONG_MS);
    let first = rig.namespace().view.lock().extents.find(0).unwrap().place.segment;
    let value = "x".repeat(1_000);
    for round in 0..300 {
        rig.append(&[("", &value)]);
        rig.lease().iter().for_each(|lease| rig.done(lease));
        if round == 150 {
            rig.keep();
        }
    }
    for _ in 0..4 {
        rig.keep();
        rig.world.embedded().snapshot().unwrap();
    }
    let segments: Vec<u64> = rig.namespace().view.lock().extents.live_segments().collect();
    assert!(!segments.contains(&first), "{segments:?}");
    rig.crash();
    rig.world.advance(100 * LONG_MS);
    assert_eq!(values(&rig.lease()), ["stuck"]);
}

#[test]
fn a_fact_that_comes_while_the_move_is_on_its_way_is_about_the_moved_record() {
    for what in ["cancel", "deliver", "retry", "later", "dead"] {
        let mut rig = Rig::new(3, false);
        let ids = rig.append(&[("", "1"), ("", "2")]);
        let leases = rig.lease();
        rig.retry(&leases[0], 40_000);
        rig.world.flush();
        rig.world.embedded().keep().unwrap();
        let queue = rig.queue();
        if what == "cancel" {
            rig.world.wait(queue.cancel(&ids[0])).unwrap();
        } else {
            // The clock is set forward: it is due before the move is durable.
            rig.world.clock.advance(std::time::Duration::from_millis(40_000));
            let again = rig.lease();
            let again = again.iter().find(|lease| lease.record.id == ids[0]).unwrap().clone();
            assert_eq!(again.record.attempt, 2);
            match what {
                "deliver" => rig.done(&again),
                "retry" => rig.retry(&again, 20_000),
                "later" => {
                    let due_ms = rig.now_ms() + 20_000;
                    rig.settle(&again, Settlement::Later { due_ms, spent: None });
                }
                _ => rig.dead(&again),
            }
        }
        rig.world.flush();
        rig.crash();
        let (state, attempts) = match what {
            "cancel" => (State::Cancelled, 1),
            "deliver" => (State::Delivered, 2),
            "retry" => (State::Retrying, 2),
            "later" => (State::Retrying, 1),
            _ => (State::Dead, 2),
        };
        let found = rig.state(&ids[0]);
        assert_eq!((found.state, found.attempts.len()), (state, attempts), "{what}");
        rig.world.advance(20_000);
        let left = rig.lease();
        let again = left.iter().find(|lease| lease.record.id == ids[0]);
        let expected = match what {
            "retry" => Some(3),
            "later" => Some(2),
            _ => None,
        };
        assert_eq!(again.map(|lease| lease.record.attempt), expected, "{what}");
        left.iter().for_each(|lease| rig.done(lease));
        rig.balanced();
        assert_eq!(rig.queue().stats().backlog_records, 0, "{what}");
    }
}

#[test]
fn a_crash_at_any_point_of_a_move_leaves_each_record_once() {
    for cut in 0..24 {
        let mut rig = Rig::new(100 + cut, false);
        let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let records: Vec<(&str, &str)> = names.iter().map(|name| ("", name.as_str())).collect();
        rig.append(&records);
        let leases = rig.lease();
        leases.iter().for_each(|lease| rig.retry(lease, LONG_MS));
        rig.world.flush();
        rig.world.embedded().keep().unwrap();
        for _ in 0..cut / 8 {
            rig.world.advance(30);
        }
        rig.crash();
        if cut % 2 == 0 {
            rig.keep();
            rig.crash();
        }
        rig.world.advance(LONG_MS);
        let mut found = values(&rig.lease());
        found.sort_by_key(|value| value.parse::<u64>().unwrap());
        assert_eq!(found, names, "cut {cut}");
        rig.balanced();
    }
}

#[test]
fn cancel_and_reschedule_work_on_moved_records_before_and_after_a_restart() {
    for crash in [false, true] {
        let mut rig = Rig::new(4, false);
        let ids = rig.append(&[("", "1"), ("", "2"), ("", "3")]);
        let leases = rig.lease();
        leases.iter().for_each(|lease| rig.retry(lease, LONG_MS));
        rig.keep();
        assert_eq!(rig.moved(), 3);
        if crash {
            rig.crash();
        }
        let queue = rig.queue();
        let cancelled = rig.world.wait(queue.cancel(&ids[0])).unwrap();
        let state = &cancelled.targets[&TargetName::new("a").unwrap()];
        assert_eq!((state.state, state.attempts.len()), (State::Cancelled, 1));
        let (soon_ms, late_ms) = (rig.now_ms() + 100, rig.now_ms() + 2 * LONG_MS);
        rig.world.wait(queue.reschedule(&ids[1], soon_ms)).unwrap();
        rig.world.wait(queue.reschedule(&ids[2], late_ms)).unwrap();
        rig.keep();
        if crash {
            rig.crash();
        }
        rig.world.advance(200);
        let soon = rig.lease();
        assert_eq!((values(&soon), soon[0].record.attempt, soon[0].spent), (vec!["2".into()], 2, 1));
        rig.done(&soon[0]);
        let state = rig.state(&ids[2]);
        assert_eq!((state.state, state.due_ms, state.attempts.len()), (State::Scheduled, Some(late_ms), 1));
        rig.world.advance(LONG_MS);
        assert!(rig.lease().is_empty());
        rig.world.advance(LONG_MS);
        let late = rig.lease();
        assert_eq!((values(&late), late[0].record.attempt), (vec!["3".into()], 2));
        rig.done(&late[0]);
        assert_eq!((rig.queue().stats().backlog_records, rig.moved()), (0, 0));
        rig.balanced();
    }
}
