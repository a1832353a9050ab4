//! The decision rules of one target, as its configuration sets them.
//!
//! In: checked numbers. Out: `Policy`, taken over by a running worker at its next decision.

use walhost_core::config::Rate;

/// How a target's records are taken, tried and held.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// When a failed record is tried again, and when it is given up.
    pub retry: RetryPolicy,
    /// When the target is left alone for a while.
    pub breaker: BreakerPolicy,
    /// How many records are handed to the target together.
    pub batch: BatchPolicy,
    /// Batches in flight at the target, at least 1. Default: 16.
    pub concurrency: usize,
    /// At most so many records a second, over all batches; none: as fast as it goes.
    pub rate: Option<Rate>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
            batch: BatchPolicy::default(),
            concurrency: 16,
            rate: None,
        }
    }
}

/// When a record whose failure may be its own is tried again, and when it is given up.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Wait after the first spent attempt. Default: 200 ms.
    pub initial_ms: u64,
    /// What each further wait is multiplied with. Default: 2.
    pub factor: f64,
    /// Longest wait. Default: 5 min.
    pub max_interval_ms: u64,
    /// How waits are spread. Default: full.
    pub jitter: Jitter,
    /// Attempts that may be spent; the last one of them makes the dead letter. 0: no bound. Default: 12.
    pub max_attempts: u32,
    /// Age at which a failure that spends an attempt makes a dead letter, counted from the first spent
    /// attempt; time held or delayed before it does not count. 0: no bound. Default: 3 d.
    pub max_age_ms: u64,
    /// What becomes of the later records of its key. Default: they flow.
    pub on_exhausted: OnExhausted,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            initial_ms: 200,
            factor: 2.0,
            max_interval_ms: 5 * 60 * 1_000,
            jitter: Jitter::Full,
            max_attempts: 12,
            max_age_ms: 3 * 24 * 60 * 60 * 1_000,
            on_exhausted: OnExhausted::DeadLetter,
        }
    }
}

/// How waits are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Jitter {
    /// Anywhere between nothing and the whole wait.
    #[default]
    Full,
    /// The whole wait.
    None,
}

/// What becomes of the later records of a key, in an ordered namespace, when one of it is given up (I19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// They flow on.
    #[default]
    DeadLetter,
    /// They follow into the dead letters, in order, until the key has no dead letter left.
    Park,
}

/// When a target is left alone, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row without a delivery. 0: never. Default: 5.
    pub failures: u32,
    /// Different records in a row rejected with one code. 0: never. Default: 100.
    pub rejects: u32,
    /// How long it stays open before the first probe; doubled after every probe that fails. Default: 5 s.
    pub open_ms: u64,
    /// Longest time between two probes. Default: 1 min.
    pub max_open_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        BreakerPolicy { failures: 5, rejects: 100, open_ms: 5_000, max_open_ms: 60_000 }
    }
}

/// How many records are handed to the target together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// At most so many records, at least 1. Default: 128.
    pub records: usize,
    /// At most so many bytes of keys, headers and values; one record always goes. Default: 1 MiB.
    pub bytes: usize,
    /// How long a batch that is not full waits for more. Default: 0.
    pub linger_ms: u64,
}

impl Default for BatchPolicy {
    fn default() -> Self {
        BatchPolicy { records: 128, bytes: 1024 * 1024, linger_ms: 0 }
    }
}
