//! The behaviour suite of all queues, on this one.
//!
//! In: policies. Out: queues on one simulated log.

use super::world::World;
use crate::backend::EmbeddedConfig;
use std::cell::RefCell;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::queue::{QueueContext, QueuePolicy};
use walhost_core::testkit::queue_suite::{self, Harness};
use walhost_core::{Clock, NamespaceName, Queue};

struct Suite {
    world: RefCell<World>,
    opened: RefCell<Vec<(Arc<dyn Queue>, QueueContext)>>,
}

impl Suite {
    fn get(&self, context: QueueContext) -> Arc<dyn Queue> {
        let mut world = self.world.borrow_mut();
        let embedded = world.embedded();
        let queue = world.wait(QueueBackend::open(&*embedded, context.clone(), EmbeddedConfig::default())).unwrap();
        self.opened.borrow_mut().push((Arc::clone(&queue), context));
        queue
    }
}

impl Harness for Suite {
    fn open(&self, policy: &QueuePolicy) -> Arc<dyn Queue> {
        let namespace = NamespaceName::new(&format!("n{}", self.opened.borrow().len())).unwrap();
        self.get(QueueContext { namespace, policy: policy.clone() })
    }

    fn now_ms(&self) -> u64 {
        self.world.borrow().clock.now_ms()
    }

    fn advance(&self, ms: u64) {
        let mut world = self.world.borrow_mut();
        world.advance(ms);
        world.embedded().keep().unwrap();
        world.step();
    }

    fn step(&self) {
        self.world.borrow_mut().step();
        std::thread::yield_now();
    }

    fn reopen(&self, queue: Arc<dyn Queue>, crashed: bool) -> Option<Arc<dyn Queue>> {
        let context = self.opened.borrow().iter().find(|(one, _)| Arc::ptr_eq(one, &queue)).map(|(_, c)| c.clone())?;
        {
            let mut world = self.world.borrow_mut();
            if crashed {
                world.end(true);
            } else {
                world.close().unwrap();
            }
            world.open().unwrap();
        }
        Some(self.get(context))
    }
}

#[test]
fn the_embedded_queue_keeps_every_sentence_of_the_suite() {
    let mut world = World::new(1, 1 << 20, None);
    world.open().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _runtime = runtime.enter();
    queue_suite::run(&Suite { world: RefCell::new(world), opened: RefCell::default() });
    assert!(queue_suite::tests().len() > 60);
}
