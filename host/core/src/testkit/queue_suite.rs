//! One behaviour suite for every queue: each guarantee in the doc comments of `Queue`, `Subscription` and
//! `Inspect`, a test with a sentence for its name, selected by what the queue says it can do.
//!
//! In: a `Harness`. Out: a panic that names each sentence that does not hold.

use crate::attempt::{Attempt, Exhausted, VerdictKind};
use crate::batch::{BatchBuilder, RecordBatch};
use crate::error::{Kind, Result};
use crate::inspect::{DeadLetter, DeadLetterFilter, State, TargetState};
use crate::name::TargetName;
use crate::queue::{
    Accounting, Capability, Done, From, Lease, LeaseRequest, Queue, QueuePolicy, Settlement, Subscription,
};
use crate::record::RecordId;
use crate::testkit::drive;
use std::future::Future;
use std::sync::Arc;

mod append;
mod lease;
mod settle;
mod order;
mod inspect;
mod letters;
mod reopen;
mod suspects;

/// What the suite needs of an implementation. Everything is called from one thread; futures are polled by
/// the suite itself, with a `step` between two polls.
pub trait Harness {
    /// A new, empty queue of a namespace of its own.
    fn open(&self, policy: &QueuePolicy) -> Arc<dyn Queue>;

    /// The simulated time of day, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Lets so much simulated time pass, and does the background work that falls due.
    fn advance(&self, ms: u64);

    /// Does some background work (a commit, a task), or lets it be done. Time stands still.
    fn step(&self);

    /// Opens a queue again that was closed (`crashed`: that was not, as after kill -9). None where the
    /// queue is not durable or the harness cannot.
    fn reopen(&self, queue: Arc<dyn Queue>, crashed: bool) -> Option<Arc<dyn Queue>> {
        let _ = (queue, crashed);
        None
    }
}

/// One sentence and how to find out.
pub struct Test {
    /// The sentence.
    pub name: &'static str,
    needs: fn(&Capability) -> bool,
    run: fn(&dyn Harness),
}

/// Runs what the queue's capability selects, each test on a queue of its own.
pub fn run(harness: &dyn Harness) {
    let capability = harness.open(&policy()).capability().clone();
    let selected = tests().into_iter().filter(|test| (test.needs)(&capability));
    drive::run_all(
        &format!("queue_suite on {}", capability.kind),
        selected.map(|test| (test.name, Box::new(move || (test.run)(harness)) as Box<dyn FnOnce()>)),
    );
}

/// Every sentence there is.
pub fn tests() -> Vec<Test> {
    let reopened = [reopen::TESTS, suspects::TESTS];
    [append::TESTS, lease::TESTS, settle::TESTS, order::TESTS, inspect::TESTS, letters::TESTS]
        .into_iter()
        .chain(reopened)
        .flatten()
        .map(|test| Test { ..*test })
        .collect()
}

/// `sentences! { needs => name, … }`: a list of tests whose names are the functions'.
macro_rules! sentences {
    ($($needs:expr => $name:ident),* $(,)?) => {
        pub(super) const TESTS: &[super::Test] = &[$(super::Test { name: stringify!($name), needs: $needs, run: $name }),*];
    };
}
use sentences;

fn always(_: &Capability) -> bool {
    true
}
fn ordered(capability: &Capability) -> bool {
    capability.ordered
}
fn find(capability: &Capability) -> bool {
    capability.find
}

/// What the tests ask of a queue, unless they say otherwise.
pub fn policy() -> QueuePolicy {
    QueuePolicy {
        ordered: false,
        durability: None,
        backlog_bytes_max: 64 * 1024 * 1024,
        idempotency_window_ms: 60_000,
        idempotency_keys_max: 1_000,
        history_ms: 600_000,
        dlq_retention_ms: 3_600_000,
    }
}

const VISIBILITY_MS: u64 = 30_000;

/// A queue with its harness, and short words for what tests do.
struct Rig<'a> {
    harness: &'a dyn Harness,
    queue: Arc<dyn Queue>,
}

fn target(name: &str) -> TargetName {
    TargetName::new(name).expect("tests use good names")
}

/// A batch of values, with keys where they are given.
fn batch(records: &[(&str, &str)]) -> RecordBatch {
    let mut builder = BatchBuilder::default();
    for (key, value) in records {
        let key = (!key.is_empty()).then_some(key.as_bytes());
        builder.record_with(key, [("content-type", b"text/plain".as_slice())], value.as_bytes());
    }
    builder.build().expect("tests append something")
}

