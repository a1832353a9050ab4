//! A view without a log: appends, settlements, losses, delays.
//!
//! In: frames and facts. Out: what the view makes of them.

use super::*;
use crate::frame::ALL_TARGETS;
use crate::frame::append::Delay;

fn view() -> View {
    let mut view = View::new(1, None, 1);
    for (target, name) in ["a", "b"].into_iter().enumerate() {
        view.apply(&Fact::Subscribed { target: target as u16, name: name.into(), from: 0 });
    }
    view
}

fn append(view: &mut View, first_offset: u64, count: u32) {
    let place = Place { segment: 1, position: 0, bytes: 10, log_sequence: first_offset };
    let meta = Meta { appended_at_ms: 1, epoch: 1, only: ALL_TARGETS, delay: None, idempotency: None };
    view.append(Landed { first_offset, count, first_sequence: 1, place }, &meta);
}

#[test]
fn an_append_that_fails_does_not_void_an_earlier_one_on_its_way() {
    let mut view = view();
    append(&mut view, 0, 2);
    view.skip(3, 2);
    assert_eq!(view.applied, 2);
    append(&mut view, 2, 1);
    assert_eq!((view.applied, view.targets[0].counters.accepted, view.backlog_records), (5, 3, 3));
    assert!(!view.targets[0].settled.contains(2) && view.targets[0].settled.contains(4));
}

#[test]
fn i06_a_lost_frame_takes_its_own_records_and_no_others_out_of_the_backlog() {
    let mut view = view();
    append(&mut view, 0, 3);
    append(&mut view, 3, 2);
    let done = |offset| Fact::Done { target: 0, offset, outcome: Done::Delivered, at_ms: 1, attempt: None };
    view.apply(&done(0));
    view.apply(&Fact::Done { target: 1, offset: 0, outcome: Done::Delivered, at_ms: 1, attempt: None });
    view.apply(&done(1));
    let extent = view.extents.find(1).unwrap();
    assert_eq!((view.backlog_records, view.lose(&extent), view.backlog_records), (4, 3, 2));
    assert_eq!((view.lose(&extent), view.extents.live_bytes()), (0, 10));
    assert!(view.targets.iter().all(|target| target.counters.balances()));
    view.recount();
    assert_eq!((view.backlog_records, view.extents.live_bytes()), (2, 10));
}

#[test]
fn i25_a_million_delayed_records_take_less_than_64_bytes_each_and_none_is_early() {
    const COUNT: u64 = 1_000_000;
    let mut view = View::new(1, None, 1);
    view.apply(&Fact::Subscribed { target: 0, name: "a".into(), from: 0 });
    let random = walhost_core::Random::seeded(12);
    let start_ms = 1_700_000_000_000;
    for offset in 0..COUNT {
        let delay = Delay { due_ms: start_ms + 1_000 + random.below(3_600_000), jitter_ms: 0 };
        let place = Place { segment: 1 + offset / 50_000, position: 0, bytes: 1_100, log_sequence: offset };
        let meta = Meta { appended_at_ms: 1, epoch: 1, only: ALL_TARGETS, delay: Some(delay), idempotency: None };
        let first_sequence = delay.due_ms * 1_000;
        view.append(Landed { first_offset: offset, count: 1, first_sequence, place }, &meta);
    }
    assert!(view.extents.besides().1.is_empty(), "heads and extents tell all");
    let bytes = view.extents.memory_bytes() + view.targets[0].waiting_bytes() as u64;
    assert!(bytes < 64 * COUNT, "{} bytes a record", bytes / COUNT);
    let due: Vec<u64> = (0..COUNT).filter_map(|offset| view.due_ms(offset)).collect();
    let mut found = 0;
    for step in 0..3_602 {
        let now_ms = start_ms + step * 1_000;
        let progress = &mut view.targets[0];
        loop {
            progress.advance(now_ms, 0);
            let Some(offset) = progress.ready.pop_first() else { break };
            assert!(due[offset as usize] <= now_ms && due[offset as usize] + 1_000 > now_ms, "I20");
            found += 1;
        }
    }
    assert_eq!((found, view.targets[0].waiting().2), (COUNT, 0));
}
