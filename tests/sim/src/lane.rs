//! One target of one namespace in a simulated host: worker, policy, books.
//!
//! In: a queue. Out: a worker that can be stopped, paused, swapped.

use crate::books::Books;
use crate::target::{Moods, Moody, sieve};
use parking_lot::Mutex;
use std::sync::Arc;
use walhost_core::queue::From;
use walhost_core::time::SimClock;
use walhost_core::{NamespaceName, Queue, Random, Target, TargetName};
use walhost_delivery::observer::Unobserved;
use walhost_delivery::{BatchPolicy, BreakerPolicy, OnExhausted, Pipeline, Policy, RetryPolicy, Worker, WorkerSpec};

pub struct Lane {
    pub namespace: NamespaceName,
    pub target: TargetName,
    pub books: Arc<Books>,
    pub moody: Arc<Moody>,
    pub sieves: bool,
    policy: Policy,
    pub worker: Option<Worker>,
    pub ended: bool,
    generation: u64,
}

impl Lane {
    /// `patient`: its records never die; `parks`: if one does, its key follows.
    pub fn new(namespace: &str, target: &str, patient: bool, parks: bool, clock: &Arc<SimClock>, seed: u64) -> Lane {
        let books = Arc::new(Books::default());
        let moody = Arc::new(Moody {
            clock: Arc::clone(clock),
            books: Arc::clone(&books),
            random: Random::seeded(seed),
            mood: seed << 16,
            patient,
            well: Mutex::new(false),
            moods: Mutex::new(Moods::default()),
        });
        let retry = RetryPolicy {
            initial_ms: 200,
            max_interval_ms: 120_000,
            max_attempts: if patient { 0 } else { 3 },
            max_age_ms: 0,
            on_exhausted: if parks { OnExhausted::Park } else { OnExhausted::DeadLetter },
            ..RetryPolicy::default()
        };
        let breaker = BreakerPolicy { failures: 5, rejects: 20, open_ms: 2_000, max_open_ms: 30_000 };
        let batch = BatchPolicy { records: 16, bytes: 1 << 20, linger_ms: if patient { 0 } else { 20 } };
        let policy = Policy { retry, breaker, batch, concurrency: 4, rate: None };
        Lane {
            namespace: NamespaceName::new(namespace).unwrap(),
            target: TargetName::new(target).unwrap(),
            books,
            moody,
            sieves: false,
            policy,
            worker: None,
            ended: false,
            generation: 0,
        }
    }

    pub fn pipeline(&mut self) -> Arc<Pipeline> {
        self.generation += 1;
        let target: Arc<dyn Target> = Arc::clone(&self.moody) as _;
        let transform = if self.sieves { Some(Arc::new(sieve()) as _) } else { None };
        Arc::new(Pipeline { generation: self.generation, transform, target: Some(target) })
    }

    pub async fn subscribe(&self, queue: &Arc<dyn Queue>) -> Arc<dyn walhost_core::Subscription> {
        let subscription = queue.subscribe(&self.target, From::Latest).await.unwrap();
        subscription.park(self.policy.retry.on_exhausted == OnExhausted::Park);
        subscription
    }

    pub fn start(
        &mut self,
        subscription: Arc<dyn walhost_core::Subscription>,
        clock: &Arc<SimClock>,
        random: &Arc<Random>,
    ) {
        let pipeline = self.pipeline();
        self.worker = Some(Worker::start(WorkerSpec {
            namespace: self.namespace.clone(),
            target: self.target.clone(),
            subscription,
            pipeline,
            policy: self.policy.clone(),
            paused: None,
            clock: Arc::clone(clock) as _,
            random: Arc::clone(random),
            observer: Arc::new(Unobserved),
        }));
    }
}
