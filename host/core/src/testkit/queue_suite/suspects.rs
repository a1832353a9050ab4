//! Sentences about records that may have taken the host down (I15).

use super::{Harness, Rig, batch, sentences, target, values};
use crate::attempt::HOST_CRASH;
use crate::inspect::State;
use crate::queue::{Capability, Lease, LeaseToken, Subscription};
use crate::record::RecordId;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

sentences! {
    suspects => i15_after_an_unclean_stop_what_may_have_been_in_flight_goes_alone,
    suspects => i15_what_is_appended_after_the_stop_is_no_suspect,
    suspects => i15_a_start_without_an_end_counts_and_is_an_attempt,
    suspects => i15_a_start_that_has_ended_does_not_count,
    suspects => i15_a_record_that_was_counted_goes_alone_until_it_is_settled,
    suspects => i15_of_what_was_counted_before_one_is_on_its_way_in_the_whole_host,
    suspects => i15_the_start_of_a_lease_that_has_ended_is_refused_and_of_no_suspect_nothing,
    |c| c.suspects && c.durable => i15_a_clean_stop_makes_no_suspects_and_counts_nothing,
    |c| c.suspects && c.durable => i15_the_settlement_of_a_suspect_survives_a_crash_at_once,
    |c| c.suspects && c.durable => i15_counts_survive_stops_of_either_kind,
}

fn suspects(capability: &Capability) -> bool {
    capability.suspects
}

/// The same queue after an unclean stop, or a clean one; `None` where the harness cannot.
fn again<'a>(rig: Rig<'a>, crashed: bool) -> Option<Rig<'a>> {
    if !crashed {
        rig.get(rig.queue.close());
    }
    let Rig { harness, queue } = rig;
    harness.reopen(queue, crashed).map(|queue| Rig { harness, queue })
}

/// The subscription of a worker that has so many records in flight at most.
fn sub(rig: &Rig<'_>, name: &str, in_flight_max: usize) -> Arc<dyn Subscription> {
    let sub = rig.sub(name);
    sub.in_flight_max(in_flight_max);
    sub
}

/// A suspect is handed out, alone, and begins.
#[track_caller]
fn begin(rig: &Rig<'_>, sub: &Arc<dyn Subscription>, crashes: u32) -> Lease {
    let lease = rig.take_one(sub);
    assert_eq!((lease.suspect, lease.crashes), (true, crashes), "{:?}", lease.record.value);
    rig.none(sub);
    rig.get(sub.start(lease.token));
    rig.none(sub);
    lease
}

/// Its attempts: number and code.
#[track_caller]
fn attempts(rig: &Rig<'_>, id: &RecordId) -> Vec<(u32, String)> {
    rig.state(id, "a").attempts.into_iter().map(|attempt| (attempt.number, attempt.code)).collect()
}

fn i15_after_an_unclean_stop_what_may_have_been_in_flight_goes_alone(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub_a = sub(&rig, "a", 2);
    rig.append(&[("", "1"), ("", "2"), ("", "3"), ("", "4")]);
    let leases = rig.take(&sub_a, 2);
    assert!(leases.iter().all(|lease| !lease.suspect && lease.crashes == 0));
    let Some(rig) = again(rig, true) else { return };
    let sub_a = sub(&rig, "a", 2);
    for value in ["1", "2"] {
        let lease = begin(&rig, &sub_a, 0);
        assert_eq!(values(std::slice::from_ref(&lease)), [value]);
        rig.done(&sub_a, &lease);
    }
    let leases = rig.take(&sub_a, 2);
    assert_eq!(values(&leases), ["3", "4"], "normal speed again");
    assert!(leases.iter().all(|lease| !lease.suspect));
}

fn i15_what_is_appended_after_the_stop_is_no_suspect(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 10);
    rig.append(&[("", "1")]);
    let Some(rig) = again(rig, true) else { return };
    let sub_a = sub(&rig, "a", 10);
    rig.append(&[("", "2"), ("", "3")]);
    rig.done(&sub_a, &begin(&rig, &sub_a, 0));
    let leases = rig.take(&sub_a, 2);
    assert!(leases.iter().all(|lease| !lease.suspect), "{leases:?}");
}

fn i15_a_start_without_an_end_counts_and_is_an_attempt(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 2);
    let ids = rig.append(&[("", "1"), ("", "2")]);
    let Some(mut rig) = again(rig, true) else { return };
    for crashes in 0..2 {
        let sub_a = sub(&rig, "a", 2);
        let lease = begin(&rig, &sub_a, crashes);
        assert_eq!((&lease.record.id, lease.record.attempt, lease.spent), (&ids[0], crashes + 1, crashes));
        rig = again(rig, true).expect("it could before");
    }
    assert_eq!(attempts(&rig, &ids[0]), [(1, HOST_CRASH.to_owned()), (2, HOST_CRASH.to_owned())]);
    assert_eq!(attempts(&rig, &ids[1]), []);
    let sub_a = sub(&rig, "a", 2);
    let lease = begin(&rig, &sub_a, 2);
    rig.dead(&sub_a, &lease, HOST_CRASH, None);
    let neighbour = begin(&rig, &sub_a, 0);
    assert_eq!(neighbour.record.id, ids[1]);
    assert_eq!((rig.letters().len(), rig.letters()[0].last.code.as_str()), (1, HOST_CRASH));
    rig.done(&sub_a, &neighbour);
    assert_eq!(rig.accounting("a").delivered, 1);
}

