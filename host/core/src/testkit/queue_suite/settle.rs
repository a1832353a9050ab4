//! Sentences about `settle` and the counters of I12.

use super::{Harness, Rig, VISIBILITY_MS, always, sentences, values};
use crate::attempt::VerdictKind;
use crate::queue::{Done, Settlement};

sentences! {
    always => done_is_terminal,
    always => later_hides_until_due,
    always => later_that_spends_goes_on_to_the_next_attempt,
    always => later_that_spends_nothing_keeps_the_attempt,
    always => the_first_spent_attempt_keeps_its_time,
    always => dead_is_gone_from_the_leases_and_in_the_dead_letters,
    always => settling_twice_changes_nothing_and_is_no_error,
    always => settling_a_lease_that_has_ended_changes_nothing,
    always => one_call_settles_many_records_each_in_its_own_way,
    always => i12_the_counters_balance_through_every_ending,
}

fn done_is_terminal(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    rig.done(&sub, &rig.take_one(&sub));
    harness.advance(2 * VISIBILITY_MS);
    rig.none(&sub);
    assert_eq!(rig.accounting("a").delivered, 1);
}

fn later_hides_until_due(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    harness.advance(999);
    rig.none(&sub);
    harness.advance(1);
    rig.retry(&sub, &rig.take_one(&sub), 120_000);
    harness.advance(119_999);
    rig.none(&sub);
    harness.advance(1);
    assert_eq!(rig.take_one(&sub).record.attempt, 3, "long waits keep what short ones keep");
}

fn later_that_spends_goes_on_to_the_next_attempt(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    for attempt in 1..=4 {
        let lease = rig.take_one(&sub);
        assert_eq!((lease.record.attempt, lease.spent), (attempt, attempt - 1));
        rig.retry(&sub, &lease, 10);
        harness.advance(10);
    }
    assert_eq!(rig.accounting("a").pending, 1);
}

fn later_that_spends_nothing_keeps_the_attempt(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    rig.hold(&sub, &rig.take_one(&sub), 10);
    harness.advance(10);
    let lease = rig.take_one(&sub);
    assert_eq!((lease.record.attempt, lease.spent, lease.first_spent_at_ms), (1, 0, None));
    rig.hold(&sub, &lease, 0);
    assert_eq!(rig.take_one(&sub).record.attempt, 1, "and due now is due now");
}

fn the_first_spent_attempt_keeps_its_time(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    harness.advance(500);
    rig.hold(&sub, &rig.take_one(&sub), 1_000);
    harness.advance(1_000);
    let first_spent_at_ms = harness.now_ms();
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    harness.advance(1_000);
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    harness.advance(1_000);
    assert_eq!(rig.take_one(&sub).first_spent_at_ms, Some(first_spent_at_ms));
}

fn dead_is_gone_from_the_leases_and_in_the_dead_letters(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let ids = rig.append(&[("", "1")]);
    rig.dead(&sub, &rig.take_one(&sub), "http-400", None);
    harness.advance(2 * VISIBILITY_MS);
    rig.none(&sub);
    let letters = rig.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].record, letters[0].last.code.as_str()), (&ids[0], "http-400"));
    assert_eq!((rig.accounting("a").dead, rig.accounting("a").pending), (1, 0));
}

fn settling_twice_changes_nothing_and_is_no_error(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2")]);
    let lease = rig.take_one(&sub);
    rig.done(&sub, &lease);
    rig.done(&sub, &lease);
    rig.retry(&sub, &lease, 0);
    rig.dead(&sub, &lease, "late", None);
    assert_eq!((rig.accounting("a").delivered, rig.accounting("a").dead), (1, 0));
    assert_eq!(values(&rig.take(&sub, 1)), ["2"]);
    assert!(rig.letters().is_empty());
}

fn settling_a_lease_that_has_ended_changes_nothing(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1")]);
    let old = rig.take_one(&sub);
    harness.advance(VISIBILITY_MS);
    rig.done(&sub, &old);
    let new = rig.take_one(&sub);
    rig.dead(&sub, &old, "late", None);
    assert_eq!((rig.accounting("a").pending, rig.accounting("a").dead), (1, 0));
    rig.done(&sub, &new);
    assert_eq!(rig.accounting("a").delivered, 1);
}

fn one_call_settles_many_records_each_in_its_own_way(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    rig.append(&[("", "1"), ("", "2"), ("", "3"), ("", "4")]);
    let leases = rig.take(&sub, 4);
    let attempt = |place: usize, verdict, code| rig.attempt(&leases[place], verdict, code);
    let due_ms = harness.now_ms() + 10;
    rig.get(sub.settle(vec![
        (
            leases[0].token,
            Settlement::Done { outcome: Done::Delivered, attempt: Some(attempt(0, VerdictKind::Delivered, "")) },
        ),
        (leases[1].token, Settlement::Done { outcome: Done::Filtered, attempt: None }),
        (leases[2].token, Settlement::Later { due_ms, spent: Some(attempt(2, VerdictKind::Retry, "timeout")) }),
        (leases[3].token, Settlement::Dead { attempt: attempt(3, VerdictKind::Reject, "bad"), exhausted: None }),
    ]));
    let accounting = rig.accounting("a");
    let counts = (accounting.delivered, accounting.filtered, accounting.pending, accounting.dead);
    assert_eq!(counts, (1, 1, 1, 1));
    harness.advance(10);
    assert_eq!(values(&rig.take(&sub, 1)), ["3"]);
}

fn i12_the_counters_balance_through_every_ending(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let values: Vec<(&str, &str)> = (0..30).map(|_| ("", "v")).collect();
    rig.append(&values);
    for round in 0..30 {
        let Some(lease) = rig.lease(&sub, 1).pop() else { break };
        match round % 5 {
            0 => rig.done(&sub, &lease),
            1 => rig.retry(&sub, &lease, 1),
            2 => rig.dead(&sub, &lease, "bad", None),
            3 => rig.settle(&sub, &lease, Settlement::Done { outcome: Done::Filtered, attempt: None }),
            _ => rig.settle(&sub, &lease, Settlement::Done { outcome: Done::Cancelled, attempt: None }),
        }
        assert_eq!(rig.accounting("a").accepted, 30, "round {round}");
        harness.advance(1);
    }
    let accounting = rig.accounting("a");
    assert!(accounting.delivered >= 5 && accounting.dead >= 5 && accounting.filtered >= 5 && accounting.cancelled >= 5);
}
