//! Order by key (I19) where keys are held for long, parked, brought back, and the power is cut in between.
//!
//! In: a world with one ordered namespace. Out: the order in which records are handed out.

use super::moves::{LONG_MS, Rig, values};
use walhost_core::inspect::{DeadLetterFilter, State};
use walhost_core::queue::QueuePolicy;
use walhost_core::testkit::queue_suite::policy;

/// Delivers one after another until nothing is left, with a crash before every n-th.
fn drain(rig: &mut Rig, crash_every: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        if crash_every > 0 && all.len() % crash_every == 0 {
            rig.world.flush();
            rig.crash();
        }
        let leases = rig.lease();
        if leases.is_empty() {
            return all;
        }
        for lease in &leases {
            all.extend(values(std::slice::from_ref(lease)));
            rig.done(lease);
        }
    }
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

fn keyed(names: &[String]) -> Vec<(&str, &str)> {
    names.iter().map(|name| ("k", name.as_str())).collect()
}

#[test]
fn i19_those_behind_a_key_that_is_held_for_long_are_moved_in_order_and_others_flow() {
    for crash_every in [0, 1, 7] {
        let mut rig = Rig::new(11, true);
        let first = names(0, 30);
        let ids = rig.append(&keyed(&first));
        let holder = rig.lease();
        assert_eq!(values(&holder), ["0"]);
        rig.retry(&holder[0], LONG_MS);
        assert!(rig.lease().is_empty());
        rig.keep();
        assert_eq!(rig.moved(), 30, "the holder and those behind it");
        rig.append(&[("l", "other")]);
        let other = rig.lease();
        assert_eq!(values(&other), ["other"]);
        rig.done(&other[0]);
        let later = names(30, 40);
        rig.append(&keyed(&later));
        assert!(rig.lease().is_empty());
        rig.keep();
        {
            let namespace = rig.namespace();
            let view = namespace.view.lock();
            assert_eq!((view.targets[0].held(), view.targets[0].waiting().3), (0, 39));
            assert!(view.targets[0].settled.floor() >= 30, "the floor has gone on");
        }
        rig.append(&keyed(&names(40, 43)));
        rig.crash();
        assert!(rig.lease().is_empty(), "a moved holder holds its key after a restart");
        assert_eq!(rig.state(&ids[0]).state, State::Retrying);
        assert_eq!(rig.state(&ids[5]).state, State::Held);
        rig.world.advance(LONG_MS);
        assert_eq!(drain(&mut rig, crash_every), names(0, 43), "crash every {crash_every}");
        assert_eq!(rig.queue().stats().backlog_records, 0);
        rig.balanced();
    }
}

#[test]
fn i19_a_holder_that_stays_where_it_is_goes_before_those_that_were_moved() {
    let mut rig = Rig::new(12, true);
    rig.append(&keyed(&names(0, 20)));
    for _ in 0..8 {
        let holder = rig.lease();
        assert_eq!(values(&holder), ["0"]);
        rig.retry(&holder[0], 9_000);
        rig.world.advance(9_000);
        rig.keep();
    }
    assert_eq!(rig.moved(), 19, "held for longer than half a minute");
    rig.crash();
    rig.world.advance(9_000);
    assert_eq!(drain(&mut rig, 3), names(0, 20));
}

#[test]
fn i19_cancelled_and_rescheduled_records_behind_a_held_key_leave_their_place() {
    for crash in [false, true] {
        let mut rig = Rig::new(13, true);
        let ids = rig.append(&keyed(&names(0, 10)));
        let holder = rig.lease();
        rig.retry(&holder[0], LONG_MS);
        assert!(rig.lease().is_empty());
        rig.keep();
        let queue = rig.queue();
        rig.world.wait(queue.cancel(&ids[3])).unwrap();
        let due_ms = rig.now_ms() + 500;
        rig.world.wait(queue.reschedule(&ids[5], due_ms)).unwrap();
        if crash {
            rig.crash();
        }
        assert_eq!((rig.state(&ids[3]).state, rig.state(&ids[5]).state), (State::Cancelled, State::Scheduled));
        rig.world.advance(LONG_MS);
        let mut found = drain(&mut rig, 0);
        assert_eq!(found.len(), 9);
        found.retain(|value| value != "5");
        assert_eq!(found, ["0", "1", "2", "4", "6", "7", "8", "9"]);
        rig.balanced();
    }
}

