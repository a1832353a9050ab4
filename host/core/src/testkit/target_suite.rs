//! One behaviour suite for every target, custom sinks included.
//!
//! In: a `Harness` that can bring the destination into each mood. Out: a panic that names each sentence that
//! does not hold. Runs on the runtime of the caller: destinations are real servers on loopback.

use crate::attempt::{Blame, VerdictKind};
use crate::batch::BatchBuilder;
use crate::limits;
use crate::record::{Record, RecordId};
use crate::target::{Target, Verdict};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How a destination behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mood {
    /// Confirms everything.
    Takes,
    /// Nobody listens: connections are refused.
    Refuses,
    /// Takes connections and never answers.
    Hangs,
    /// Rejects every record for good.
    Rejects,
    /// Answers that it is overloaded or unavailable.
    Busy,
    /// Closes the connection after it has read the request.
    Tears,
}

/// What the suite needs of an implementation.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The target, with time-outs of at most a second, in front of a destination in this mood; none: this
    /// kind of destination knows no such mood.
    async fn target(&self, mood: Mood) -> Option<Arc<dyn Target>>;

    /// The values that the destination keeps now, of all targets that this harness has made. The order is
    /// that of arrival where the destination knows one.
    async fn kept(&self) -> Vec<Vec<u8>>;

    /// A record that the target takes, with a value that no other number has.
    fn record(&self, number: usize) -> Record {
        plain(number)
    }
}

/// A record with a key, a header and a JSON object for its value.
pub fn plain(number: usize) -> Record {
    let mut builder = BatchBuilder::default();
    let (key, value) = (format!("k{number}"), format!("{{\"id\":{number},\"title\":\"t{number}\"}}"));
    builder.record_with(Some(key.as_bytes()), [("content-type", b"application/json".as_slice())], value.as_bytes());
    let (key, headers, value) = builder.build().expect("one record").parts(0);
    Record {
        id: RecordId::new(&format!("suite-{number}")),
        sequence: 1_700_000_000_000_000 + number as u64,
        appended_at_ms: 1_700_000_000_000,
        attempt: 1,
        key: Some(key),
        headers,
        value,
    }
}

/// Runs every sentence; each one names itself when it does not hold.
pub async fn run(harness: &dyn Harness) {
    what_is_delivered_is_kept_by_the_destination(harness).await;
    there_is_one_verdict_for_each_record_in_order(harness).await;
    concurrent_calls_are_fine(harness).await;
    checking_leaves_nothing_behind_and_says_a_sentence(harness).await;
    a_dead_destination_is_the_targets_failure(harness).await;
    a_destination_that_hangs_ends_in_a_verdict_that_is_not_delivered(harness).await;
    a_busy_destination_is_the_targets_failure_and_rejects_nothing(harness).await;
    a_torn_connection_is_tried_again_and_may_be_the_records(harness).await;
    a_rejecting_destination_rejects_and_keeps_nothing(harness).await;
}

fn records(harness: &dyn Harness, numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers.map(|number| harness.record(number)).collect()
}

async fn deliver(target: &Arc<dyn Target>, records: &[Record], sentence: &str) -> Vec<Verdict> {
    let verdicts = target.deliver(records).await.unwrap_or_else(|fault| panic!("{sentence}: {fault:?}"));
    assert_eq!(verdicts.len(), records.len(), "{sentence}: one verdict for each record");
    for failure in verdicts.iter().filter_map(Verdict::failure) {
        assert!(!failure.code.is_empty() && failure.code.len() <= limits::CODE_BYTES_MAX, "{sentence}: {failure:?}");
        let kebab = failure.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(kebab, "{sentence}: codes are kebab-case: {failure:?}");
        assert!(failure.message.len() <= limits::MESSAGE_BYTES_MAX, "{sentence}: {failure:?}");
        assert!(!failure.message.chars().any(char::is_control), "{sentence}: I44: {failure:?}");
    }
    verdicts
}

fn all_delivered(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|verdict| *verdict == Verdict::Delivered)
}

async fn what_is_delivered_is_kept_by_the_destination(harness: &dyn Harness) {
    let sentence = "what is delivered is kept by the destination";
    let target = harness.target(Mood::Takes).await.expect("every destination can take records");
    let records = records(harness, 0..5);
    assert!(all_delivered(&deliver(&target, &records, sentence).await), "{sentence}");
    let kept: BTreeSet<_> = harness.kept().await.into_iter().collect();
    assert!(records.iter().all(|record| kept.contains(&record.value[..])), "{sentence}");
}

