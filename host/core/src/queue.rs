//! The queue port: where a record is durable, and where each target's progress is kept.
//!
//! In: `RecordBatch` from a producer, `Settlement`s from delivery. Out: `Appended` (the receipt), `Lease`s.

use crate::attempt::{Attempt, Exhausted};
use crate::batch::RecordBatch;
use crate::error::Result;
use crate::inspect::Inspect;
use crate::name::{NamespaceName, TargetName};
use crate::record::{Record, RecordId};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a queue can do. Suites, config checks and admin answers read it; nobody downcasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// As the config calls it: `embedded`, `kafka`, `sqs`.
    pub kind: &'static str,
    /// The level that a receipt names (I2).
    pub durability: &'static str,
    /// What was appended survives a crash of the host.
    pub durable: bool,
    /// Records of one key are handed out in order (I19).
    pub ordered: bool,
    /// An append is all or nothing.
    pub batch_atomic: bool,
    /// Attempts and due times survive a crash.
    pub attempts_durable: bool,
    /// The counters of I12 survive a crash.
    pub accounting_durable: bool,
    /// Exact, within the window, across a crash.
    pub idempotency: bool,
    /// A record can be found by its id.
    pub find: bool,
    /// A record can be cancelled and rescheduled.
    pub cancel: bool,
    /// Records at rest can be read without changing anything.
    pub peek: bool,
    /// After an unclean stop, what may have been in flight is handed out one by one, and counted (I15).
    pub suspects: bool,
    /// Longest delay in milliseconds; `None`: any.
    pub delay_ms_max: Option<u64>,
    /// Largest record in bytes.
    pub record_bytes_max: u64,
    /// Largest batch in bytes.
    pub batch_bytes_max: u64,
}

/// What a namespace asks of its queue. It may change while the queue is open ([`Queue::configure`]).
#[derive(Clone, Debug, PartialEq)]
pub struct QueuePolicy {
    /// Records of one key are handed out in order.
    pub ordered: bool,
    /// `Some("os")` and the like: a weaker level than the queue's default, opted into (I2).
    pub durability: Option<String>,
    /// Bytes that the namespace may have on the queue before an append is refused with `QuotaExceeded`.
    pub backlog_bytes_max: u64,
    /// How long an idempotency key is remembered.
    pub idempotency_window_ms: u64,
    /// How many idempotency keys are remembered; beyond, a keyed append gets `QuotaExceeded`.
    pub idempotency_keys_max: u64,
    /// How long the state of a finished record can be asked for.
    pub history_ms: u64,
    /// How long a dead letter is kept.
    pub dlq_retention_ms: u64,
}

/// How durable an append is to be, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The ids, in order. On a deduplicated append those of the first one.
    pub ids: Vec<RecordId>,
    /// The first record's place, `partition:offset`.
    pub first: String,
    /// The last record's place.
    pub last: String,
    /// The level reached (I2).
    pub durability: &'static str,
    /// True when the idempotency key was known and nothing was appended.
    pub deduplicated: bool,
}

/// Where a new target begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum From {
    /// With what is appended from now on.
    #[default]
    Latest,
    /// With what the queue still has.
    Earliest,
}

/// The queue of one namespace.
///
/// # Guarantees
/// - When `append` returns `Ok`, every record of the batch survives a crash, at the level that the answer
///   names; where `batch_atomic`, all of them or none are there.
/// - Every target that was subscribed when a record was appended gets it, at least once, until it is
///   settled `Done` or `Dead`, or cancelled.
/// - An error of kind `OutcomeUnknown` says that the batch may be there: a producer that tries again
///   without an idempotency key may duplicate it.
/// - A dropped future changes nothing about what was begun.
#[async_trait]
pub trait Queue: Inspect {
    /// What it can do; constant while it is open.
    fn capability(&self) -> &Capability;

    /// Appends a batch. Errors: `QuotaExceeded`, `Overloaded`, `DiskFull`, `Unavailable`,
    /// `OutcomeUnknown`, `IdempotencyMismatch`, `IdempotencyInFlight`, `UnknownTarget`, `Closed`.
    async fn append(&self, batch: RecordBatch) -> Result<Appended>;

    /// The subscription of a target, made durably when there is none. Asking twice gives the same one.
    async fn subscribe(&self, target: &TargetName, from: From) -> Result<Arc<dyn Subscription>>;

    /// Ends a target's subscription: what is pending is cancelled, durably. Answers how many that were.
    async fn unsubscribe(&self, target: &TargetName) -> Result<u64>;

    /// Takes a changed policy; what cannot be kept is refused and the old one stays.
    fn configure(&self, policy: &QueuePolicy) -> Result<()>;

    /// Counters of now; cheap.
    fn stats(&self) -> QueueStats;

    /// Hands out no more leases, makes progress durable, and lets go. Idempotent.
    async fn close(&self) -> Result<()>;
}

/// Opaque sole right to one record, until it is settled or its visibility ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseToken(pub u64);

/// What a worker asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// At most so many records, at least 1.
    pub records_max: usize,
    /// At most so many bytes; one record is always handed out.
    pub bytes_max: usize,
    /// For how long the right lasts, in milliseconds, unless extended.
    pub visibility_ms: u64,
    /// How long to wait for the first record, in milliseconds.
    pub wait_ms: u64,
}

/// A record handed out to one worker of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Names this lease in `extend` and `settle`.
    pub token: LeaseToken,
    /// The original record; `record.attempt` is the number of the attempt that now begins.
    pub record: Record,
    /// Attempts spent of the present budget (a redrive begins a new one).
    pub spent: u32,
    /// When the first attempt of the present budget was spent.
    pub first_spent_at_ms: Option<u64>,
    /// The host stopped uncleanly, and this record may be why (I15): it is handed out alone, and its attempt
    /// begins with [`Subscription::start`].
    pub suspect: bool,
    /// Unclean stops of the host while an attempt of it was on its way that had begun with `start`.
    pub crashes: u32,
}