impl<'a> Rig<'a> {
    fn new(harness: &'a dyn Harness) -> Rig<'a> {
        Rig::with(harness, &policy())
    }

    fn with(harness: &'a dyn Harness, policy: &QueuePolicy) -> Rig<'a> {
        Rig { harness, queue: harness.open(policy) }
    }

    fn ordered(harness: &'a dyn Harness) -> Rig<'a> {
        Rig::with(harness, &QueuePolicy { ordered: true, ..policy() })
    }

    #[track_caller]
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        drive::drive(future, || self.harness.step())
    }

    #[track_caller]
    fn get<T>(&self, future: impl Future<Output = Result<T>>) -> T {
        self.wait(future).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn refused<T>(&self, kind: Kind, future: impl Future<Output = Result<T>>) {
        match self.wait(future) {
            Ok(_) => panic!("{kind:?} was to refuse this"),
            Err(error) => assert_eq!(error.kind(), kind, "{error}"),
        }
    }

    #[track_caller]
    fn sub(&self, name: &str) -> Arc<dyn Subscription> {
        self.get(self.queue.subscribe(&target(name), From::Latest))
    }

    #[track_caller]
    fn append(&self, records: &[(&str, &str)]) -> Vec<RecordId> {
        self.get(self.queue.append(batch(records))).ids
    }

    #[track_caller]
    fn append_due(&self, value: &str, due_ms: u64) -> RecordId {
        let mut batch = batch(&[("", value)]);
        batch.due_ms = Some(due_ms);
        self.get(self.queue.append(batch)).ids.remove(0)
    }

    /// What can be leased now.
    #[track_caller]
    fn lease(&self, sub: &Arc<dyn Subscription>, records_max: usize) -> Vec<Lease> {
        let request = LeaseRequest { records_max, bytes_max: usize::MAX, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
        self.get(sub.lease(request))
    }

    /// Exactly so many, in as many calls as it takes.
    #[track_caller]
    fn take(&self, sub: &Arc<dyn Subscription>, count: usize) -> Vec<Lease> {
        let mut leases = Vec::new();
        for _ in 0..200 {
            if leases.len() == count {
                break;
            }
            leases.extend(self.lease(sub, count - leases.len()));
            self.harness.step();
        }
        assert_eq!(leases.len(), count, "so many records were ready");
        leases
    }

    #[track_caller]
    fn take_one(&self, sub: &Arc<dyn Subscription>) -> Lease {
        self.take(sub, 1).remove(0)
    }

    /// Nothing can be leased now.
    #[track_caller]
    fn none(&self, sub: &Arc<dyn Subscription>) {
        for _ in 0..5 {
            self.harness.step();
        }
        let leases = self.lease(sub, 10);
        assert!(leases.is_empty(), "handed out {:?}", leases.iter().map(|l| &l.record.value).collect::<Vec<_>>());
    }

    fn attempt(&self, lease: &Lease, verdict: VerdictKind, code: &str) -> Attempt {
        let message = if code.is_empty() { String::new() } else { format!("because of {code}") };
        let number = lease.record.attempt;
        Attempt { number, at_ms: self.harness.now_ms(), verdict, code: code.to_owned(), message, digest: None }
    }

    #[track_caller]
    fn settle(&self, sub: &Arc<dyn Subscription>, lease: &Lease, settlement: Settlement) {
        self.get(sub.settle(vec![(lease.token, settlement)]));
    }

    #[track_caller]
    fn done(&self, sub: &Arc<dyn Subscription>, lease: &Lease) {
        let attempt = Some(self.attempt(lease, VerdictKind::Delivered, ""));
        self.settle(sub, lease, Settlement::Done { outcome: Done::Delivered, attempt });
    }

    /// Later, with the attempt spent.
    #[track_caller]
    fn retry(&self, sub: &Arc<dyn Subscription>, lease: &Lease, after_ms: u64) {
        let spent = Some(self.attempt(lease, VerdictKind::Retry, "http-500"));
        self.settle(sub, lease, Settlement::Later { due_ms: self.harness.now_ms() + after_ms, spent });
    }

    /// Later, with nothing spent.
    #[track_caller]
    fn hold(&self, sub: &Arc<dyn Subscription>, lease: &Lease, after_ms: u64) {
        self.settle(sub, lease, Settlement::Later { due_ms: self.harness.now_ms() + after_ms, spent: None });
    }

    #[track_caller]
    fn dead(&self, sub: &Arc<dyn Subscription>, lease: &Lease, code: &str, exhausted: Option<Exhausted>) {
        let attempt = self.attempt(lease, VerdictKind::Reject, code);
        self.settle(sub, lease, Settlement::Dead { attempt, exhausted });
    }

    #[track_caller]
    fn letters(&self) -> Vec<DeadLetter> {
        let page = self.get(self.queue.dead_letters(&DeadLetterFilter::default(), None, 100));
        assert!(page.next.is_none(), "tests make few dead letters");
        page.items
    }

    /// What `find` says of one target.
    #[track_caller]
    fn state(&self, id: &RecordId, name: &str) -> TargetState {
        let state = self.get(self.queue.find(id)).expect("the record is known");
        state.targets.get(&target(name)).expect("the target is the record's").clone()
    }

    #[track_caller]
    fn is(&self, id: &RecordId, name: &str, state: State) {
        assert_eq!(self.state(id, name).state, state);
    }

    #[track_caller]
    fn accounting(&self, name: &str) -> Accounting {
        let accounting = self.queue.stats().targets.get(&target(name)).expect("subscribed").accounting;
        assert!(accounting.balances(), "I12: {accounting:?}");
        accounting
    }
}

fn values(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| std::str::from_utf8(&lease.record.value).expect("tests append text")).collect()
}
