//! The reference keeps every sentence of the suite.

use super::MemoryQueue;
use crate::queue::{Queue, QueuePolicy};
use crate::testkit::queue_suite::{self, Harness};
use crate::time::{Clock, SimClock};
use std::sync::Arc;
use std::time::Duration;

struct Memory(Arc<SimClock>);

impl Harness for Memory {
    fn open(&self, policy: &QueuePolicy) -> Arc<dyn Queue> {
        Arc::new(MemoryQueue::new(self.0.clone(), policy.clone()))
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
    queue_suite::run(&Memory(Arc::new(SimClock::new(1_700_000_000_000))));
    assert!(queue_suite::tests().len() > 60);
}
