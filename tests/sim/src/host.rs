//! A simulated host: opens, crashes, passes time from one sleeper to the next.
//!
//! In: a seed. Out: queues and workers that run on one thread and one clock.

use crate::lane::Lane;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::backend::QueueBackend;
use walhost_core::disk::SimDisk;
use walhost_core::queue::{QueueContext, QueuePolicy};
use walhost_core::testkit::queue_suite;
use walhost_core::time::SimClock;
use walhost_core::{Clock, NamespaceName, Queue, Random};
use walhost_embedded::backend::EmbeddedConfig;
use walhost_embedded::{Embedded, EmbeddedOptions, Planted, Steps};
use walhost_log::{State, Step};

/// Namespaces, and whether they are ordered by key.
pub const NAMESPACES: [(&str, bool); 3] = [("orders", true), ("events", false), ("guest", false)];
/// Rounds of tasks and commits after which everything counts as settled that happens at one moment.
const ROUNDS: usize = 4;
const SEGMENT_BYTES: u32 = 128 * 1024;

pub struct Host {
    pub clock: Arc<SimClock>,
    pub disk: SimDisk,
    pub random: Arc<Random>,
    pub queues: BTreeMap<&'static str, Arc<dyn Queue>>,
    pub lanes: Vec<Lane>,
    pub embedded: Option<Arc<Embedded>>,
    steps: Option<Steps>,
    kept: Duration,
    /// Dead letters are kept for so long, in milliseconds.
    pub retention_ms: u64,
    pub planted: bool,
}

impl Host {
    pub fn new(seed: u64) -> Host {
        walhost_core::exec::inline_on_this_thread();
        let clock = Arc::new(SimClock::new(1_700_000_000_000));
        let lane =
            |namespace, target, patient, parks, at| Lane::new(namespace, target, patient, parks, &clock, seed ^ at);
        let mut lanes = vec![
            lane("orders", "strict", true, false, 1),
            lane("orders", "parking", false, true, 2),
            lane("events", "cache", false, false, 3),
            lane("events", "sieve", true, false, 4),
            lane("guest", "sink", false, false, 5),
        ];
        lanes[3].sieves = true;
        Host {
            clock,
            disk: SimDisk::new(seed ^ 77),
            random: Arc::new(Random::seeded(seed ^ 99)),
            queues: BTreeMap::new(),
            lanes,
            embedded: None,
            steps: None,
            kept: Duration::ZERO,
            retention_ms: 2 * 60 * 60 * 1_000,
            planted: false,
        }
    }

    /// Opens the log, the queues, the targets; starts the workers.
    pub async fn open(&mut self) {
        let options = EmbeddedOptions {
            min_free_bytes: 0,
            segment_bytes: SEGMENT_BYTES,
            planted: self.planted.then_some(Planted::SettledBeforeDelivered),
            ..EmbeddedOptions::new(PathBuf::from("/data"))
        };
        let clock: Arc<dyn Clock> = Arc::<SimClock>::clone(&self.clock);
        let opened = Embedded::open_stepped(options, Arc::new(self.disk.clone()), clock, Arc::clone(&self.random));
        let (embedded, steps) = opened.unwrap();
        assert_eq!(embedded.report().lost, 0, "{:?}", embedded.report());
        (self.embedded, self.steps) = (Some(embedded), Some(steps));
        for (name, _) in NAMESPACES {
            self.make(name).await;
        }
    }

    /// Opens one namespace and its targets.
    pub async fn make(&mut self, name: &'static str) {
        let ordered = NAMESPACES.iter().any(|(one, ordered)| *one == name && *ordered);
        let policy = QueuePolicy {
            ordered,
            dlq_retention_ms: self.retention_ms,
            history_ms: 60 * 60 * 1_000,
            idempotency_window_ms: 10 * 60 * 1_000,
            ..queue_suite::policy()
        };
        let context = QueueContext { namespace: NamespaceName::new(name).unwrap(), policy };
        let embedded = Arc::clone(self.embedded.as_ref().unwrap());
        let queue = self.drive(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).await.unwrap();
        self.queues.insert(name, Arc::clone(&queue));
        for at in 0..self.lanes.len() {
            if self.lanes[at].namespace.as_str() != name || self.lanes[at].ended {
                continue;
            }
            let mut lane = self.lanes.remove(at);
            let subscription = self.drive(lane.subscribe(&queue)).await;
            lane.start(subscription, &self.clock, &self.random);
            self.lanes.insert(at, lane);
        }
    }

