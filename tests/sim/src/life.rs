//! One simulated life of a host: what producers, operators and the world do to it, by one seed.
//!
//! In: a seed, how long, how busy. Out: what happened; a panic where a promise does not hold.

use crate::books::Books;
use crate::host::Host;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::Clock;
use walhost_core::backend::QueueBackend;
use walhost_core::inspect::DeadLetterFilter;
use walhost_core::{BatchBuilder, Headers, Idempotency, Kind, NamespaceName, Queue, Random, RecordId};
use walhost_delivery::PauseReason;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub struct Happened(pub BTreeMap<&'static str, u64>);

impl Happened {
    pub fn count(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub fn add(&mut self, other: &Happened) {
        other.0.iter().for_each(|(what, times)| self.count(what, *times));
    }
}

/// How long and how busy.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Simulated milliseconds.
    pub ms: u64,
    /// Longest pause between two doings, in milliseconds.
    pub pause_ms: u64,
    /// Longest delay of a record, in milliseconds.
    pub delay_ms: u64,
    /// The process crashes now and then; without, nothing may come twice.
    pub crashes: bool,
    /// Progress moves when a record is handed out: the books must notice.
    pub planted: bool,
}

pub struct Life {
    pub host: Host,
    shape: Shape,
    dice: Random,
    values: u64,
    /// The newest records of each namespace, to be cancelled or moved.
    recent: BTreeMap<&'static str, Vec<RecordId>>,
    pub happened: Happened,
}

const QUEUES: [&str; 3] = ["orders", "events", "guest"];

/// Runs one life to its end.
pub async fn live(seed: u64, shape: Shape) -> Happened {
    let mut life = Life {
        host: Host::new(seed),
        shape,
        dice: Random::seeded(seed),
        values: 0,
        recent: BTreeMap::new(),
        happened: Happened::default(),
    };
    life.host.planted = shape.planted;
    life.host.open().await;
    let until = Duration::from_millis(shape.ms);
    while life.host.clock.monotonic() < until {
        life.step().await;
        life.host.check();
    }
    life.end().await;
    life.happened
}

impl Life {
    async fn step(&mut self) {
        match self.dice.below(100) {
            0..55 => self.append().await,
            55..60 => self.redrive().await,
            60..62 => self.purge().await,
            62..70 => self.cancel().await,
            70..78 => self.reschedule().await,
            78..81 => self.pause(),
            81..84 => self.resume(),
            84..87 => self.swap(),
            87 => self.jump(),
            88 => self.restart().await,
            89..91 if self.shape.crashes => self.crash().await,
            91 if self.dice.below(3) == 0 => self.remove().await,
            _ => {}
        }
        let ms = self.dice.below(self.shape.pause_ms);
        self.host.pass(ms).await;
    }

    fn any_queue(&self) -> (&'static str, Arc<dyn Queue>) {
        let name = QUEUES[self.dice.below(3) as usize];
        (name, Arc::clone(&self.host.queues[name]))
    }

    fn books(&self, namespace: &str) -> Vec<Arc<Books>> {
        let ours = self.host.lanes.iter().filter(|lane| lane.namespace.as_str() == namespace);
        ours.map(|lane| Arc::clone(&lane.books)).collect()
    }

    async fn append(&mut self) {
        let (name, queue) = self.any_queue();
        let mut builder = BatchBuilder::default();
        let count = 1 + self.dice.below(8);
        let delayed = name != "orders" && self.dice.below(4) == 0;
        for _ in 0..count {
            self.values += 1;
            let key = format!("key {}", self.dice.below(12));
            let chaff = if self.dice.below(10) == 0 { "chaff" } else { "grain" };
            let value = format!("{name} {} {} {chaff}", self.values, "x".repeat(self.dice.below(200) as usize));
            let key = (self.dice.below(4) > 0).then_some(key.as_bytes());
            builder.record(key, &Headers::default(), value.as_bytes());
        }
        let mut batch = builder.build().unwrap();
        let now_ms = self.host.clock.now_ms();
        if delayed {
            batch.due_ms = Some(now_ms + 1 + self.dice.below(self.shape.delay_ms));
            batch.jitter_ms = self.dice.below(2) * self.dice.below(2_000);
            self.happened.count("delayed", count);
        }
        if self.dice.below(5) == 0 {
            let number = self.dice.below(1 << 20) as u8;
            batch.idempotency = Some(Idempotency { key: [number; 16], content: [number; 16] });
        }
        let parts: Vec<_> = (0..batch.count()).map(|place| batch.parts(place)).collect();
        let due_ms = batch.due_ms.unwrap_or(0);
        match self.host.drive(queue.append(batch)).await {
            Ok(appended) if appended.deduplicated => self.happened.count("deduplicated", 1),
            Ok(appended) => {
                self.happened.count("appended", count);
                for books in self.books(name) {
                    for (id, (key, _, value)) in appended.ids.iter().zip(&parts) {
                        let key = (!key.is_empty()).then(|| key.clone());
                        books.accepted(id, key, value.clone(), due_ms);
                    }
                }
                let recent = self.recent.entry(name).or_default();
                recent.extend(appended.ids);
                let old = recent.len().saturating_sub(200);
                recent.drain(..old);
            }
            Err(error) => assert_eq!(error.kind(), Kind::QuotaExceeded, "{error}"),
        }
    }

    fn any_record(&self, name: &'static str) -> Option<RecordId> {
        let recent = self.recent.get(name).filter(|recent| !recent.is_empty())?;
        // Mostly one of the very newest: the older ones are delivered.
        let newest = if self.dice.below(4) > 0 { recent.len().min(8) } else { recent.len() };
        Some(recent[recent.len() - 1 - self.dice.below(newest as u64) as usize].clone())
    }

    async fn cancel(&mut self) {
        let (name, queue) = self.any_queue();
        let Some(id) = self.any_record(name) else { return };
        if self.host.drive(queue.cancel(&id)).await.is_ok() {
            self.happened.count("cancelled", 1);
        }
    }

    async fn reschedule(&mut self) {
        let (name, queue) = self.any_queue();
        // In order nothing is moved: the books would have to know where it takes its place.
        let Some(id) = self.any_record(name).filter(|_| name != "orders") else { return };
        let due_ms = self.host.clock.now_ms() + self.dice.below(self.shape.delay_ms);
        for books in self.books(name) {
            books.rescheduled(&id, 0);
        }
        if self.host.drive(queue.reschedule(&id, due_ms)).await.is_ok() {
            self.happened.count("rescheduled", 1);
        }
    }

    async fn redrive(&mut self) {
        let (_, queue) = self.any_queue();
        let page = self.host.drive(queue.dead_letters(&DeadLetterFilter::default(), None, 100)).await.unwrap();
        let mut ids: Vec<_> = page.items.into_iter().map(|letter| letter.id).collect();
        ids.retain(|_| self.dice.below(2) == 0);
        let moved = self.host.drive(queue.redrive(&ids)).await.unwrap();
        self.happened.count("redriven", moved);
    }

    async fn purge(&mut self) {
        let (_, queue) = self.any_queue();
        let page = self.host.drive(queue.dead_letters(&DeadLetterFilter::default(), None, 3)).await.unwrap();
        let ids: Vec<_> = page.items.into_iter().map(|letter| letter.id).collect();
        let purged = self.host.drive(queue.purge(&ids)).await.unwrap();
        self.happened.count("purged", purged);
    }

    fn pause(&mut self) {
        let at = self.dice.below(self.host.lanes.len() as u64) as usize;
        if let Some(worker) = &self.host.lanes[at].worker {
            worker.pause(PauseReason::Operator);
            self.happened.count("paused", 1);
        }
    }

    fn resume(&mut self) {
        self.host.lanes.iter().filter_map(|lane| lane.worker.as_ref()).for_each(|worker| worker.resume());
    }

    fn swap(&mut self) {
        let at = self.dice.below(self.host.lanes.len() as u64) as usize;
        let pipeline = self.host.lanes[at].pipeline();
        if let Some(worker) = &self.host.lanes[at].worker {
            worker.swap(pipeline);
            self.happened.count("swapped", 1);
        }
    }

    /// The time of day is set, forwards: by a time server, an operator, a machine that slept.
    fn jump(&mut self) {
        let now_ms = self.host.clock.now_ms();
        let back = self.dice.below(3) == 0;
        let by_ms = self.dice.below(120_000);
        self.host.clock.jump_to_ms(if back { now_ms - by_ms } else { now_ms + by_ms });
        if back {
            // What was handed out just before arrives at a time of day at which it is not due.
            for lane in &self.host.lanes {
                lane.books.forgive_early(by_ms);
            }
        }
        self.happened.count(if back { "clock set back" } else { "clock set forward" }, 1);
    }

    async fn restart(&mut self) {
        self.host.close().await;
        self.happened.count("restarted", 1);
        self.host.open().await;
    }

    async fn crash(&mut self) {
        // In the middle of something.
        for _ in 0..self.dice.below(4) {
            self.append().await;
        }
        let ms = self.dice.below(60);
        self.host.pass(ms).await;
        let power = self.dice.below(2) == 0;
        self.host.crash(power).await;
        self.happened.count("crashed", 1);
        self.host.open().await;
    }

    /// A namespace goes with all it has, and one with its name comes.
    async fn remove(&mut self) {
        let name = "guest";
        for at in 0..self.host.lanes.len() {
            if self.host.lanes[at].namespace.as_str() == name {
                let worker = self.host.lanes[at].worker.take().unwrap();
                self.host.wait_for(worker.stop(Duration::from_secs(60))).await;
                let moody = &self.host.lanes[at].moody;
                let seed = self.dice.next_u64();
                self.happened.count("delivered before removal", moody.moods.lock().delivered);
                let lane = crate::lane::Lane::new(name, "sink", false, false, &self.host.clock, seed);
                self.host.lanes[at] = lane;
            }
        }
        let embedded = Arc::clone(self.host.embedded.as_ref().unwrap());
        let namespace = NamespaceName::new(name).unwrap();
        self.host.queues.remove(name);
        self.recent.remove(name);
        self.host.drive(QueueBackend::remove(&*embedded, &namespace)).await.unwrap();
        self.happened.count("removed", 1);
        self.host.make(name).await;
    }

    /// All is well from now on: everything must arrive, or have an end with a name.
    async fn end(&mut self) {
        self.resume();
        for lane in &self.host.lanes {
            *lane.moody.well.lock() = true;
        }
        for round in 0..400 {
            self.resume();
            self.host.pass(self.shape.delay_ms / 50 + 5_000).await;
            let pending = |queue: &Arc<dyn Queue>| {
                queue.stats().targets.values().map(|target| target.accounting.pending).sum::<u64>()
            };
            let left: u64 = self.host.queues.values().map(pending).sum();
            if left == 0 {
                break;
            }
            assert!(round < 399, "{left} are left");
        }
        self.host.check();
        let (mut arrived, mut duplicates) = (0, 0);
        for lane in &self.host.lanes {
            let whose = format!("{}/{}", lane.namespace, lane.target);
            let counters = self.host.queues[lane.namespace.as_str()].stats().targets[&lane.target].accounting;
            lane.books.check_end(&whose, &counters);
            if lane.target.as_str() == "strict" {
                lane.books.check_order(&whose);
            }
            let (one, twice) = lane.books.counts();
            arrived += one;
            duplicates += twice;
            let moods = *lane.moody.moods.lock();
            let moods = [
                ("target down", moods.down),
                ("target failed", moods.failed),
                ("target throttled", moods.throttled),
                ("target rejected", moods.rejected),
                ("plugin broke", moods.broken),
                ("target slow", moods.slow),
                ("expired", counters.expired),
                ("filtered", counters.filtered),
                ("dead", counters.dead),
            ];
            moods.into_iter().for_each(|(what, times)| self.happened.count(what, times));
        }
        self.happened.count("arrived", arrived);
        self.happened.count("came twice", duplicates);
        let embedded = self.host.embedded.as_ref().unwrap();
        self.happened.count("segments recycled", embedded.stats().recycled);
        let simulated = self.host.clock.monotonic().as_secs();
        self.happened.count("simulated seconds", simulated);
    }
}
