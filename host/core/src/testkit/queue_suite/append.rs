//! Sentences about `append`, `subscribe`, `unsubscribe`, `configure`, `close`.

use super::{Harness, Rig, always, batch, policy, sentences, target, values};
use crate::batch::{BatchBuilder, Idempotency};
use crate::error::Kind;
use crate::queue::{From, QueuePolicy};
use crate::record::Headers;
use std::collections::BTreeSet;
use std::sync::Arc;

sentences! {
    always => an_append_answers_one_id_a_record_all_different,
    always => a_receipt_names_the_level_reached,
    always => a_record_arrives_byte_equal_with_key_and_headers,
    always => records_are_handed_out_in_the_order_of_their_append,
    always => every_target_gets_every_record_that_was_appended_while_it_was_subscribed,
    always => a_record_for_one_target_goes_to_no_other,
    always => an_unknown_target_is_refused_and_nothing_is_appended,
    always => subscribing_twice_gives_the_same_progress,
    always => a_latest_target_begins_with_what_is_appended_from_then_on,
    always => an_earliest_target_begins_with_what_the_queue_still_has,
    always => unsubscribing_cancels_what_is_pending_and_says_how_many,
    always => a_full_backlog_refuses_and_settling_makes_room,
    always => sequence_grows_and_is_microseconds_of_the_append,
    always => a_closed_queue_refuses_and_closing_twice_is_fine,
    |c| c.idempotency => an_idempotency_key_is_one_record_within_its_window,
    |c| c.idempotency => an_idempotency_key_with_other_content_is_refused,
    |c| c.idempotency => an_idempotency_key_is_forgotten_after_its_window,
    |c| c.idempotency => more_idempotency_keys_than_allowed_are_refused_and_appends_without_go_on,
}

fn an_append_answers_one_id_a_record_all_different(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let first = rig.get(rig.queue.append(batch(&[("", "1"), ("", "2"), ("", "3")])));
    let second = rig.get(rig.queue.append(batch(&[("", "4")])));
    assert_eq!((first.ids.len(), second.ids.len()), (3, 1));
    let ids: BTreeSet<_> = first.ids.iter().chain(&second.ids).collect();
    assert_eq!(ids.len(), 4, "no id is given twice");
    assert!(!first.deduplicated && first.first.contains(':') && second.first == second.last);
    assert!(ids.iter().all(|id| id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))));
}

fn a_receipt_names_the_level_reached(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let appended = rig.get(rig.queue.append(batch(&[("", "1")])));
    assert_eq!(appended.durability, rig.queue.capability().durability);
}

fn a_record_arrives_byte_equal_with_key_and_headers(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let value: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let mut builder = BatchBuilder::default();
    builder.record_with(Some(b"\x00key"), [("colour", b"red".as_slice()), ("colour", b"\xff")], &value);
    builder.record(None, &Headers::default(), b"");
    let ids = rig.get(rig.queue.append(builder.build().expect("two records"))).ids;
    let leases = rig.take(&sub, 2);
    let record = &leases[0].record;
    assert_eq!(record.key.as_deref(), Some(b"\x00key".as_slice()));
    assert_eq!(record.headers.iter().collect::<Vec<_>>(), [("colour", b"red".as_slice()), ("colour", b"\xff")]);
    assert_eq!((&record.value[..], &record.id), (&value[..], &ids[0]));
    assert_eq!(record.appended_at_ms, harness.now_ms());
    assert_eq!((leases[1].record.key.as_ref(), leases[1].record.value.len(), &leases[1].record.id), (None, 0, &ids[1]));
}

fn records_are_handed_out_in_the_order_of_their_append(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2")]);
    rig.append(&[("", "3")]);
    assert_eq!(values(&rig.take(&sub, 3)), ["1", "2", "3"]);
}

fn every_target_gets_every_record_that_was_appended_while_it_was_subscribed(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let (a, b) = (rig.sub("a"), rig.sub("b"));
    rig.append(&[("", "1"), ("", "2")]);
    let leases = rig.take(&a, 2);
    leases.iter().for_each(|lease| rig.done(&a, lease));
    assert_eq!(values(&rig.take(&b, 2)), ["1", "2"], "the progress of one target is not another's");
    rig.none(&a);
}

fn a_record_for_one_target_goes_to_no_other(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let (a, b) = (rig.sub("a"), rig.sub("b"));
    let mut only = batch(&[("", "1")]);
    only.target = Some(target("b"));
    rig.get(rig.queue.append(only));
    assert_eq!(values(&rig.take(&b, 1)), ["1"]);
    rig.none(&a);
    assert_eq!((rig.accounting("a").accepted, rig.accounting("b").accepted), (0, 1));
}

fn an_unknown_target_is_refused_and_nothing_is_appended(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let mut other = batch(&[("", "1")]);
    other.target = Some(target("nobody"));
    rig.refused(Kind::UnknownTarget, rig.queue.append(other));
    rig.none(&sub);
}

fn subscribing_twice_gives_the_same_progress(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let first = rig.sub("a");
    rig.append(&[("", "1"), ("", "2")]);
    rig.done(&first, &rig.take_one(&first));
    let second = rig.get(rig.queue.subscribe(&target("a"), From::Earliest));
    assert_eq!(values(&rig.take(&second, 1)), ["2"]);
    rig.none(&first);
}