    /// Commits what waits; true when there was something.
    fn step(&mut self) -> bool {
        let mut worked = false;
        if let Some(steps) = &mut self.steps {
            while matches!(steps.step(), Step::Worked) {
                worked = true;
            }
        }
        worked
    }

    /// Drives a future to its end while everything else goes on; time passes only where it must.
    pub async fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for round in 0_u64.. {
            tokio::select! {
                biased;
                value = &mut future => return value,
                () = tokio::task::yield_now() => {}
            }
            self.step();
            assert!(round < 100_000, "no answer");
            if round % 100 == 99 {
                self.clock.advance(Duration::from_millis(1));
            }
        }
        unreachable!("the loop has no end")
    }

    /// Lets everything happen that can happen now.
    pub async fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < ROUNDS {
            for _ in 0..6 {
                tokio::task::yield_now().await;
            }
            quiet = if self.step() { 0 } else { quiet + 1 };
        }
    }

    /// Lets so much time pass, from one sleeper to the next.
    pub async fn pass(&mut self, ms: u64) {
        let end = self.clock.monotonic() + Duration::from_millis(ms);
        loop {
            self.settle().await;
            let now = self.clock.monotonic();
            let left = end.saturating_sub(now);
            if left.is_zero() {
                return;
            }
            if now.saturating_sub(self.kept) >= Duration::from_secs(1) {
                self.kept = now;
                self.keep();
            }
            let waits = self.embedded.as_ref().is_some_and(|embedded| embedded.stats().queue_bytes > 0);
            let most = if waits { Duration::from_millis(50) } else { Duration::from_secs(1) };
            let next = self.clock.next_wake().unwrap_or(most).clamp(Duration::from_micros(1), most);
            self.clock.advance(next.min(left));
        }
    }

    fn keep(&mut self) {
        if let Some(embedded) = &self.embedded {
            embedded.keep().unwrap();
        }
    }

    /// The process is gone, by a power cut or just it.
    pub async fn crash(&mut self, power: bool) {
        self.check();
        for lane in &mut self.lanes {
            let queue = self.queues.get(lane.namespace.as_str());
            let in_flight = queue.and_then(|queue| queue.stats().targets.get(&lane.target).map(|one| one.in_flight));
            lane.books.crashed(self.clock.monotonic(), in_flight.unwrap_or(0));
            lane.worker = None;
        }
        if power {
            self.disk.crash()
        } else {
            self.disk.kill()
        }
        self.queues.clear();
        (self.embedded, self.steps) = (None, None);
        // Tasks of the dead process see that it is dead.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// An orderly end.
    pub async fn close(&mut self) {
        let workers: Vec<_> = self.lanes.iter_mut().filter_map(|lane| lane.worker.take()).collect();
        for worker in &workers {
            let stopping = worker.stop(Duration::from_secs(120));
            self.wait_for(stopping).await;
        }
        drop(workers);
        let embedded = self.embedded.take().unwrap();
        self.drive(embedded.close()).await.unwrap();
        self.settle().await;
        self.queues.clear();
        drop(embedded);
        self.steps = None;
        self.disk.kill();
    }

    /// Drives a future that waits for the clock.
    pub async fn wait_for<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            for _ in 0..200 {
                tokio::select! {
                    biased;
                    value = &mut future => return value,
                    () = tokio::task::yield_now() => {}
                }
                self.step();
            }
            self.clock.advance(Duration::from_millis(20));
        }
    }

    /// I12, I13, I3, I20 for every namespace and target.
    pub fn check(&self) {
        for lane in &self.lanes {
            let Some(queue) = self.queues.get(lane.namespace.as_str()) else { continue };
            let stats = queue.stats();
            let counters = stats.targets[&lane.target].accounting;
            lane.books.check(&format!("{}/{}", lane.namespace, lane.target), &counters);
        }
        let state = self.embedded.as_ref().map(|embedded| embedded.state());
        assert_eq!(state, Some(State::Ok));
    }
}