fn i15_a_start_that_has_ended_does_not_count(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 1);
    rig.append(&[("", "1")]);
    let Some(rig) = again(rig, true) else { return };
    let sub_a = sub(&rig, "a", 1);
    rig.hold(&sub_a, &begin(&rig, &sub_a, 0), 0);
    let Some(rig) = again(rig, true) else { return };
    let sub_a = sub(&rig, "a", 1);
    rig.retry(&sub_a, &begin(&rig, &sub_a, 0), 0);
    let Some(rig) = again(rig, true) else { return };
    let lease = begin(&rig, &sub(&rig, "a", 1), 0);
    assert_eq!((lease.record.attempt, lease.spent), (2, 1));
}

fn i15_a_record_that_was_counted_goes_alone_until_it_is_settled(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 1);
    rig.append(&[("", "1"), ("", "2"), ("", "3")]);
    let Some(rig) = again(rig, true) else { return };
    begin(&rig, &sub(&rig, "a", 1), 0);
    let Some(rig) = again(rig, true) else { return };
    let sub_a = sub(&rig, "a", 1);
    rig.retry(&sub_a, &begin(&rig, &sub_a, 1), 5_000);
    let others = rig.take(&sub_a, 1);
    assert_eq!((values(&others), others[0].suspect), (vec!["2"], false));
    harness.advance(5_000);
    rig.none(&sub_a);
    rig.done(&sub_a, &others[0]);
    rig.done(&sub_a, &begin(&rig, &sub_a, 1));
    assert!(!rig.take_one(&sub_a).suspect);
}

fn i15_of_what_was_counted_before_one_is_on_its_way_in_the_whole_host(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 1);
    sub(&rig, "b", 1);
    rig.append(&[("", "1")]);
    let Some(rig) = again(rig, true) else { return };
    // Each target's first suspect: they are on their way together, and both are counted.
    for name in ["a", "b"] {
        begin(&rig, &sub(&rig, name, 1), 0);
    }
    let Some(rig) = again(rig, true) else { return };
    let (sub_a, sub_b) = (sub(&rig, "a", 1), sub(&rig, "b", 1));
    let (lease_a, lease_b) = (begin(&rig, &sub_a, 1), rig.take_one(&sub_b));
    assert_eq!((lease_b.suspect, lease_b.crashes), (true, 1));
    {
        let mut start = pin!(sub_b.start(lease_b.token));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..5 {
            assert!(start.as_mut().poll(&mut context).is_pending(), "it waits for the other one");
            harness.step();
        }
        rig.done(&sub_a, &lease_a);
        rig.get(start);
    }
    rig.done(&sub_b, &lease_b);
    assert_eq!((rig.accounting("a").delivered, rig.accounting("b").delivered), (1, 1));
}

fn i15_the_start_of_a_lease_that_has_ended_is_refused_and_of_no_suspect_nothing(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub_a = sub(&rig, "a", 1);
    let id = rig.append(&[("", "1")]).remove(0);
    let lease = rig.take_one(&sub_a);
    rig.get(sub_a.start(lease.token));
    rig.refused(crate::error::Kind::NotFound, sub_a.start(LeaseToken(u64::MAX)));
    let Some(rig) = again(rig, true) else { return };
    assert_eq!(attempts(&rig, &id), [], "what was no suspect was not counted");
    assert_eq!(begin(&rig, &sub(&rig, "a", 1), 0).record.id, id);
}

fn i15_a_clean_stop_makes_no_suspects_and_counts_nothing(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    let sub_a = sub(&rig, "a", 2);
    let ids = rig.append(&[("", "1"), ("", "2")]);
    rig.take(&sub_a, 1);
    let Some(rig) = again(rig, false) else { return };
    let sub_a = sub(&rig, "a", 2);
    assert!(rig.take(&sub_a, 2).iter().all(|lease| !lease.suspect));
    let Some(rig) = again(rig, true) else { return };
    begin(&rig, &sub(&rig, "a", 2), 0);
    let Some(rig) = again(rig, false) else { return };
    let lease = begin(&rig, &sub(&rig, "a", 2), 0);
    assert_eq!((lease.record.attempt, attempts(&rig, &ids[0])), (1, vec![]), "still to be tried alone, not counted");
}

fn i15_the_settlement_of_a_suspect_survives_a_crash_at_once(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 2);
    rig.append(&[("", "1"), ("", "2")]);
    let Some(rig) = again(rig, true) else { return };
    let sub_a = sub(&rig, "a", 2);
    rig.done(&sub_a, &begin(&rig, &sub_a, 0));
    let Some(rig) = again(rig, true) else { return };
    let lease = begin(&rig, &sub(&rig, "a", 2), 0);
    assert_eq!((values(std::slice::from_ref(&lease)), rig.accounting("a").delivered), (vec!["2"], 1));
}

fn i15_counts_survive_stops_of_either_kind(harness: &dyn Harness) {
    let rig = Rig::new(harness);
    sub(&rig, "a", 1);
    let mut last = batch(&[("", "1")]);
    last.target = Some(target("a"));
    let id = rig.get(rig.queue.append(last)).ids.remove(0);
    let Some(rig) = again(rig, true) else { return };
    begin(&rig, &sub(&rig, "a", 1), 0);
    let Some(rig) = again(rig, true) else { return };
    let Some(rig) = again(rig, false) else { return };
    let Some(rig) = again(rig, true) else { return };
    let lease = begin(&rig, &sub(&rig, "a", 1), 1);
    assert_eq!((lease.record.attempt, lease.spent), (2, 1));
    rig.is(&id, "a", State::InFlight);
    assert_eq!(attempts(&rig, &id), [(1, HOST_CRASH.to_owned())]);
}