#[test]
fn i19_more_than_are_held_in_memory_wait_behind_one_key_and_others_are_read() {
    let mut rig = Rig::new(14, true);
    let count = 3 * crate::limits::HELD_MAX;
    rig.append(&keyed(&names(0, count)));
    let holder = rig.lease();
    assert_eq!(values(&holder), ["0"]);
    rig.retry(&holder[0], LONG_MS);
    rig.append(&[("l", "other")]);
    let mut found = Vec::new();
    for _ in 0..8 {
        found.extend(rig.lease());
        rig.keep();
    }
    assert_eq!(values(&found), ["other"], "reading went on past those that wait");
    rig.done(&found[0]);
    rig.world.flush();
    rig.crash();
    rig.world.advance(LONG_MS);
    assert_eq!(drain(&mut rig, 50), names(0, count));
}

#[test]
fn i19_a_parked_key_takes_its_moved_records_along_and_comes_back_whole() {
    for crash in [false, true] {
        let mut rig = Rig::new(15, true);
        rig.parking = true;
        rig.sub().park(true);
        rig.append(&keyed(&names(0, 20)));
        let holder = rig.lease();
        rig.retry(&holder[0], LONG_MS);
        assert!(rig.lease().is_empty());
        rig.keep();
        rig.append(&keyed(&names(20, 25)));
        rig.world.advance(LONG_MS);
        let holder = rig.lease();
        assert_eq!(values(&holder), ["0"]);
        rig.dead(&holder[0]);
        if crash {
            rig.crash();
        }
        for _ in 0..10 {
            assert!(rig.lease().is_empty(), "all of them follow");
            rig.world.flush();
        }
        let queue = rig.queue();
        let page = rig.world.wait(queue.dead_letters(&DeadLetterFilter::default(), None, 100)).unwrap();
        assert_eq!(page.items.len(), 25);
        if crash {
            rig.crash();
        }
        let queue = rig.queue();
        rig.append(&keyed(&names(25, 27)));
        rig.world.wait(queue.redrive(&[page.items[3].id.clone()])).unwrap();
        rig.append(&keyed(&names(27, 30)));
        if crash {
            rig.crash();
        }
        assert_eq!(drain(&mut rig, if crash { 4 } else { 0 }), names(0, 30));
        rig.balanced();
    }
}

#[test]
fn order_by_key_can_be_switched_off_and_on_while_records_wait() {
    let mut rig = Rig::new(16, true);
    rig.append(&keyed(&names(0, 10)));
    let holder = rig.lease();
    rig.retry(&holder[0], LONG_MS);
    assert!(rig.lease().is_empty());
    rig.keep();
    rig.append(&keyed(&names(10, 12)));
    rig.queue().configure(&QueuePolicy { ordered: false, ..policy() }).unwrap();
    let free = rig.lease();
    let mut all = values(&free);
    all.sort_by_key(|value| value.parse::<u64>().unwrap());
    assert_eq!(all, names(1, 12));
    rig.queue().configure(&QueuePolicy { ordered: true, ..policy() }).unwrap();
    rig.append(&keyed(&names(12, 14)));
    assert!(rig.lease().is_empty(), "the key is in use");
    free.iter().for_each(|lease| rig.done(lease));
    rig.ordered = true;
    rig.world.flush();
    rig.crash();
    rig.world.advance(LONG_MS);
    let mut rest = drain(&mut rig, 0);
    rest.sort_by_key(|value| value.parse::<u64>().unwrap());
    assert_eq!(rest, ["0", "12", "13"]);
    rig.balanced();
}
