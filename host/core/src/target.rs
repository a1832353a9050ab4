//! The target port: records out to a destination, one verdict each.
//!
//! In: a batch of records. Out: verdicts in order, or the fault of the whole batch.

use crate::attempt::{Digest, Failure, Fault, VerdictKind};
use crate::error::Result as PortResult;
use crate::record::Record;
use async_trait::async_trait;
use std::time::Duration;

/// What a target says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has confirmed it, as the target's documentation says (I29).
    Delivered,
    /// Try this record again later; `failure.blame` says whether that spends an attempt.
    Retry {
        /// Why.
        failure: Failure,
        /// No sooner than this; none: the namespace's backoff.
        after: Option<Duration>,
    },
    /// The destination asks to slow down, or cannot be reached: nothing is sent to this target for that
    /// long, and no attempt is spent.
    Throttle {
        /// Why.
        failure: Failure,
        /// For how long; none: the namespace's backoff.
        after: Option<Duration>,
    },
    /// The destination is gone for good (410): the target is paused until it is resumed by hand, the
    /// record is held, no attempt is spent. Shown as verdict `retry`.
    Pause {
        /// Why.
        failure: Failure,
    },
    /// Never try again: it becomes a dead letter.
    Reject {
        /// Why.
        failure: Failure,
    },
}

impl Verdict {
    /// Without its reason.
    pub fn kind(&self) -> VerdictKind {
        match self {
            Verdict::Delivered => VerdictKind::Delivered,
            Verdict::Retry { .. } | Verdict::Pause { .. } => VerdictKind::Retry,
            Verdict::Throttle { .. } => VerdictKind::Throttle,
            Verdict::Reject { .. } => VerdictKind::Reject,
        }
    }

    /// Its reason; none when delivered.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Verdict::Delivered => None,
            Verdict::Retry { failure, .. }
            | Verdict::Throttle { failure, .. }
            | Verdict::Pause { failure }
            | Verdict::Reject { failure } => Some(failure),
        }
    }
}

/// A destination of one namespace. Concurrent calls are fine. A call that is dropped may or may not have
/// delivered: at-least-once covers it.
#[async_trait]
pub trait Target: Send + Sync {
    /// One verdict for each record, in order; the count is the implementation's promise. Time-outs are the
    /// target's own. `Err`: only from a plugin that broke.
    async fn deliver(&self, records: &[Record]) -> Result<Vec<Verdict>, Fault>;

    /// Asks the destination whether it would take records, without leaving any there. Answers one sentence
    /// for a person; the error names the server and the remedy.
    async fn check(&self) -> PortResult<String>;

    /// The plugin behind it, when there is one.
    fn digest(&self) -> Option<Digest> {
        None
    }
}
