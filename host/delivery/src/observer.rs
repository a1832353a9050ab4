//! What a worker tells of its work: for metrics, the tap, automatic rollback, and what must be made durable.
//!
//! In: each batch after it was settled. Out: calls of `Observer`, which must not block.

use crate::status::PauseReason;
use std::time::Duration;
use walhost_core::attempt::Exhausted;
use walhost_core::{Digest, Error, NamespaceName, Record, TargetName, VerdictKind};

/// Hears of everything that a worker does. Called on the worker's tasks: it must not block, and it must not
/// call back into the worker.
pub trait Observer: Send + Sync + 'static {
    /// A batch was settled.
    fn batch(&self, report: &BatchReport<'_>);

    /// The target paused itself: to be made durable, so that it stays paused after a restart.
    fn paused(&self, namespace: &NamespaceName, target: &TargetName, reason: &PauseReason) {
        let _ = (namespace, target, reason);
    }

    /// The breaker opened (`open`: with the code of the failure that opened it) or closed (`None`).
    fn breaker(&self, namespace: &NamespaceName, target: &TargetName, open: Option<&str>) {
        let _ = (namespace, target, open);
    }

    /// The queue could not settle a batch (I16): its records are held, leased, and settling is tried again.
    fn settle_failed(&self, namespace: &NamespaceName, target: &TargetName, error: &Error) {
        let _ = (namespace, target, error);
    }
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn batch(&self, _report: &BatchReport<'_>) {}
}

/// One batch, from lease to settlement.
#[derive(Debug)]
pub struct BatchReport<'a> {
    /// Whose batch.
    pub namespace: &'a NamespaceName,
    /// To which target.
    pub target: &'a TargetName,
    /// Of the pipeline that it ran through.
    pub generation: u64,
    /// True for the single record that tries whether an open breaker may close.
    pub probe: bool,
    /// Time in transform and target, retries in halves included; settling is not.
    pub took: Duration,
    /// Calls of the transform or the sink that broke (trap, deadline, memory): the batch and its halves.
    pub faults: u32,
    /// Code of the last of these faults.
    pub fault_code: Option<&'a str>,
    /// Every record of the batch, in order.
    pub records: &'a [RecordReport<'a>],
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordReport<'a> {
    /// The original record; `record.attempt` is the attempt that ended.
    pub record: &'a Record,
    /// What was handed to the target in its place; empty when it did not come that far, and when it was
    /// left out by the transform. Unchanged records show themselves here.
    pub sent: &'a [Record],
    /// What was said of it; none when nobody was asked (left out, or the batch was given back).
    pub verdict: Option<VerdictKind>,
    /// Of the failure; empty when there was none.
    pub code: &'a str,
    /// For a person; empty when there was none.
    pub message: &'a str,
    /// The plugin that failed, else the transform's, else the sink's.
    pub digest: Option<Digest>,
    /// How its lease ended.
    pub ending: Ending,
    /// Delivered only: from the append (of a delayed record: from its due time) to now, in milliseconds.
    pub latency_ms: Option<u64>,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The destination confirmed it.
    Delivered,
    /// The transform left it out.
    Filtered,
    /// It waits for its own backoff; the attempt was spent.
    Retrying,
    /// It is held, and nothing was spent: the failure was the target's, or the breaker is open.
    Held,
    /// It is in the dead letters; none: it was rejected.
    Dead(Option<Exhausted>),
}
