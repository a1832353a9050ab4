//! Sentences about `find`, `cancel`, `reschedule` and `peek`.

use super::{Harness, Rig, find, policy, sentences, values};
use crate::attempt::VerdictKind;
use crate::error::Kind;
use crate::inspect::State;
use crate::queue::{Capability, Done, QueuePolicy, Settlement};
use crate::record::RecordId;

sentences! {
    find => find_says_where_a_record_stands_for_each_target,
    find => find_shows_every_attempt_oldest_first,
    find => find_answers_none_for_what_was_never_appended,
    find => the_state_of_a_finished_record_is_forgotten_after_its_history,
    |c| c.find && c.ordered => find_says_held_behind_an_earlier_record_of_the_key,
    cancel => cancelling_keeps_a_record_from_every_target_that_has_not_leased_it,
    cancel => cancelling_a_delayed_and_a_waiting_record_works,
    cancel => cancelling_twice_is_fine,
    cancel => cancelling_too_late_or_nothing_is_refused,
    cancel => rescheduling_moves_a_record_earlier_and_later,
    cancel => rescheduling_too_late_or_nothing_is_refused,
    |c| c.peek => peeking_pages_through_and_changes_nothing,
}

fn cancel(capability: &Capability) -> bool {
    capability.cancel && capability.find
}

fn find_says_where_a_record_stands_for_each_target(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let (a, b) = (rig.sub("a"), rig.sub("b"));
    let id = rig.append(&[("k", "1")]).remove(0);
    let state = rig.get(rig.queue.find(&id)).expect("it was appended");
    assert_eq!((&state.id, state.key.as_deref(), state.appended_at_ms), (&id, Some(b"k".as_slice()), harness.now_ms()));
    rig.is(&id, "a", State::Ready);
    let lease = rig.take_one(&a);
    rig.is(&id, "a", State::InFlight);
    rig.is(&id, "b", State::Ready);
    rig.retry(&a, &lease, 1_000);
    rig.is(&id, "a", State::Retrying);
    assert_eq!(rig.state(&id, "a").due_ms, Some(harness.now_ms() + 1_000));
    harness.advance(1_000);
    rig.done(&a, &rig.take_one(&a));
    rig.is(&id, "a", State::Delivered);
    let lease = rig.take_one(&b);
    rig.dead(&b, &lease, "bad", None);
    rig.is(&id, "b", State::Dead);
    let filtered = rig.append(&[("", "2")]).remove(0);
    let lease = rig.take_one(&a);
    rig.settle(&a, &lease, Settlement::Done { outcome: Done::Filtered, attempt: None });
    rig.is(&filtered, "a", State::Filtered);
    let scheduled = rig.append_due("3", harness.now_ms() + 50_000);
    rig.is(&scheduled, "a", State::Scheduled);
    assert_eq!(rig.state(&scheduled, "a").due_ms, Some(harness.now_ms() + 50_000));
}

fn find_shows_every_attempt_oldest_first(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    rig.retry(&sub, &rig.take_one(&sub), 10);
    harness.advance(10);
    rig.hold(&sub, &rig.take_one(&sub), 0);
    rig.done(&sub, &rig.take_one(&sub));
    let attempts = rig.state(&id, "a").attempts;
    let seen: Vec<_> =
        attempts.iter().map(|attempt| (attempt.number, attempt.verdict, attempt.code.as_str())).collect();
    assert_eq!(seen, [(1, VerdictKind::Retry, "http-500"), (2, VerdictKind::Delivered, "")]);
    assert_eq!(attempts[0].message, "because of http-500");
    assert_eq!(attempts[1].at_ms, harness.now_ms());
}

fn find_answers_none_for_what_was_never_appended(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    for text in ["", "nothing", "0", "---", &format!("{id}0000"), &"9".repeat(300)] {
        assert_eq!(rig.get(rig.queue.find(&RecordId::new(text))), None, "{text}");
    }
}

fn the_state_of_a_finished_record_is_forgotten_after_its_history(harness: &dyn Harness) {
    let rig = Rig::with(harness, &QueuePolicy { history_ms: 1_000, ..policy() });
    let sub = rig.sub("a");
    let ids = rig.append(&[("", "1"), ("", "2")]);
    rig.done(&sub, &rig.take_one(&sub));
    harness.advance(900);
    rig.is(&ids[0], "a", State::Delivered);
    harness.advance(60_000);
    assert_eq!(rig.get(rig.queue.find(&ids[0])), None);
    rig.is(&ids[1], "a", State::Ready);
}

