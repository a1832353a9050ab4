//! What the handle, the loop and the batches of one worker share.
//!
//! In: orders from the handle, results of batches. Out: decisions for the loop, the status.

use super::WorkerSpec;
use crate::batch::Hints;
use crate::bounded::Bounded;
use crate::breaker::Gate;
use crate::limits;
use crate::observer::Observer;
use crate::pipeline::Pipeline;
use crate::plan::Memory;
use crate::policy::{OnExhausted, Policy};
use crate::rate::Bucket;
use crate::status::{LastError, PauseReason, SettleAlarm};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use walhost_core::queue::Lease;
use walhost_core::{Clock, NamespaceName, Random, Record, RecordId, Subscription, TargetName};

/// Shared by the handle, the loop and the batches in flight.
pub struct Shared {
    pub namespace: NamespaceName,
    pub target: TargetName,
    pub subscription: Arc<dyn Subscription>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<Random>,
    pub observer: Arc<dyn Observer>,
    /// Loaded once a batch.
    pub pipeline: ArcSwap<Pipeline>,
    /// Loaded once a decision.
    pub policy: ArcSwap<Policy>,
    pub control: Mutex<Control>,
    /// Something that the loop decides by has changed. Only the loop waits for it.
    pub changed: Notify,
    /// A batch or the loop has ended: what `stop` waits for.
    pub ended: Notify,
    /// Set: whatever still runs ends where it is.
    pub cancelled: watch::Sender<bool>,
    /// A planted bug: settled before delivered. The checker must find it.
    #[cfg(test)]
    pub plant_settled_first: std::sync::atomic::AtomicBool,
}

/// What changes from batch to batch. Held for moments only, never across an await.
pub struct Control {
    pub paused: Option<PauseReason>,
    pub stopped: bool,
    /// The loop has ended.
    pub loop_ended: bool,
    pub memory: Memory,
    /// Of the monotonic clock.
    pub throttled_until: Option<Duration>,
    /// No lease before: the last one failed.
    pub lease_after: Duration,
    pub bucket: Bucket,
    pub rate_limited: bool,
    /// Probed and not delivered, kept leased so that the next probe takes another record.
    pub probed: VecDeque<Lease>,
    /// Of records with several outputs: which ones are confirmed, and by which generation.
    pub confirmed: Bounded<RecordId, Confirmed>,
    pub last_error: Option<LastError>,
    pub last_delivered_at_ms: Option<u64>,
    pub in_flight: usize,
    pub in_flight_records: usize,
    /// Of those records: suspects of an unclean stop.
    pub suspects: usize,
    pub alarm: Option<SettleAlarm>,
}

/// Outputs of one record that are confirmed.
pub struct Confirmed {
    pub generation: u64,
    pub outputs: Vec<bool>,
}

/// What the loop does next.
pub enum Decision {
    /// End.
    Stop,
    /// Nothing before this time of the monotonic clock, or before something changes.
    Wait(Option<Duration>),
    /// These leases go back.
    Release(Vec<Lease>),
    /// A batch of at most so many records, or a probe.
    Take { records_max: usize, probe: bool },
}

impl Shared {
    pub fn new(spec: WorkerSpec) -> Arc<Shared> {
        let control = Control {
            paused: spec.paused,
            stopped: false,
            loop_ended: false,
            memory: Memory::default(),
            throttled_until: None,
            lease_after: Duration::ZERO,
            bucket: Bucket::default(),
            rate_limited: false,
            probed: VecDeque::new(),
            confirmed: Bounded::new(limits::CONFIRMED_MAX),
            last_error: None,
            last_delivered_at_ms: None,
            in_flight: 0,
            in_flight_records: 0,
            suspects: 0,
            alarm: None,
        };
        tell(&*spec.subscription, &spec.policy);
        Arc::new(Shared {
            namespace: spec.namespace,
            target: spec.target,
            subscription: spec.subscription,
            clock: spec.clock,
            random: spec.random,
            observer: spec.observer,
            pipeline: ArcSwap::new(spec.pipeline),
            policy: ArcSwap::from_pointee(spec.policy),
            control: Mutex::new(control),
            changed: Notify::new(),
            ended: Notify::new(),
            cancelled: watch::Sender::new(false),
            #[cfg(test)]
            plant_settled_first: false.into(),
        })
    }

