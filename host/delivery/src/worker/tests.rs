//! The worker on the reference queue, scripted targets and a simulated clock.

use super::*;
use crate::observer::{BatchReport, Ending};
use crate::policy::{BatchPolicy, BreakerPolicy, Jitter, RetryPolicy};
use crate::status::TargetState;
use parking_lot::Mutex;
use std::future::Future;
use walhost_core::attempt::Exhausted;
use walhost_core::inspect::{DeadLetter, DeadLetterFilter};
use walhost_core::queue::{From, Queue, QueuePolicy, TargetStats};
use walhost_core::testkit::{MemoryQueue, Scripted, queue_suite};
use walhost_core::time::SimClock;
use walhost_core::{BatchBuilder, Digest, Error, Failure, Inspect, RecordId, Target, Transform};

mod attempts;
mod batches;
mod control;
mod suspects;
mod sim;

/// What the observer heard.
#[derive(Default)]
struct Heard {
    /// Id, attempt, ending, generation of every record of every batch.
    records: Mutex<Vec<(String, u32, Ending, u64)>>,
    faults: Mutex<Vec<(u64, u32)>>,
    digests: Mutex<Vec<Option<Digest>>>,
    latencies_ms: Mutex<Vec<u64>>,
    paused: Mutex<Vec<PauseReason>>,
    breaker: Mutex<Vec<Option<String>>>,
    settle_failures: Mutex<usize>,
}

impl Observer for Heard {
    fn batch(&self, report: &BatchReport<'_>) {
        for record in report.records {
            let seen = (record.record.id.to_string(), record.record.attempt, record.ending, report.generation);
            self.records.lock().push(seen);
            self.digests.lock().push(record.digest);
            self.latencies_ms.lock().extend(record.latency_ms);
        }
        self.faults.lock().push((report.generation, report.faults));
    }
    fn paused(&self, _: &NamespaceName, _: &TargetName, reason: &PauseReason) {
        self.paused.lock().push(reason.clone());
    }
    fn breaker(&self, _: &NamespaceName, _: &TargetName, open: Option<&str>) {
        self.breaker.lock().push(open.map(str::to_owned));
    }
    fn settle_failed(&self, _: &NamespaceName, _: &TargetName, _: &Error) {
        *self.settle_failures.lock() += 1;
    }
}

/// One worker in its world.
struct World {
    clock: Arc<SimClock>,
    queue: MemoryQueue,
    heard: Arc<Heard>,
    random: Arc<Random>,
}

fn name() -> TargetName {
    TargetName::new("t").expect("a good name")
}

fn pipeline(generation: u64, target: &Arc<Scripted>) -> Arc<Pipeline> {
    let target: Arc<dyn Target> = target.clone();
    Arc::new(Pipeline { generation, transform: None, target: Some(target) })
}

fn with_transform(generation: u64, transform: impl Transform + 'static, target: &Arc<Scripted>) -> Arc<Pipeline> {
    let target: Arc<dyn Target> = target.clone();
    Arc::new(Pipeline { generation, transform: Some(Arc::new(transform)), target: Some(target) })
}

/// Fast, and without chance.
fn policy() -> Policy {
    let retry = RetryPolicy {
        initial_ms: 100,
        max_interval_ms: 10_000,
        jitter: Jitter::None,
        max_attempts: 4,
        ..RetryPolicy::default()
    };
    let breaker = BreakerPolicy { failures: 5, rejects: 10, open_ms: 1_000, max_open_ms: 8_000 };
    let batch = BatchPolicy { records: 8, bytes: 1024 * 1024, linger_ms: 0 };
    Policy { retry, breaker, batch, concurrency: 4, rate: None }
}

impl World {
    fn new() -> World {
        World::ordered(false)
    }

    fn ordered(ordered: bool) -> World {
        let clock = Arc::new(SimClock::new(1_700_000_000_000));
        let queue =
            MemoryQueue::new(clock.clone(), QueuePolicy { ordered, history_ms: 1_000, ..queue_suite::policy() });
        World { clock, queue, heard: Arc::default(), random: Arc::new(Random::seeded(7)) }
    }

    async fn start(&self, pipeline: Arc<Pipeline>, policy: Policy) -> Worker {
        let subscription = self.queue.subscribe(&name(), From::Latest).await.expect("open");
        Worker::start(WorkerSpec {
            namespace: NamespaceName::new("n").expect("a good name"),
            target: name(),
            subscription,
            pipeline,
            policy,
            paused: None,
            clock: self.clock.clone(),
            random: self.random.clone(),
            observer: self.heard.clone(),
        })
    }

    async fn append(&self, keys_and_values: &[(&str, &str)]) -> Vec<RecordId> {
        let mut builder = BatchBuilder::default();
        for (key, value) in keys_and_values {
            let key = (!key.is_empty()).then_some(key.as_bytes());
            builder.record(key, &walhost_core::Headers::default(), value.as_bytes());
        }
        self.queue.append(builder.build().expect("some")).await.expect("room").ids
    }

    async fn append_many(&self, count: usize) -> Vec<RecordId> {
        let values: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        self.append(&values.iter().map(|value| ("", value.as_str())).collect::<Vec<_>>()).await
    }

    /// Lets everything happen that can happen now.
    async fn settle(&self) {
        for _ in 0..60 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets so much time pass, from one sleeper to the next.
    async fn pass(&self, ms: u64) {
        let end = self.clock.monotonic() + Duration::from_millis(ms);
        loop {
            self.settle().await;
            let left = end.saturating_sub(self.clock.monotonic());
            match self.clock.next_wake() {
                Some(next) if next < left => self.clock.advance(next.max(Duration::from_micros(1))),
                _ => {
                    self.clock.advance(left);
                    return self.settle().await;
                }
            }
        }
    }

    fn stats(&self) -> TargetStats {
        let stats = self.queue.stats().targets[&name()];
        assert!(stats.accounting.balances(), "I12: {:?}", stats.accounting);
        stats
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        self.queue.dead_letters(&DeadLetterFilter::default(), None, 1_000).await.expect("open").items
    }
}

/// Runs a simulated world to its end.
fn simulate(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(run);
}
