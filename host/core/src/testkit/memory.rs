//! The reference queue: `Queue`, `Subscription` and `Inspect` in memory, in the fewest lines that keep every
//! guarantee of the ports but one: nothing survives the process.
//!
//! In: a clock. Out: `MemoryQueue`. Everything happens under one lock, in `memory::state`; what changes with
//! time alone is brought up to date by `State::tick` before anything else is looked at.

use crate::batch::RecordBatch;
use crate::error::{Error, Kind, Result};
use crate::name::TargetName;
use crate::queue::{
    Appended, Capability, From, Lease, LeaseRequest, LeaseToken, Queue, QueuePolicy, QueueStats, Settlement,
    Subscription,
};
use crate::random::Random;
use crate::time::Clock;
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

mod state;
mod progress;
mod letters;
mod inspect;

use state::{Now, State};

/// A queue in memory. Clones are the same queue.
#[derive(Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    random: Random,
    capability: Capability,
    state: Mutex<State>,
    /// Something may be ready that was not.
    changed: Notify,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new(clock: Arc<dyn Clock>, policy: QueuePolicy) -> MemoryQueue {
        let capability = Capability {
            kind: "memory",
            durability: "none",
            durable: false,
            ordered: true,
            batch_atomic: true,
            attempts_durable: false,
            accounting_durable: false,
            idempotency: true,
            find: true,
            cancel: true,
            peek: true,
            suspects: true,
            delay_ms_max: None,
            record_bytes_max: crate::limits::RECORD_BYTES_HARD_MAX as u64,
            batch_bytes_max: crate::limits::BATCH_BYTES_HARD_MAX as u64,
        };
        let state = Mutex::new(State::new(policy));
        let random = Random::seeded(1);
        MemoryQueue { shared: Arc::new(Shared { clock, random, capability, state, changed: Notify::new() }) }
    }

    /// From now on settling is refused with `Unavailable`, or no longer: as when dead letters cannot be
    /// written.
    pub fn refuse_settlements(&self, on: bool) {
        self.shared.state.lock().settling_refused = on;
    }

    /// Ends all leases, as if the host had crashed and come back with everything saved.
    pub fn end_leases(&self) {
        self.shared.state.lock().end_leases();
        self.shared.changed.notify_waiters();
    }

    /// As after an unclean stop of the host, with everything saved: all leases end, what may have been in
    /// flight is suspect, and starts without an end count.
    pub fn crash(&self) {
        let (mut state, now) = self.state();
        state.targets.values_mut().for_each(|progress| progress.crash(&now));
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// The state of now.
    fn state(&self) -> (MutexGuard<'_, State>, Now) {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> (MutexGuard<'_, State>, Now) {
        let now = Now { us: self.clock.now_us(), ms: self.clock.now_ms(), monotonic: self.clock.monotonic() };
        let mut state = self.state.lock();
        state.tick(&now);
        (state, now)
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(Kind::Closed, operation, "the queue is closed")
}

#[async_trait]
impl Queue for MemoryQueue {
    fn capability(&self) -> &Capability {
        &self.shared.capability
    }

    async fn append(&self, batch: RecordBatch) -> Result<Appended> {
        let (mut state, now) = self.state();
        let appended = state.append(&batch, &now, &self.shared.random);
        drop(state);
        self.shared.changed.notify_waiters();
        appended
    }

    async fn subscribe(&self, target: &TargetName, from: From) -> Result<Arc<dyn Subscription>> {
        let (mut state, now) = self.state();
        if state.closed {
            return Err(closed("queue.subscribe"));
        }
        state.subscribe(target, from, &now);
        Ok(Arc::new(MemorySubscription { shared: self.shared.clone(), target: target.clone() }))
    }

    async fn unsubscribe(&self, target: &TargetName) -> Result<u64> {
        let (mut state, now) = self.state();
        let cancelled = state.unsubscribe(target, &now);
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(cancelled)
    }

    fn configure(&self, policy: &QueuePolicy) -> Result<()> {
        self.state().0.policy = policy.clone();
        self.shared.changed.notify_waiters();
        Ok(())
    }

    fn stats(&self) -> QueueStats {
        let (state, now) = self.state();
        state.stats(&now)
    }

    async fn close(&self) -> Result<()> {
        self.state().0.closed = true;
        self.shared.changed.notify_waiters();
        Ok(())
    }
}

struct MemorySubscription {
    shared: Arc<Shared>,
    target: TargetName,
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>> {
        let deadline = self.shared.clock.monotonic() + request.wait();
        loop {
            // Enabled before the state is looked at: a change in between is not missed.
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let sleep = {
                let (mut state, now) = self.shared.state();
                let closed_now = state.closed;
                let Some(progress) = state.subscribed(&self.target).filter(|_| !closed_now) else {
                    return Err(closed("subscription.lease"));
                };
                let next = progress.next_change(&now);
                let leases = state.lease(&self.target, &request, &now);
                if !leases.is_empty() || now.monotonic >= deadline {
                    return Ok(leases);
                }
                (deadline - now.monotonic).min(next.unwrap_or(Duration::MAX))
            };
            tokio::select! {
                () = changed => {}
                () = self.shared.clock.sleep(sleep) => {}
            }
        }
    }

    fn extend(&self, tokens: &[LeaseToken], visibility_ms: u64) {
        let (mut state, now) = self.shared.state();
        if let Some(progress) = state.subscribed(&self.target) {
            progress.extend(tokens, now.monotonic + Duration::from_millis(visibility_ms));
        }
    }

    async fn settle(&self, settlements: Vec<(LeaseToken, Settlement)>) -> Result<()> {
        let (mut state, now) = self.shared.state();
        if state.settling_refused {
            let detail = "the queue cannot settle at the moment";
            return Err(Error::new(Kind::Unavailable, "subscription.settle", detail));
        }
        for (token, settlement) in settlements {
            state.settle(&self.target, token, settlement, &now);
        }
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    fn park(&self, on: bool) {
        if let Some(progress) = self.shared.state().0.subscribed(&self.target) {
            progress.parking = on;
        }
    }

    fn in_flight_max(&self, records: usize) {
        if let Some(progress) = self.shared.state().0.subscribed(&self.target) {
            progress.in_flight_max = records;
        }
    }

    async fn start(&self, token: LeaseToken) -> Result<()> {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            {
                let (mut state, now) = self.shared.state();
                if state.start(&self.target, token, &now)? {
                    return Ok(());
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests;
