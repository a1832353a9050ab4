//! What is known of a target at this moment, for the admin API, metrics and the `why` of a record.
//!
//! In: a worker's state. Out: `TargetStatus`. Times are milliseconds since the Unix epoch.

use walhost_core::Failure;

/// A target's state of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// The one word for it, with what belongs to it.
    pub state: TargetState,
    /// The breaker beneath, also while paused.
    pub breaker: BreakerStatus,
    /// The newest failure of any record.
    pub last_error: Option<LastError>,
    /// The newest delivery.
    pub last_delivered_at_ms: Option<u64>,
    /// Batches at the target.
    pub in_flight: usize,
    /// Records in those batches.
    pub in_flight_records: usize,
    /// Of those: records that may be why the host had stopped uncleanly. They go one by one (I15).
    pub suspects: usize,
    /// Batches that may be in flight at once.
    pub concurrency: usize,
    /// Of the pipeline that the next batch will run through.
    pub generation: u64,
    /// Set while the queue refuses to settle: the records of those batches are held (I16).
    pub alarm: Option<SettleAlarm>,
    /// The rate limit is what the next batch waits for.
    pub rate_limited: bool,
}

/// What a target is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It takes records.
    Active,
    /// Its slot has no plugin: records are held.
    Idle,
    /// Records are held until somebody resumes it.
    Paused {
        /// Who paused it.
        reason: PauseReason,
    },
    /// The breaker is open: records are held until a probe is delivered.
    Open {
        /// When the next probe goes.
        until_ms: u64,
        /// Of the failure that opened it.
        code: String,
    },
    /// The breaker is open and a probe is at the target.
    Probing,
    /// The destination asked to slow down.
    Throttled {
        /// Nothing is sent before.
        until_ms: u64,
    },
    /// The worker has ended.
    Stopped,
}

impl TargetState {
    /// As JSON and metrics say it.
    pub fn as_str(&self) -> &'static str {
        match self {
            TargetState::Active => "active",
            TargetState::Idle => "idle",
            TargetState::Paused { .. } => "paused",
            TargetState::Open { .. } => "open",
            TargetState::Probing => "probing",
            TargetState::Throttled { .. } => "throttled",
            TargetState::Stopped => "stopped",
        }
    }

    /// All the words, for a metric with one series a state.
    pub const ALL: [&'static str; 7] = ["active", "idle", "paused", "open", "probing", "throttled", "stopped"];
}

/// Who paused a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// A person, or the configuration.
    Operator,
    /// The destination said that it is gone for good (410).
    Gone(Failure),
}

/// The breaker's own facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerStatus {
    /// Where it stands.
    pub state: BreakerState,
    /// Failures in a row without a delivery.
    pub failures: u32,
    /// Different records in a row rejected with one code.
    pub rejects: u32,
    /// Of the failure that opened it; none when closed.
    pub code: Option<String>,
    /// When it opened; none when closed.
    pub opened_at_ms: Option<u64>,
    /// When the next probe goes; none when closed.
    pub next_probe_at_ms: Option<u64>,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Records flow.
    Closed,
    /// Records are held.
    Open,
    /// Records are held, one of them is at the target.
    Probing,
}

impl BreakerState {
    /// As JSON says it.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::Probing => "probing",
        }
    }
}

/// A failure and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// What was said.
    pub failure: Failure,
    /// When.
    pub at_ms: u64,
}

/// The queue refuses to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleAlarm {
    /// Since when.
    pub since_ms: u64,
    /// What the queue said last.
    pub error: String,
    /// Batches that wait for it.
    pub batches: usize,
}
