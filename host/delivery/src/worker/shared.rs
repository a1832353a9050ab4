//! What the handle, the loop and the batches of one worker share.
//!
//! In: orders from the handle, results of batches. Out: decisions for the loop, the status.

use super::WorkerSpec;
use crate::breaker::Breaker;
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::status::{BreakerStatus, LastError, PauseReason, SettleAlarm, TargetState, TargetStatus};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use walhost_core::{Clock, NamespaceName, Subscription, TargetName};

/// Shared by the handle, the loop and the batches in flight.
pub struct Shared {
    pub namespace: NamespaceName,
    pub target: TargetName,
    pub subscription: Arc<dyn Subscription>,
    pub clock: Arc<dyn Clock>,
    /// Loaded once a batch.
    pub pipeline: ArcSwap<Pipeline>,
    /// Loaded once a decision.
    pub policy: ArcSwap<Policy>,
    pub control: Mutex<Control>,
    /// Somebody changed what the loop decides by.
    pub changed: Notify,
}

/// What changes from batch to batch. Held for moments only, never across an await.
#[derive(Default)]
pub struct Control {
    pub paused: Option<PauseReason>,
    pub stopped: bool,
    pub breaker: Breaker,
    /// Of the monotonic clock.
    pub throttled_until: Option<Duration>,
    pub rate_limited: bool,
    pub last_error: Option<LastError>,
    pub last_delivered_at_ms: Option<u64>,
    pub in_flight: usize,
    pub in_flight_records: usize,
    pub alarm: Option<SettleAlarm>,
}

impl Shared {
    pub fn new(spec: WorkerSpec) -> Arc<Shared> {
        let control = Control { paused: spec.paused, ..Control::default() };
        Arc::new(Shared {
            namespace: spec.namespace,
            target: spec.target,
            subscription: spec.subscription,
            clock: spec.clock,
            pipeline: ArcSwap::new(spec.pipeline),
            policy: ArcSwap::from_pointee(spec.policy),
            control: Mutex::new(control),
            changed: Notify::new(),
        })
    }

    pub fn swap(&self, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        let old = self.pipeline.swap(pipeline);
        self.control.lock().breaker.probe_at_once(&self.policy.load().breaker, self.clock.monotonic());
        self.changed.notify_one();
        old
    }

    pub fn configure(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
        self.changed.notify_one();
    }

    pub fn pause(&self, reason: PauseReason) {
        self.control.lock().paused = Some(reason);
        self.changed.notify_one();
    }

    pub fn resume(&self) {
        let mut control = self.control.lock();
        control.paused = None;
        control.throttled_until = None;
        control.breaker.reset();
        drop(control);
        self.changed.notify_one();
    }

    pub async fn stop(&self, _drain: Duration) {
        self.control.lock().stopped = true;
        self.changed.notify_one();
    }

    pub fn status(&self) -> TargetStatus {
        let (now, now_ms) = (self.clock.monotonic(), self.clock.now_ms());
        // A time of the monotonic clock, as the time of day that it will be or was.
        let wall = |time: Duration| {
            let ahead = u64::try_from(time.saturating_sub(now).as_millis()).unwrap_or(u64::MAX);
            let ago = u64::try_from(now.saturating_sub(time).as_millis()).unwrap_or(u64::MAX);
            now_ms.saturating_add(ahead).saturating_sub(ago)
        };
        let pipeline = self.pipeline.load();
        let control = self.control.lock();
        let opened = control.breaker.opened();
        let state = if control.stopped {
            TargetState::Stopped
        } else if let Some(reason) = &control.paused {
            TargetState::Paused { reason: reason.clone() }
        } else if pipeline.target.is_none() {
            TargetState::Idle
        } else if control.breaker.state() == crate::status::BreakerState::Probing {
            TargetState::Probing
        } else if let Some((code, _, next_probe)) = opened {
            TargetState::Open { until_ms: wall(next_probe), code: code.to_owned() }
        } else if let Some(until) = control.throttled_until.filter(|until| *until > now) {
            TargetState::Throttled { until_ms: wall(until) }
        } else {
            TargetState::Active
        };
        TargetStatus {
            state,
            breaker: BreakerStatus {
                state: control.breaker.state(),
                failures: control.breaker.failures(),
                rejects: control.breaker.rejects(),
                code: opened.map(|(code, _, _)| code.to_owned()),
                opened_at_ms: opened.map(|(_, since, _)| wall(since)),
                next_probe_at_ms: opened.map(|(_, _, next_probe)| wall(next_probe)),
            },
            last_error: control.last_error.clone(),
            last_delivered_at_ms: control.last_delivered_at_ms,
            in_flight: control.in_flight,
            in_flight_records: control.in_flight_records,
            concurrency: self.policy.load().concurrency,
            generation: pipeline.generation,
            alarm: control.alarm.clone(),
            rate_limited: control.rate_limited,
        }
    }
}
