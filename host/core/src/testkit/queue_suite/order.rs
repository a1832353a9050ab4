//! Sentences about order by key (I19).

use super::{Harness, Rig, batch, ordered, sentences, values};
use crate::attempt::Exhausted;
use crate::queue::QueuePolicy;

sentences! {
    ordered => i19_a_key_hands_out_one_record_at_a_time_and_in_order,
    ordered => i19_a_retry_holds_its_key_only,
    ordered => records_without_a_key_hold_nobody,
    ordered => a_lease_that_ends_keeps_its_place_in_its_key,
    ordered => a_delayed_record_blocks_nobody_and_takes_its_place_when_due,
    ordered => a_dead_letter_lets_the_next_of_its_key_go,
    ordered => a_parked_key_follows_into_the_dead_letters_and_others_flow,
    ordered => a_parked_key_goes_back_whole_in_order_and_before_its_later_records,
    ordered => a_redriven_record_goes_to_the_end_of_its_key,
    ordered => without_order_a_key_holds_nobody,
}

fn i19_a_key_hands_out_one_record_at_a_time_and_in_order(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    rig.append(&[("k", "k1"), ("k", "k2"), ("l", "l1"), ("k", "k3")]);
    let leases = rig.take(&sub, 2);
    assert_eq!(values(&leases), ["k1", "l1"]);
    rig.none(&sub);
    rig.done(&sub, &leases[0]);
    let next = rig.take_one(&sub);
    assert_eq!(values(std::slice::from_ref(&next)), ["k2"]);
    rig.none(&sub);
    rig.done(&sub, &next);
    assert_eq!(values(&rig.take(&sub, 1)), ["k3"]);
}

fn i19_a_retry_holds_its_key_only(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    rig.append(&[("k", "k1"), ("k", "k2"), ("l", "l1"), ("l", "l2")]);
    let leases = rig.take(&sub, 2);
    rig.retry(&sub, &leases[0], 60_000);
    rig.done(&sub, &leases[1]);
    let l2 = rig.take_one(&sub);
    assert_eq!(values(std::slice::from_ref(&l2)), ["l2"]);
    rig.none(&sub);
    rig.done(&sub, &l2);
    harness.advance(60_000);
    let k1 = rig.take_one(&sub);
    assert_eq!((values(std::slice::from_ref(&k1)), k1.record.attempt), (vec!["k1"], 2));
    rig.none(&sub);
    rig.done(&sub, &k1);
    assert_eq!(values(&rig.take(&sub, 1)), ["k2"]);
}

fn records_without_a_key_hold_nobody(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    assert_eq!(values(&rig.take(&sub, 2)), ["2", "3"]);
}

fn a_lease_that_ends_keeps_its_place_in_its_key(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    rig.append(&[("k", "1"), ("k", "2")]);
    rig.take_one(&sub);
    harness.advance(super::VISIBILITY_MS);
    assert_eq!(values(&rig.take(&sub, 1)), ["1"]);
    rig.none(&sub);
}

fn a_delayed_record_blocks_nobody_and_takes_its_place_when_due(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    let mut delayed = batch(&[("k", "delayed")]);
    delayed.due_ms = Some(harness.now_ms() + 1_000);
    rig.get(rig.queue.append(delayed));
    rig.append(&[("k", "1")]);
    let first = rig.take_one(&sub);
    assert_eq!(values(std::slice::from_ref(&first)), ["1"]);
    harness.advance(1_000);
    rig.none(&sub);
    rig.append(&[("k", "2")]);
    rig.done(&sub, &first);
    let second = rig.take_one(&sub);
    assert_eq!(values(std::slice::from_ref(&second)), ["delayed"], "its place is that of its due time");
    rig.done(&sub, &second);
    assert_eq!(values(&rig.take(&sub, 1)), ["2"]);
}

fn a_dead_letter_lets_the_next_of_its_key_go(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    sub.park(false);
    rig.append(&[("k", "1"), ("k", "2")]);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    assert_eq!(values(&rig.take(&sub, 1)), ["2"]);
}

fn a_parked_key_follows_into_the_dead_letters_and_others_flow(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    sub.park(true);
    let ids = rig.append(&[("k", "k1"), ("k", "k2"), ("l", "l1")]);
    let leases = rig.take(&sub, 2);
    assert_eq!(values(&leases), ["k1", "l1"]);
    rig.dead(&sub, &leases[0], "timeout", Some(Exhausted::Attempts));
    rig.none(&sub);
    let later = rig.append(&[("k", "k3"), ("m", "m1")]);
    assert_eq!(values(&rig.take(&sub, 1)), ["m1"]);
    rig.none(&sub);
    harness.advance(1_000);
    let letters = rig.letters();
    let parked: Vec<_> = letters.iter().map(|letter| (&letter.record, letter.last.code.as_str())).collect();
    assert_eq!(parked, [(&ids[0], "timeout"), (&ids[1], "key-parked"), (&later[0], "key-parked")]);
    assert_eq!(rig.accounting("a").dead, 3);
}

fn a_parked_key_goes_back_whole_in_order_and_before_its_later_records(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    sub.park(true);
    rig.append(&[("k", "1"), ("k", "2")]);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    rig.none(&sub);
    harness.advance(1_000);
    let letters = rig.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(rig.get(rig.queue.redrive(&[letters[1].id.clone()])), 2, "one of a parked key takes all of it");
    rig.append(&[("k", "3")]);
    for value in ["1", "2", "3"] {
        let lease = rig.take_one(&sub);
        assert_eq!(values(std::slice::from_ref(&lease)), [value]);
        rig.none(&sub);
        rig.done(&sub, &lease);
    }
    assert!(rig.letters().is_empty());
}

fn a_redriven_record_goes_to_the_end_of_its_key(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    sub.park(false);
    rig.append(&[("k", "1"), ("k", "2")]);
    rig.dead(&sub, &rig.take_one(&sub), "bad", None);
    let letters = rig.letters();
    rig.get(rig.queue.redrive(&[letters[0].id.clone()]));
    let second = rig.take_one(&sub);
    assert_eq!(values(std::slice::from_ref(&second)), ["2"]);
    rig.done(&sub, &second);
    assert_eq!(values(&rig.take(&sub, 1)), ["1"]);
}

fn without_order_a_key_holds_nobody(harness: &dyn Harness) {
    let rig = Rig::with(harness, &QueuePolicy { ordered: false, ..super::policy() });
    let sub = rig.sub("a");
    rig.append(&[("k", "1"), ("k", "2")]);
    assert_eq!(values(&rig.take(&sub, 2)), ["1", "2"]);
}