fn find_says_held_behind_an_earlier_record_of_the_key(harness: &dyn Harness) {
    let rig = Rig::ordered(harness);
    let sub = rig.sub("a");
    let ids = rig.append(&[("k", "1"), ("k", "2")]);
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    rig.is(&ids[0], "a", State::Retrying);
    rig.is(&ids[1], "a", State::Held);
}

fn cancelling_keeps_a_record_from_every_target_that_has_not_leased_it(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let (a, b) = (rig.sub("a"), rig.sub("b"));
    let id = rig.append(&[("", "1")]).remove(0);
    let lease = rig.take_one(&a);
    let state = rig.get(rig.queue.cancel(&id));
    assert_eq!(state.targets[&super::target("b")].state, State::Cancelled);
    assert_eq!(state.targets[&super::target("a")].state, State::InFlight);
    rig.none(&b);
    rig.done(&a, &lease);
    assert_eq!((rig.accounting("a").delivered, rig.accounting("b").cancelled), (1, 1));
}

fn cancelling_a_delayed_and_a_waiting_record_works(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let delayed = rig.append_due("1", harness.now_ms() + 1_000);
    let waiting = rig.append(&[("", "2")]).remove(0);
    rig.retry(&sub, &rig.take_one(&sub), 1_000);
    rig.get(rig.queue.cancel(&delayed));
    rig.get(rig.queue.cancel(&waiting));
    harness.advance(2_000);
    rig.none(&sub);
    assert_eq!((rig.accounting("a").cancelled, rig.accounting("a").pending), (2, 0));
}

fn cancelling_twice_is_fine(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    rig.get(rig.queue.cancel(&id));
    let state = rig.get(rig.queue.cancel(&id));
    assert_eq!(state.targets[&super::target("a")].state, State::Cancelled);
    assert_eq!(rig.accounting("a").cancelled, 1);
}

fn cancelling_too_late_or_nothing_is_refused(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    let lease = rig.take_one(&sub);
    rig.refused(Kind::TooLate, rig.queue.cancel(&id));
    rig.done(&sub, &lease);
    rig.refused(Kind::TooLate, rig.queue.cancel(&id));
    rig.refused(Kind::NotFound, rig.queue.cancel(&RecordId::new("nothing")));
    assert_eq!(rig.accounting("a").delivered, 1);
}

fn rescheduling_moves_a_record_earlier_and_later(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let earlier = rig.append_due("earlier", harness.now_ms() + 100_000);
    let later = rig.append_due("later", harness.now_ms() + 1_000);
    rig.get(rig.queue.reschedule(&earlier, harness.now_ms() + 500));
    let state = rig.get(rig.queue.reschedule(&later, harness.now_ms() + 200_000));
    assert_eq!(state.targets[&super::target("a")].due_ms, Some(harness.now_ms() + 200_000));
    harness.advance(499);
    rig.none(&sub);
    harness.advance(1);
    assert_eq!(values(&rig.take(&sub, 1)), ["earlier"]);
    harness.advance(150_000);
    let again = rig.lease(&sub, 10);
    assert!(!values(&again).contains(&"later"));
    harness.advance(49_500);
    // What is at rest far away may take a call of its own to be read.
    let (last, more) = (rig.lease(&sub, 10), rig.lease(&sub, 10));
    assert!(values(&last).into_iter().chain(values(&more)).any(|value| value == "later"));
}

fn rescheduling_too_late_or_nothing_is_refused(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let id = rig.append(&[("", "1")]).remove(0);
    let due_ms = harness.now_ms() + 1_000;
    let lease = rig.take_one(&sub);
    rig.refused(Kind::TooLate, rig.queue.reschedule(&id, due_ms));
    rig.done(&sub, &lease);
    rig.refused(Kind::TooLate, rig.queue.reschedule(&id, due_ms));
    rig.refused(Kind::NotFound, rig.queue.reschedule(&RecordId::new("nothing"), due_ms));
    assert_eq!(rig.accounting("a").pending, 0);
}

fn peeking_pages_through_and_changes_nothing(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub = rig.sub("a");
    let ids = rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    let (mut from, mut seen, mut pages) = (None::<String>, Vec::new(), 0);
    loop {
        let page = rig.get(rig.queue.peek(from.as_deref(), 2));
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|peeked| (peeked.record.id, peeked.record.attempt)));
        pages += 1;
        from = page.next;
        if from.is_none() || pages > 5 {
            break;
        }
    }
    assert_eq!(seen, ids.iter().map(|id| (id.clone(), 0)).collect::<Vec<_>>());
    let leases = rig.take(&sub, 3);
    assert!(leases.iter().all(|lease| lease.record.attempt == 1));
}
