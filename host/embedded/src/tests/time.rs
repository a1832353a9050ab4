//! Records that wait for a time: delays near and far, jitter, and a time of day that somebody sets.
//!
//! In: a world with one namespace. Out: what is handed out, and when.

use super::moves::{LONG_MS, Rig, values};
use std::time::Duration;
use walhost_core::inspect::State;
use walhost_core::{BatchBuilder, RecordId};

impl Rig {
    fn append_due(&mut self, values: &[&str], after_ms: u64, jitter_ms: u64) -> Vec<RecordId> {
        let mut builder = BatchBuilder::default();
        for value in values {
            builder.record_with(None, std::iter::empty::<(&str, &[u8])>(), value.as_bytes());
        }
        let mut batch = builder.build().unwrap();
        (batch.due_ms, batch.jitter_ms) = (Some(self.now_ms() + after_ms), jitter_ms);
        let queue = self.queue();
        self.world.wait(queue.append(batch)).unwrap().ids
    }
}

#[test]
fn i20_a_clock_that_is_set_forward_makes_due_what_is_due_by_it_and_ends_no_lease() {
    let mut rig = Rig::new(21, false);
    rig.append(&[("", "leased"), ("", "short"), ("", "long")]);
    let leases = rig.lease();
    rig.retry(&leases[1], 2_000);
    rig.retry(&leases[2], LONG_MS);
    rig.append_due(&["delayed"], LONG_MS - 1, 0);
    rig.append_due(&["tomorrow"], 24 * LONG_MS, 0);
    rig.keep();
    rig.world.clock.jump_to_ms(rig.now_ms() + LONG_MS);
    let mut found = values(&rig.lease());
    found.sort();
    assert_eq!(found, ["delayed", "long", "short"]);
    rig.world.clock.advance(Duration::from_millis(5_000));
    assert!(values(&rig.lease()).contains(&"leased".to_owned()), "a lease ends by monotonic time");
}

#[test]
fn i20_a_clock_that_is_set_back_makes_nothing_early_and_nothing_stalls() {
    let mut rig = Rig::new(22, false);
    rig.append(&[("", "retried")]);
    let leases = rig.lease();
    rig.retry(&leases[0], 1_000);
    let due_ms = rig.now_ms() + 500;
    rig.append_due(&["delayed"], 500, 0);
    rig.world.clock.jump_to_ms(rig.now_ms() - LONG_MS);
    assert!(rig.lease().is_empty());
    rig.append(&[("", "fresh")]);
    let fresh = rig.lease();
    assert_eq!(values(&fresh), ["fresh"], "what has no time of its own does not wait for one");
    assert!(fresh[0].record.sequence > leases[0].record.sequence, "sequences grow nevertheless");
    rig.done(&fresh[0]);
    rig.keep();
    rig.crash();
    while rig.now_ms() < due_ms {
        assert!(rig.lease().is_empty(), "I20");
        let left = due_ms - rig.now_ms();
        rig.world.clock.advance(Duration::from_millis(left.min(600_000)));
        rig.keep();
    }
    rig.world.advance(2_000);
    let mut found = values(&rig.lease());
    found.sort();
    assert_eq!(found, ["delayed", "retried"]);
}

#[test]
fn i20_jitter_is_found_again_after_a_restart_and_no_record_of_the_batch_is_early() {
    let mut rig = Rig::new(23, false);
    let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let due_ms = rig.now_ms() + 90_000;
    let ids = rig.append_due(&all, 90_000, 10_000);
    let before: Vec<_> = ids.iter().map(|id| rig.state(id).due_ms.unwrap()).collect();
    assert!(before.iter().all(|at| (due_ms..=due_ms + 10_000).contains(at)));
    for snapshot in [false, true] {
        if snapshot {
            rig.world.embedded().snapshot().unwrap();
        }
        rig.crash();
        let after: Vec<_> = ids.iter().map(|id| rig.state(id).due_ms.unwrap()).collect();
        assert_eq!(before, after);
    }
    rig.world.advance(due_ms - rig.now_ms() - 1);
    let mut found = 0;
    for _ in 0..=10_001 {
        for lease in rig.lease() {
            let at = ids.iter().position(|id| *id == lease.record.id).unwrap();
            assert_eq!(before[at], rig.now_ms(), "neither early nor late");
            found += 1;
            rig.done(&lease);
        }
        rig.world.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(found, 50);
}

#[test]
fn cancel_and_reschedule_work_on_near_and_far_delays_before_and_after_a_restart() {
    for (crash, snapshot) in [(false, false), (true, false), (true, true)] {
        let mut rig = Rig::new(24, false);
        let near = rig.append_due(&["n0", "n1", "n2"], 2_000, 0);
        let far = rig.append_due(&["f0", "f1", "f2"], 10 * LONG_MS, 0);
        if snapshot {
            rig.world.embedded().snapshot().unwrap();
        }
        if crash {
            rig.crash();
        }
        let queue = rig.queue();
        for id in [&near[0], &far[0]] {
            rig.world.wait(queue.cancel(id)).unwrap();
        }
        let (late_ms, soon_ms) = (rig.now_ms() + 20 * LONG_MS, rig.now_ms() + 1_000);
        rig.world.wait(queue.reschedule(&near[1], late_ms)).unwrap();
        rig.world.wait(queue.reschedule(&far[1], soon_ms)).unwrap();
        rig.keep();
        assert_eq!(rig.moved(), 1, "what waits for long since it was told to");
        if snapshot {
            rig.world.embedded().snapshot().unwrap();
        }
        if crash {
            rig.crash();
        }
        let state = rig.state(&near[1]);
        assert_eq!((state.state, state.due_ms), (State::Scheduled, Some(late_ms)));
        rig.world.advance(soon_ms - rig.now_ms());
        let found = rig.lease();
        assert_eq!(values(&found), ["f1"]);
        rig.done(&found[0]);
        rig.world.advance(1_000);
        let found = rig.lease();
        assert_eq!(values(&found), ["n2"]);
        rig.done(&found[0]);
        rig.world.advance(10 * LONG_MS);
        let found = rig.lease();
        assert_eq!(values(&found), ["f2"]);
        rig.done(&found[0]);
        rig.world.advance(10 * LONG_MS);
        let found = rig.lease();
        assert_eq!(values(&found), ["n1"]);
        rig.done(&found[0]);
        assert_eq!(rig.queue().stats().backlog_records, 0);
        rig.balanced();
    }
}