    /// What the loop does next.
    pub fn decide(&self) -> Decision {
        let policy = self.policy.load();
        let idle = self.pipeline.load().target.is_none();
        let now = self.clock.monotonic();
        let mut control = self.control.lock();
        let held = control.paused.is_some() || idle || control.stopped;
        if !control.probed.is_empty() && (held || !control.memory.breaker.is_open()) {
            return Decision::Release(control.probed.drain(..).collect());
        }
        control.rate_limited = false;
        if control.stopped {
            return Decision::Stop;
        }
        if held || control.in_flight >= policy.concurrency.max(1) {
            return Decision::Wait(None);
        }
        let throttled = control.throttled_until.filter(|until| *until > now);
        if let Some(until) =
            throttled.into_iter().chain((control.lease_after > now).then_some(control.lease_after)).max()
        {
            return Decision::Wait(Some(until));
        }
        let probe = match control.memory.breaker.gate(now) {
            Gate::Closed => false,
            Gate::Probe => true,
            Gate::Wait(until) => return Decision::Wait(Some(until)),
            Gate::Probing => return Decision::Wait(None),
        };
        let wanted = if probe { 1 } else { policy.batch.records.max(1) };
        match policy.rate.map(|rate| control.bucket.available(rate.per_second(), wanted, now)) {
            None => Decision::Take { records_max: wanted, probe },
            Some(Ok(records_max)) => Decision::Take { records_max, probe },
            Some(Err(until)) => {
                control.rate_limited = true;
                Decision::Wait(Some(until))
            }
        }
    }

    pub fn swap(&self, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        let old = self.pipeline.swap(pipeline);
        self.control.lock().memory.breaker.probe_at_once(&self.policy.load().breaker, self.clock.monotonic());
        self.changed.notify_one();
        old
    }

    pub fn configure(&self, policy: Policy) {
        tell(&*self.subscription, &policy);
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
        control.memory.throttles = 0;
        let closed = control.memory.breaker.reset();
        drop(control);
        if closed {
            self.observer.breaker(&self.namespace, &self.target, None);
        }
        self.changed.notify_one();
    }

    pub async fn stop(&self, drain: Duration) {
        self.control.lock().stopped = true;
        self.changed.notify_one();
        let mut end = self.clock.sleep(drain);
        loop {
            // Enabled before the counts are looked at: an end in between is not missed.
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            {
                let control = self.control.lock();
                if control.loop_ended && control.in_flight == 0 {
                    break;
                }
            }
            tokio::select! {
                biased;
                () = ended => {}
                () = &mut end => break,
            }
        }
        self.cancel();
    }

    /// Whatever still runs ends where it is.
    pub fn cancel(&self) {
        self.control.lock().stopped = true;
        self.cancelled.send_replace(true);
        self.changed.notify_one();
    }
}

/// What a queue must know of the rules.
fn tell(subscription: &dyn Subscription, policy: &Policy) {
    subscription.park(policy.retry.on_exhausted == OnExhausted::Park);
    subscription.in_flight_max(policy.concurrency.max(1).saturating_mul(policy.batch.records.max(1)));
}

/// The outputs that one generation has confirmed.
pub struct ConfirmedBy<'a>(pub &'a Shared, pub u64);

impl Hints for ConfirmedBy<'_> {
    fn is_confirmed(&self, record: &Record, outputs: usize, output: usize) -> bool {
        let control = self.0.control.lock();
        let confirmed = control.confirmed.get(&record.id);
        confirmed.is_some_and(|c| c.generation == self.1 && c.outputs.len() == outputs && c.outputs[output])
    }
}
