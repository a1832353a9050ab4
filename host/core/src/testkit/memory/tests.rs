//! The reference keeps every sentence of the suite.

use super::MemoryQueue;
use crate::queue::{Queue, QueuePolicy};
use crate::testkit::queue_suite::{self, Harness};
use crate::time::{Clock, SimClock};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// With the bug that is planted in its queues, or none.
struct Memory(Arc<SimClock>, &'static str, RefCell<Vec<(Arc<dyn Queue>, MemoryQueue)>>);

fn memory(bug: &'static str) -> Memory {
    Memory(Arc::new(SimClock::new(1_700_000_000_000)), bug, RefCell::default())
}

impl Harness for Memory {
    fn open(&self, policy: &QueuePolicy) -> Arc<dyn Queue> {
        let queue = MemoryQueue::new(self.0.clone(), policy.clone());
        queue.state().0.numbers().2.planted = self.1;
        let opened: Arc<dyn Queue> = Arc::new(queue.clone());
        self.2.borrow_mut().push((Arc::clone(&opened), queue));
        opened
    }

    /// Nothing survives its process; but what an unclean stop does to what does can be shown.
    fn reopen(&self, queue: Arc<dyn Queue>, crashed: bool) -> Option<Arc<dyn Queue>> {
        let opened = self.2.borrow();
        let (_, memory) = opened.iter().find(|(one, _)| Arc::ptr_eq(one, &queue)).filter(|_| crashed)?;
        memory.crash();
        Some(queue)
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
    queue_suite::run(&memory(""));
    assert!(queue_suite::tests().len() > 60);
}

#[test]
fn each_planted_bug_is_caught_by_the_sentence_that_it_breaks() {
    for (bug, sentence) in [
        ("later is at once", "later_hides_until_due"),
        ("attempts are forgotten", "later_that_spends_goes_on_to_the_next_attempt"),
        ("keys have no order", "i19_a_key_hands_out_one_record_at_a_time_and_in_order"),
        ("leases are not exclusive", "a_record_is_leased_to_one_worker_at_a_time"),
        ("suspects go together", "i15_after_an_unclean_stop_what_may_have_been_in_flight_goes_alone"),
        ("dead letters are dropped", "dead_is_gone_from_the_leases_and_in_the_dead_letters"),
    ] {
        let harness = memory(bug);
        let run = std::panic::AssertUnwindSafe(|| queue_suite::run(&harness));
        let panic = std::panic::catch_unwind(run).expect_err(bug);
        let words = panic.downcast_ref::<String>().expect("the suite says what failed");
        assert!(words.contains(sentence), "{bug}: {words}");
    }
}