async fn there_is_one_verdict_for_each_record_in_order(harness: &dyn Harness) {
    let sentence = "there is one verdict for each record, in order";
    let target = harness.target(Mood::Takes).await.expect("every destination can take records");
    for count in [1, 2, 64] {
        let records = records(harness, 100..100 + count);
        assert!(all_delivered(&deliver(&target, &records, sentence).await), "{sentence}");
    }
}

async fn concurrent_calls_are_fine(harness: &dyn Harness) {
    let sentence = "concurrent calls are fine";
    let target = harness.target(Mood::Takes).await.expect("every destination can take records");
    let calls: Vec<_> = (0..8)
        .map(|call| {
            let (target, records) = (target.clone(), records(harness, 200 + call * 10..205 + call * 10));
            crate::exec::task(async move { target.deliver(&records).await })
        })
        .collect();
    for call in calls {
        let verdicts = call.await.expect("it does not panic").unwrap_or_else(|fault| panic!("{sentence}: {fault:?}"));
        assert!(verdicts.len() == 5 && all_delivered(&verdicts), "{sentence}: {verdicts:?}");
    }
}

async fn checking_leaves_nothing_behind_and_says_a_sentence(harness: &dyn Harness) {
    let sentence = "checking leaves nothing behind and says a sentence";
    let target = harness.target(Mood::Takes).await.expect("every destination can take records");
    let before = harness.kept().await.len();
    let said = target.check().await.unwrap_or_else(|error| panic!("{sentence}: {error}"));
    assert!(!said.is_empty() && !said.chars().any(char::is_control), "{sentence}: {said:?}");
    assert_eq!(harness.kept().await.len(), before, "{sentence}");
    if let Some(dead) = harness.target(Mood::Refuses).await {
        let error = dead.check().await.expect_err("nobody is there");
        assert!(!error.detail().is_empty(), "{sentence}");
    }
}

async fn a_dead_destination_is_the_targets_failure(harness: &dyn Harness) {
    let sentence = "a dead destination is the target's failure";
    let Some(target) = harness.target(Mood::Refuses).await else { return };
    for verdict in deliver(&target, &records(harness, 300..303), sentence).await {
        let blame = verdict.failure().map(|failure| failure.blame);
        assert_eq!(blame, Some(Blame::Target), "{sentence}: {verdict:?}");
        assert!(matches!(verdict.kind(), VerdictKind::Retry | VerdictKind::Throttle), "{sentence}: {verdict:?}");
    }
}

async fn a_destination_that_hangs_ends_in_a_verdict_that_is_not_delivered(harness: &dyn Harness) {
    let sentence = "a destination that hangs ends in a verdict that is not delivered";
    let Some(target) = harness.target(Mood::Hangs).await else { return };
    for verdict in deliver(&target, &records(harness, 400..402), sentence).await {
        assert_eq!(verdict.kind(), VerdictKind::Retry, "{sentence}: {verdict:?}");
    }
}

async fn a_busy_destination_is_the_targets_failure_and_rejects_nothing(harness: &dyn Harness) {
    let sentence = "a busy destination is the target's failure and rejects nothing";
    let Some(target) = harness.target(Mood::Busy).await else { return };
    for verdict in deliver(&target, &records(harness, 500..503), sentence).await {
        assert_eq!(verdict.failure().map(|failure| failure.blame), Some(Blame::Target), "{sentence}: {verdict:?}");
        assert_ne!(verdict.kind(), VerdictKind::Reject, "{sentence}: {verdict:?}");
    }
}

async fn a_torn_connection_is_tried_again_and_may_be_the_records(harness: &dyn Harness) {
    let sentence = "a torn connection is tried again and may be the record's";
    let Some(target) = harness.target(Mood::Tears).await else { return };
    for verdict in deliver(&target, &records(harness, 600..601), sentence).await {
        assert_eq!(verdict.kind(), VerdictKind::Retry, "{sentence}: {verdict:?}");
        assert_eq!(verdict.failure().map(|failure| failure.blame), Some(Blame::Record), "{sentence}: {verdict:?}");
    }
}

async fn a_rejecting_destination_rejects_and_keeps_nothing(harness: &dyn Harness) {
    let sentence = "a rejecting destination rejects and keeps nothing";
    let Some(target) = harness.target(Mood::Rejects).await else { return };
    let records = records(harness, 700..703);
    for verdict in deliver(&target, &records, sentence).await {
        assert_eq!(verdict.kind(), VerdictKind::Reject, "{sentence}: {verdict:?}");
    }
    let kept: BTreeSet<_> = harness.kept().await.into_iter().collect();
    assert!(records.iter().all(|record| !kept.contains(&record.value[..])), "{sentence}");
}

#[cfg(test)]
mod tests;
