//! One loaded plugin of one (namespace, target): its warm instances and its bound on them.
//!
//! In: jobs. Out: answers or faults. A job waits for its turn when all instances are busy; a fault costs
//! the instance, the next job gets a fresh one.

use crate::api::{Answer, Job};
use crate::compute::Compute;
use crate::engine::Room;
use crate::fault::Broken;
use crate::host::Context;
use crate::instance::{Bounds, Instance};
use crate::limits;
use crate::load::Loaded;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use walhost_core::Fault;

/// One loaded plugin.
pub(crate) struct Slot {
    room: Arc<Room>,
    compute: Arc<Compute>,
    loaded: Arc<Loaded>,
    pub context: Arc<Context>,
    pub bounds: Bounds,
    turns: Semaphore,
    /// Instances that wait for a job; the one used last is on top, and goes first.
    idle: Mutex<Vec<Instance>>,
}

impl Slot {
    /// Makes the slot and its first instance: a component that cannot start is refused here.
    pub async fn open(
        room: &Arc<Room>,
        compute: &Arc<Compute>,
        loaded: Arc<Loaded>,
        context: Arc<Context>,
        bounds: Bounds,
    ) -> Result<Arc<Slot>, Broken> {
        let slot = Arc::new(Slot {
            room: room.clone(),
            compute: compute.clone(),
            loaded,
            context,
            bounds,
            turns: Semaphore::new(bounds.instances as usize),
            idle: Mutex::new(Vec::new()),
        });
        let first = slot.try_instance().await?;
        slot.put_back(first);
        room.register(&slot);
        Ok(slot)
    }

    /// Makes an instance and runs its `init`.
    pub async fn try_instance(self: &Arc<Self>) -> Result<Instance, Broken> {
        let slot = self.clone();
        self.compute
            .run(async move { Instance::make(&slot.room, &slot.loaded.linked, &slot.context, slot.bounds).await })
            .await
    }

    /// Keeps an instance for the next job, unless it has served its time.
    pub fn put_back(&self, instance: Instance) {
        let mut idle = self.idle.lock();
        if instance.fresh(self.room.clock.monotonic()) && idle.len() < self.bounds.instances as usize {
            idle.push(instance);
        }
        drop(idle);
        if self.room.crowded() {
            self.evict_one();
        }
    }

    /// Runs one job, and what is to be done with its answer, where guests run.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        job: Job,
        read: impl FnOnce(&Job, Answer, &Bounds) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, Fault> {
        let _turn = self.turns.acquire().await.expect("this semaphore is never closed");
        let started = self.room.clock.monotonic();
        let mut counted = Counted { slot: self, started, records: job.records().len(), ending: "cancelled" };
        let slot = self.clone();
        let ended = self
            .compute
            .run(async move {
                let warm = slot.idle.lock().pop();
                let instance = match warm {
                    Some(instance) => instance,
                    None => Instance::make(&slot.room, &slot.loaded.linked, &slot.context, slot.bounds).await?,
                };
                let (answer, instance) = instance.call(&slot.room, &job).await;
                // What is malformed says that the guest is confused: its instance goes too.
                let read = answer.and_then(|answer| read(&job, answer, &slot.bounds))?;
                if let Some(instance) = instance {
                    slot.put_back(instance);
                }
                Ok(read)
            })
            .await;
        counted.ending = ended.as_ref().map_or_else(|broken: &Broken| broken.code, |_| "ok");
        ended.map_err(|broken| Fault {
            code: broken.code.to_owned(),
            message: walhost_core::attempt::clean(&broken.message, walhost_core::limits::MESSAGE_BYTES_MAX),
            digest: Some(self.context.digest),
            took: self.room.clock.monotonic().saturating_sub(started),
        })
    }

    /// Gives up the idle instance that waited longest, for another slot. True when there was one.
    pub fn evict_one(&self) -> bool {
        let mut idle = self.idle.lock();
        let evicted = (!idle.is_empty()).then(|| idle.remove(0));
        drop(idle);
        evicted.is_some()
    }

    /// Gives up the idle instances that nobody needed for a while.
    pub fn expire(&self) {
        let now = self.room.clock.monotonic();
        let idle_max = Duration::from_millis(limits::INSTANCE_IDLE_MS_MAX);
        let old: Vec<_> =
            self.idle.lock().extract_if(.., |instance| now.saturating_sub(instance.used_at()) > idle_max).collect();
        drop(old);
    }
}

/// Counts a call however it ends, also when nobody waits for it any more.
struct Counted<'a> {
    slot: &'a Slot,
    started: Duration,
    records: usize,
    ending: &'static str,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let took = self.slot.room.clock.monotonic().saturating_sub(self.started);
        self.slot.context.calls.ended(self.ending, self.records, took);
    }
}