fn a_latest_target_begins_with_what_is_appended_from_then_on(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    rig.append(&[("", "before")]);
    let sub = rig.sub("b");
    rig.none(&sub);
    rig.append(&[("", "after")]);
    assert_eq!(values(&rig.take(&sub, 1)), ["after"]);
    assert_eq!(rig.accounting("b").accepted, 1);
}

fn an_earliest_target_begins_with_what_the_queue_still_has(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    rig.append(&[("", "1"), ("", "2")]);
    let sub = rig.get(rig.queue.subscribe(&target("b"), From::Earliest));
    assert_eq!(values(&rig.take(&sub, 2)), ["1", "2"], "`a` has settled neither, so both are there");
}

fn unsubscribing_cancels_what_is_pending_and_says_how_many(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let (a, b) = (rig.sub("a"), rig.sub("b"));
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    rig.done(&a, &rig.take_one(&a));
    assert_eq!(rig.get(rig.queue.unsubscribe(&target("a"))), 2);
    assert_eq!(values(&rig.take(&b, 3)), ["1", "2", "3"], "other targets do not notice");
    let mut only = batch(&[("", "4")]);
    only.target = Some(target("a"));
    rig.refused(Kind::UnknownTarget, rig.queue.append(only));
}

fn a_full_backlog_refuses_and_settling_makes_room(harness: &dyn Harness) {
    let rig = Rig::with(harness, &QueuePolicy { backlog_bytes_max: 3_000, ..policy() });
    let sub = rig.sub("a");
    let kilo = "x".repeat(1_000);
    rig.append(&[("", &kilo), ("", &kilo)]);
    rig.refused(Kind::QuotaExceeded, rig.queue.append(batch(&[("", &kilo), ("", &kilo)])));
    assert_eq!(rig.accounting("a").accepted, 2, "what was refused is not there");
    let leases = rig.take(&sub, 2);
    leases.iter().for_each(|lease| rig.done(&sub, lease));
    harness.advance(200);
    assert_eq!(rig.queue.stats().backlog_records, 0);
    rig.append(&[("", &kilo), ("", &kilo)]);
    rig.queue.configure(&QueuePolicy { backlog_bytes_max: 10_000, ..policy() }).expect("a larger backlog");
    rig.append(&[("", &kilo), ("", &kilo)]);
    assert_eq!(rig.accounting("a").pending, 4);
}

fn sequence_grows_and_is_microseconds_of_the_append(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("k", "1"), ("k", "2")]);
    rig.append(&[("k", "3")]);
    let sequences: Vec<u64> = rig.take(&sub, 3).iter().map(|lease| lease.record.sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert!(sequences[0].abs_diff(harness.now_ms() * 1_000) < 1_000_000, "{sequences:?}");
}

fn a_closed_queue_refuses_and_closing_twice_is_fine(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    rig.get(rig.queue.close());
    rig.get(rig.queue.close());
    rig.refused(Kind::Closed, rig.queue.append(batch(&[("", "2")])));
    let request =
        crate::queue::LeaseRequest { records_max: 1, bytes_max: usize::MAX, visibility_ms: 1_000, wait_ms: 0 };
    rig.refused(Kind::Closed, sub.lease(request));
}

fn keyed(key: u8, content: u8, value: &str) -> crate::batch::RecordBatch {
    let mut batch = batch(&[("", value)]);
    batch.idempotency = Some(Idempotency { key: [key; 16], content: [content; 16] });
    batch
}

fn an_idempotency_key_is_one_record_within_its_window(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let first = rig.get(rig.queue.append(keyed(1, 1, "once")));
    rig.done(&sub, &rig.take_one(&sub));
    harness.advance(30_000);
    let again = rig.get(rig.queue.append(keyed(1, 1, "once")));
    assert_eq!((again.deduplicated, &again.ids, &again.first), (true, &first.ids, &first.first));
    rig.none(&sub);
    assert_eq!(rig.accounting("a").accepted, 1);
    let other = rig.get(rig.queue.append(keyed(2, 1, "once")));
    assert!(!other.deduplicated && other.ids != first.ids);
}

fn an_idempotency_key_with_other_content_is_refused(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.get(rig.queue.append(keyed(1, 1, "one")));
    rig.refused(Kind::IdempotencyMismatch, rig.queue.append(keyed(1, 2, "two")));
    assert_eq!(values(&rig.take(&sub, 1)), ["one"]);
    rig.none(&sub);
}

fn an_idempotency_key_is_forgotten_after_its_window(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let first = rig.get(rig.queue.append(keyed(1, 1, "one")));
    harness.advance(60_001);
    let again = rig.get(rig.queue.append(keyed(1, 1, "one")));
    assert!(!again.deduplicated && again.ids != first.ids);
}

fn more_idempotency_keys_than_allowed_are_refused_and_appends_without_go_on(harness: &dyn Harness) {
    let rig = Rig::with(harness, &QueuePolicy { idempotency_keys_max: 2, ..policy() });
    let sub: Arc<_> = rig.sub("a");
    rig.get(rig.queue.append(keyed(1, 1, "1")));
    rig.get(rig.queue.append(keyed(2, 2, "2")));
    rig.refused(Kind::QuotaExceeded, rig.queue.append(keyed(3, 3, "3")));
    assert!(rig.get(rig.queue.append(keyed(1, 1, "1"))).deduplicated, "a known key is no new one");
    rig.append(&[("", "4")]);
    assert_eq!(values(&rig.take(&sub, 3)), ["1", "2", "4"]);
}
