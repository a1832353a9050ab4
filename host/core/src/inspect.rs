//! What a queue can answer about records at rest, each answer by capability.
//!
//! In: a record id, a filter, a cursor. Out: states, pages, dead letters; reading changes nothing.

use crate::attempt::{Attempt, Digest, Exhausted};
use crate::error::Result;
use crate::name::TargetName;
use crate::record::{Record, RecordId};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// Where a record stands for one target, as the queue sees it. That a ready record is `held` by a breaker
/// or a pause is known above the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its own time.
    Scheduled,
    /// Can be leased now.
    Ready,
    /// Leased.
    InFlight,
    /// Waits after a failure of its own.
    Retrying,
    /// Waits for an earlier record of its key.
    Held,
    /// Confirmed by the destination.
    Delivered,
    /// In the dead-letter queue.
    Dead,
    /// Left out by the transform.
    Filtered,
    /// Cancelled.
    Cancelled,
}

impl State {
    /// As JSON says it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
            State::Ready => "ready",
            State::InFlight => "in-flight",
            State::Retrying => "retrying",
            State::Held => "held",
            State::Delivered => "delivered",
            State::Dead => "dead",
            State::Filtered => "filtered",
            State::Cancelled => "cancelled",
        }
    }
}

/// One target's part of a record's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// Where it stands.
    pub state: State,
    /// What was tried, oldest first, bounded by `limits::ATTEMPTS_KEPT_MAX`.
    pub attempts: Vec<Attempt>,
    /// When it is handed out next, in milliseconds since the Unix epoch; none when it waits for no time.
    pub due_ms: Option<u64>,
}

/// Everything that a queue knows of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordState {
    /// The record's id.
    pub id: RecordId,
    /// Its key.
    pub key: Option<bytes::Bytes>,
    /// When it was appended, in milliseconds since the Unix epoch.
    pub appended_at_ms: u64,
    /// Per target that it was meant for.
    pub targets: BTreeMap<TargetName, TargetState>,
}

/// A record at rest, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Peeked {
    /// `partition:offset`.
    pub offset: String,
    /// The record; `attempt` is 0.
    pub record: Record,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end. Opaque.
    pub next: Option<String>,
}

/// Opaque id of one dead letter: one record may be dead for two targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeadLetterId(pub String);

/// A record given up on by one target, and what is known of the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its own.
    pub id: DeadLetterId,
    /// The original record's.
    pub record: RecordId,
    /// Who gave up.
    pub target: TargetName,
    /// Code and message of the last failure, digest of the plugin that ran, number of the last attempt.
    pub last: Attempt,
    /// Which budget was used up; none: rejected.
    pub exhausted: Option<Exhausted>,
    /// When the record was appended, in milliseconds since the Unix epoch.
    pub appended_at_ms: u64,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub dead_at_ms: u64,
}

/// A dead letter with its record and its whole history.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterDetail {
    /// What the list shows.
    pub letter: DeadLetter,
    /// The original record, not the transformed one.
    pub record: Record,
    /// All attempts that were kept.
    pub attempts: Vec<Attempt>,
}

/// Which dead letters are meant; every part that is given must match.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Of this target.
    pub target: Option<TargetName>,
    /// With this code.
    pub code: Option<String>,
    /// Given up at or after, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Given up before.
    pub until_ms: Option<u64>,
    /// Made by this plugin.
    pub digest: Option<Digest>,
    /// Just these.
    pub ids: Option<Vec<DeadLetterId>>,
}

impl DeadLetterFilter {
    /// True when every part that is given matches.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.target.as_ref().is_none_or(|target| *target == letter.target)
            && self.code.as_ref().is_none_or(|code| *code == letter.last.code)
            && self.since_ms.is_none_or(|since| letter.dead_at_ms >= since)
            && self.until_ms.is_none_or(|until| letter.dead_at_ms < until)
            && self.digest.is_none_or(|digest| letter.last.digest == Some(digest))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
    }
}

/// Dead letters that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeadLetterGroup {
    /// Of the last failure.
    pub code: String,
    /// Who gave up.
    pub target: TargetName,
    /// The plugin that ran.
    pub digest: Option<Digest>,
    /// How many.
    pub count: u64,
    /// The oldest one's time, in milliseconds since the Unix epoch.
    pub oldest_at_ms: u64,
    /// The newest one's time.
    pub newest_at_ms: u64,
}

/// Records at rest. A queue answers `Unsupported` to what its capability leaves out.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// What is known of a record; none: never heard of, or its history has ended.
    async fn find(&self, id: &RecordId) -> Result<Option<RecordState>>;

    /// Cancels a record for every target that has not settled it and has not leased it. Durable when it
    /// returns. Cancelling twice is fine. `NotFound`; `TooLate` when no target could be cancelled any more.
    async fn cancel(&self, id: &RecordId) -> Result<RecordState>;

    /// Gives a record another due time, for every target that has it waiting. Durable when it returns.
    /// `NotFound`, `TooLate`, `DelayTooLong`.
    async fn reschedule(&self, id: &RecordId, due_ms: u64) -> Result<RecordState>;

    /// Records from a place (`partition:offset`, or the oldest kept) on.
    async fn peek(&self, from: Option<&str>, limit: usize) -> Result<Page<Peeked>>;

    /// Dead letters, oldest first.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>>;

    /// Dead letters grouped by code, target and digest, the largest group first.
    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>>;

    /// One dead letter with its record and history.
    async fn dead_letter(&self, id: &DeadLetterId) -> Result<Option<DeadLetterDetail>>;

    /// Appends these dead letters again, each for its target: same id, the attempt number goes on, the
    /// budget starts anew. Durable when it returns. Idempotent per dead letter (I17): one that is gone is
    /// passed over. Answers how many were moved. A target that is no longer subscribed: `UnknownTarget`.
    async fn redrive(&self, ids: &[DeadLetterId]) -> Result<u64>;

    /// Removes these dead letters for good, durably. Answers how many there were.
    async fn purge(&self, ids: &[DeadLetterId]) -> Result<u64>;
}