/// How a delivered, filtered or cancelled record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// The destination confirmed it.
    Delivered,
    /// The transform left it out.
    Filtered,
    /// Somebody cancelled it.
    Cancelled,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Terminal.
    Done {
        /// How.
        outcome: Done,
        /// The attempt that ended it; none for a cancel.
        attempt: Option<Attempt>,
    },
    /// Hand it out again, not before it is due.
    Later {
        /// In milliseconds since the Unix epoch.
        due_ms: u64,
        /// The attempt that was spent, kept durably; none: it was not the record's failure, and the next
        /// lease has the same attempt number.
        spent: Option<Attempt>,
    },
    /// Terminal, until somebody redrives it: the original record goes into the namespace's dead letters,
    /// durably, before the progress moves (I16).
    Dead {
        /// The last attempt.
        attempt: Attempt,
        /// Which budget was used up; none: it was rejected.
        exhausted: Option<Exhausted>,
    },
}

/// One target's progress in one namespace's queue.
///
/// # Guarantees
/// - A record is leased to one worker at a time, until it is settled or its visibility ends; then it is
///   handed out again with the same attempt number.
/// - `settle` on a lease that has ended, or twice, changes nothing and is no error.
/// - When `settle` returns, flow control is released; `Done` and `Later` may be lost by a crash within
///   the next 50 ms (the record is then handed out again), `Dead` is durable when it returns.
/// - A record that is `Later` is not handed out before it is due.
/// - After an unclean stop of the host the first records that are due, as many as may have been in flight, are
///   suspects: each is leased alone, and nothing else of the target until it is settled. So is, at any time,
///   a record with a start that was counted. Its settlement is durable when `settle` returns.
#[async_trait]
pub trait Subscription: Send + Sync {
    /// Waits for the first record for at most `wait_ms`, then answers with what is ready (possibly
    /// nothing). Errors: `Closed`, `Unavailable`.
    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>>;

    /// Begins the visibility anew, from now. Leases that have ended are passed over.
    fn extend(&self, tokens: &[LeaseToken], visibility_ms: u64);

    /// Ends leases. `Unavailable`: nothing of the call was settled (a dead letter could not be written:
    /// the record is held, not lost); the leases stay.
    async fn settle(&self, settlements: Vec<(LeaseToken, Settlement)>) -> Result<()>;

    /// Whether from now on a record of an ordered namespace that is given up parks its key (I19): later
    /// records of the key then follow into the dead letters, in order, with the code `key-parked`, until the
    /// key has no dead letter left. Said before the first lease and at every change of the policy. A queue
    /// that hands out no order has no keys to park.
    fn park(&self, on: bool) {
        let _ = on;
    }

    /// How many records of this target are in flight at once, at most: so many of those that are due are
    /// suspects after an unclean stop (I15). Said before the first lease and at every change of the policy; a
    /// worker that never says it is handed out no suspects.
    fn in_flight_max(&self, records: usize) {
        let _ = records;
    }

    /// Makes durable that the attempt of a suspect begins; to be awaited before it runs. A start without an
    /// end (its settlement) is counted at the next unclean stop, and only then. Of the records that were
    /// counted before, one at a time is on its way in the whole host: it waits until the others have ended.
    /// For a lease that is no suspect's nothing happens. `NotFound`: the lease has ended. `Unavailable`: it
    /// cannot be written, and the record must not run.
    async fn start(&self, token: LeaseToken) -> Result<()> {
        let _ = token;
        Ok(())
    }
}

/// Counters of one target, from durable state (I12):
/// `accepted = delivered + dead + pending + filtered + purged + expired + cancelled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Accounting {
    /// What was meant for this target.
    pub accepted: u64,
    /// Confirmed by the destination.
    pub delivered: u64,
    /// In the dead-letter queue now.
    pub dead: u64,
    /// Not settled: ready, in flight, waiting or scheduled.
    pub pending: u64,
    /// Left out by the transform.
    pub filtered: u64,
    /// Purged from the dead-letter queue by an operator.
    pub purged: u64,
    /// Gone from the dead-letter queue by its retention.
    pub expired: u64,
    /// Cancelled by a producer, or by the end of the subscription.
    pub cancelled: u64,
}

impl Accounting {
    /// I12.
    pub fn balances(&self) -> bool {
        self.accepted
            == self.delivered + self.dead + self.pending + self.filtered + self.purged + self.expired + self.cancelled
    }
}

/// One target's numbers of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TargetStats {
    /// I12.
    pub accounting: Accounting,
    /// Of the pending: can be leased now.
    pub ready: u64,
    /// Of the pending: leased.
    pub in_flight: u64,
    /// Of the pending: wait after a failure.
    pub retrying: u64,
    /// Of the pending: wait for their own time.
    pub scheduled: u64,
    /// When the oldest record that could be leased now became due, in milliseconds since the Unix epoch.
    pub oldest_due_at_ms: Option<u64>,
}

/// One queue's numbers of now.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Bytes that count against the backlog limit.
    pub backlog_bytes: u64,
    /// Records appended and not settled by every target.
    pub backlog_records: u64,
    /// Per target, also those that are no longer configured.
    pub targets: BTreeMap<TargetName, TargetStats>,
}

/// The namespace as its queue is opened for it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueContext {
    /// Whose queue it is.
    pub namespace: NamespaceName,
    /// What is asked of it.
    pub policy: QueuePolicy,
}

impl LeaseRequest {
    /// The wait as a duration.
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }
}
