//! Sentences about `lease` and `extend`.

use super::{Harness, Rig, VISIBILITY_MS, always, batch, sentences, values};
use crate::queue::{LeaseRequest, LeaseToken};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

sentences! {
    always => a_record_is_leased_to_one_worker_at_a_time,
    always => a_lease_that_ends_is_handed_out_again_with_the_same_attempt,
    always => extending_begins_the_visibility_anew,
    always => extending_a_lease_that_has_ended_changes_nothing,
    always => a_lease_takes_no_more_records_than_asked_for,
    always => a_lease_takes_no_more_bytes_than_asked_for_but_always_one_record,
    always => a_lease_waits_for_the_first_record,
    always => a_lease_that_waited_in_vain_answers_with_nothing,
    always => a_delayed_record_is_never_early_and_comes_when_due,
    always => jitter_adds_at_most_its_own_length,
    always => the_sequence_of_a_delayed_record_is_its_due_time,
}

fn request(wait_ms: u64) -> LeaseRequest {
    LeaseRequest { records_max: 10, bytes_max: usize::MAX, visibility_ms: VISIBILITY_MS, wait_ms }
}

fn a_record_is_leased_to_one_worker_at_a_time(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    let lease = rig.take_one(&sub);
    assert_eq!((lease.record.attempt, lease.spent, lease.first_spent_at_ms), (1, 0, None));
    harness.advance(VISIBILITY_MS - 1);
    rig.none(&sub);
    assert_eq!(rig.accounting("a").pending, 1);
}

fn a_lease_that_ends_is_handed_out_again_with_the_same_attempt(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    let first = rig.take_one(&sub);
    harness.advance(VISIBILITY_MS);
    let second = rig.take_one(&sub);
    assert_ne!(first.token, second.token);
    assert_eq!((second.record.attempt, second.spent), (1, 0));
    assert_eq!(first.record.id, second.record.id);
}

fn extending_begins_the_visibility_anew(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    let lease = rig.take_one(&sub);
    harness.advance(VISIBILITY_MS - 1);
    sub.extend(&[lease.token], VISIBILITY_MS);
    harness.advance(VISIBILITY_MS - 1);
    rig.none(&sub);
    harness.advance(1);
    assert_eq!(rig.take_one(&sub).record.attempt, 1);
}

fn extending_a_lease_that_has_ended_changes_nothing(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2")]);
    let lease = rig.take_one(&sub);
    rig.done(&sub, &lease);
    let other = rig.take_one(&sub);
    harness.advance(VISIBILITY_MS);
    sub.extend(&[lease.token, other.token, LeaseToken(u64::MAX)], VISIBILITY_MS);
    assert_eq!(values(&rig.take(&sub, 1)), ["2"], "it had ended, and extending does not bring it back");
}

fn a_lease_takes_no_more_records_than_asked_for(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    assert!(rig.lease(&sub, 2).len() <= 2);
    assert!(rig.lease(&sub, 1).len() <= 1);
}

fn a_lease_takes_no_more_bytes_than_asked_for_but_always_one_record(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let kilo = "x".repeat(1_000);
    rig.append(&[("", &kilo), ("", &kilo), ("", &kilo)]);
    let bytes = |bytes_max| LeaseRequest { bytes_max, ..request(0) };
    let two = rig.get(sub.lease(bytes(2_500)));
    assert!(!two.is_empty() && two.iter().map(|lease| lease.record.bytes()).sum::<usize>() <= 2_500);
    assert_eq!(rig.get(sub.lease(bytes(10))).len(), 1, "larger than asked for, and yet handed out");
}

fn a_lease_waits_for_the_first_record(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let mut lease = pin!(sub.lease(request(60_000)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(lease.as_mut().poll(&mut context).is_pending());
    harness.advance(1_000);
    assert!(lease.as_mut().poll(&mut context).is_pending());
    rig.append(&[("", "1")]);
    assert_eq!(values(&rig.get(lease)), ["1"]);
}

fn a_lease_that_waited_in_vain_answers_with_nothing(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let mut lease = pin!(sub.lease(request(5_000)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(lease.as_mut().poll(&mut context).is_pending());
    harness.advance(4_999);
    assert!(lease.as_mut().poll(&mut context).is_pending());
    harness.advance(1);
    let leases = match lease.as_mut().poll(&mut context) {
        Poll::Ready(leases) => leases.unwrap_or_else(|error| panic!("{error}")),
        Poll::Pending => rig.get(lease),
    };
    assert!(leases.is_empty());
}

fn a_delayed_record_is_never_early_and_comes_when_due(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let due_ms = harness.now_ms() + 5_000;
    rig.append_due("later", due_ms);
    rig.append(&[("", "now")]);
    assert_eq!(values(&rig.take(&sub, 1)), ["now"]);
    harness.advance(4_999);
    rig.none(&sub);
    let stats = rig.queue.stats().targets[&super::target("a")];
    assert_eq!((stats.scheduled, stats.ready, stats.in_flight), (1, 0, 1));
    harness.advance(1);
    assert_eq!(values(&rig.take(&sub, 1)), ["later"]);
}

fn jitter_adds_at_most_its_own_length(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let records: Vec<_> = (0..20).map(|_| ("", "x")).collect();
    let mut delayed = batch(&records);
    delayed.due_ms = Some(harness.now_ms() + 10_000);
    delayed.jitter_ms = 10_000;
    rig.get(rig.queue.append(delayed));
    harness.advance(9_999);
    rig.none(&sub);
    harness.advance(5_001);
    let first = rig.lease(&sub, 20).len();
    assert!(first < 20, "twenty parts of at most 10 s, and all in the first half");
    harness.advance(5_000);
    rig.take(&sub, 20 - first);
    assert_eq!(rig.queue.stats().targets[&super::target("a")].scheduled, 0);
}

fn the_sequence_of_a_delayed_record_is_its_due_time(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let due_ms = harness.now_ms() + 5_000;
    rig.append_due("later", due_ms);
    let appended_at_ms = harness.now_ms();
    harness.advance(5_000);
    let record = rig.take_one(&sub).record;
    assert!(record.sequence.abs_diff(due_ms * 1_000) < 1_000_000, "{}", record.sequence);
    assert_eq!(record.appended_at_ms, appended_at_ms);
}
