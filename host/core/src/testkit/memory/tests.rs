//! The reference keeps every sentence of the suite.

use super::MemoryQueue;
use crate::queue::{Queue, QueuePolicy};
use crate::testkit::queue_suite::{self, Harness};
use crate::time::{Clock, SimClock};
use std::sync::Arc;
use std::time::Duration;

/// With the bug that is planted in its queues, or none.
struct Memory(Arc<SimClock>, &'static str);

impl Harness for Memory {
    fn open(&self, policy: &QueuePolicy) -> Arc<dyn Queue> {
        let queue = MemoryQueue::new(self.0.clone(), policy.clone());
        queue.state().0.numbers().2.planted = self.1;
        Arc::new(queue)
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn advance(&self, ms: u64) {
        self.0.advance(Duration::from_millis(ms));
    }

    fn step(&self) {}
}

#[test]
fn the_reference_keeps_every_sentence_of_the_suite() {
    queue_suite::run(&Memory(Arc::new(SimClock::new(1_700_000_000_000)), ""));
    assert!(queue_suite::tests().len() > 60);
}

#[test]
fn each_planted_bug_is_caught_by_the_sentence_that_it_breaks() {
    for (bug, sentence) in [
        ("later is at once", "later_hides_until_due"),
        ("attempts are forgotten", "later_that_spends_goes_on_to_the_next_attempt"),
        ("keys have no order", "i19_a_key_hands_out_one_record_at_a_time_and_in_order"),
        ("leases are not exclusive", "a_record_is_leased_to_one_worker_at_a_time"),
        ("dead letters are dropped", "dead_is_gone_from_the_leases_and_in_the_dead_letters"),
    ] {
        let harness = Memory(Arc::new(SimClock::new(1_700_000_000_000)), bug);
        let run = std::panic::AssertUnwindSafe(|| queue_suite::run(&harness));
        let panic = std::panic::catch_unwind(run).expect_err(bug);
        let words = panic.downcast_ref::<String>().expect("the suite says what failed");
        assert!(words.contains(sentence), "{bug}: {words}");
    }
}
