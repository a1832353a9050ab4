//! Progress of one target: leases, settlements, times, keys.
//!
//! In: a target with a few records. Out: what is handed out next.

use super::*;
use crate::extents::tests::extent;
use walhost_core::{Attempt, VerdictKind};

fn progress(count: u32) -> Progress {
    let mut progress = Progress::new(TargetName::new("t").unwrap(), 0);
    progress.accept(&extent(0, count, 1), None, 1);
    progress
}

fn spent(number: u32) -> Spent {
    let (code, message) = ("x".into(), String::new());
    let attempt = Attempt { number, at_ms: 5, verdict: VerdictKind::Retry, code, message, digest: None };
    Spent { attempt, spent: number, first_spent_at_ms: 5 }
}

#[test]
fn i20_later_hides_a_record_until_it_is_due() {
    let mut progress = progress(2);
    progress.cursor = 2;
    let token = progress.lease((0, 0), 100, None);
    assert!(progress.later(0, (1_000, 1), Some(&spent(1)), || Kept::Fresh));
    assert!(!progress.leases.contains_key(&token));
    assert_eq!(progress.state(0, Kept::Fresh), (State::Retrying, Some(1_000)));
    progress.advance(999, 0);
    assert!(progress.ready.is_empty());
    progress.advance(1_000, 0);
    assert_eq!((progress.ready.first(), progress.waiting()), (Some(&0), (0, 0, 0, 0)));
    assert_eq!((progress.tried[&0].number, progress.tried[&0].attempts.list().len()), (1, 1));
}

#[test]
fn a_lease_that_ends_gives_the_record_back_and_one_that_is_extended_does_not() {
    let mut progress = progress(2);
    let (first, second) = (progress.lease((0, 0), 10, None), progress.lease((1, 1), 10, None));
    progress.extend(second, 30);
    progress.advance(0, 10);
    assert_eq!((progress.ready.len(), progress.leases.contains_key(&first)), (1, false));
    progress.leases.get_mut(&second).unwrap().settling = true;
    progress.advance(0, 31);
    assert!(progress.leases.contains_key(&second));
    progress.leases.get_mut(&second).unwrap().settling = false;
    progress.advance(0, 40);
    assert_eq!(progress.ready.len(), 2);
}

#[test]
fn i25_leases_that_were_settled_or_extended_often_leave_nothing_behind() {
    let mut progress = progress(100_000);
    for offset in 0..100_000 {
        let token = progress.lease((offset, offset), 30_000 + offset, None);
        progress.extend(token, 60_000 + offset);
        progress.settle(offset, || Kept::Fresh, None);
    }
    assert!(progress.expiry.count() <= 2 * EXPIRY_SLACK, "{}", progress.expiry.count());
    let token = progress.lease((7, 7), 250, None);
    for until_ms in (300..10_000).step_by(100) {
        progress.advance(0, until_ms - 150);
        progress.extend(token, until_ms);
        assert!(progress.leases.contains_key(&token));
    }
    assert!(progress.expiry.count() <= 2 * EXPIRY_SLACK);
    progress.extend(token, 9_880);
    progress.advance(0, 9_880);
    assert!(!progress.leases.contains_key(&token), "a shorter visibility counts too");
}

#[test]
fn facts_that_are_applied_twice_change_nothing() {
    let mut progress = progress(1);
    assert!(
        progress.later(0, (10, 1), Some(&spent(1)), || Kept::Fresh)
            && progress.later(0, (10, 1), Some(&spent(1)), || Kept::Fresh)
    );
    assert_eq!((progress.tried[&0].attempts.list().len(), progress.waiting().1), (1, 1));
    assert_eq!(progress.settle(0, || Kept::Fresh, None).unwrap().list().len(), 1);
    assert!(progress.settle(0, || Kept::Fresh, None).is_none() && !progress.later(0, (10, 2), None, || Kept::Fresh));
    assert_eq!((progress.counters.pending, progress.waiting()), (0, (0, 0, 0, 0)));
}

#[test]
fn a_restart_puts_the_open_records_back_in_order() {
    let mut progress = progress(4);
    progress.cursor = 4;
    progress.lease((0, 0), 10, None);
    progress.settle(1, || Kept::Fresh, None);
    progress.later(2, (500, 1), None, || Kept::Fresh);
    progress.reschedule(3, (600, 2), || Kept::Fresh);
    progress.rebuild(|_| None);
    assert_eq!((progress.cursor, progress.waiting(), progress.counters.pending), (0, (0, 1, 1, 0), 3));
    assert!(!progress.passed_over(0) && progress.passed_over(2) && progress.passed_over(3));
    progress.advance(500, 0);
    assert!(progress.passed_over(2) && progress.ready.contains(&2));
}

#[test]
fn a_fact_that_was_written_late_does_not_undo_a_newer_one() {
    let mut progress = progress(1);
    progress.reschedule(0, (900, 2), || Kept::Fresh);
    progress.later(0, (100, 1), Some(&spent(1)), || Kept::Fresh);
    assert_eq!((progress.tried[&0].due_ms, progress.tried[&0].number, progress.waiting().2), (900, 1, 1));
    assert!(!progress.reschedule(0, (50, 1), || Kept::Fresh));
}

#[test]
fn a_rescheduled_record_follows_its_newest_time() {
    let mut progress = Progress::new(TargetName::new("t").unwrap(), 0);
    progress.accept(&extent(0, 1, 1), Some(Delay { due_ms: 100, jitter_ms: 0 }), 1);
    assert_eq!((progress.state(0, Kept::Delayed), progress.waiting().2), ((State::Scheduled, None), 1));
    progress.reschedule(0, (50, 1), || Kept::Delayed);
    progress.advance(50, 0);
    assert_eq!((progress.ready.len(), progress.waiting().2), (1, 0));
    progress.ready.clear();
    progress.lease((0, 0), 1_000, None);
    progress.advance(100, 0);
    assert!(progress.ready.is_empty());
}

#[test]
fn i19_a_held_record_follows_when_the_one_before_it_is_terminal() {
    let mut progress = progress(3);
    assert!(progress.take_key(7, 0) && !progress.take_key(7, 1));
    progress.lease((0, 0), 10, None);
    assert_eq!((progress.state(1, Kept::Fresh).0, progress.held()), (State::Held, 1));
    progress.later(0, (100, 1), None, || Kept::Fresh);
    assert_eq!(progress.held(), 1);
    progress.settle(0, || Kept::Fresh, None);
    assert_eq!((progress.held(), progress.ready.first()), (0, Some(&1)));
    progress.cursor = 3;
    progress.reorder(true);
    assert_eq!((progress.cursor, progress.passed_over(1)), (1, true));
}
