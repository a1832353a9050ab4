//! The loop of one worker: decides, leases, begins batches. It never waits for a batch.
//!
//! In: what is ready in the queue. Out: batches in flight.

use super::flight;
use super::shared::{Decision, Shared};
use crate::limits;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::queue::{Lease, LeaseRequest, LeaseToken, Settlement};
use walhost_core::{Kind, Result};

type Leasing = Pin<Box<dyn Future<Output = Result<Vec<Lease>>> + Send>>;

/// Runs until the worker is stopped or cancelled.
pub async fn run(shared: Arc<Shared>) {
    let mut cancelled = shared.cancelled.subscribe();
    tokio::select! {
        biased;
        _ = cancelled.wait_for(|cancelled| *cancelled) => {}
        () = decide_and_take(&shared) => {}
    }
    shared.control.lock().loop_ended = true;
    shared.ended.notify_waiters();
}

async fn decide_and_take(shared: &Arc<Shared>) {
    // Asked for once and kept until it answers, whatever is decided meanwhile: a lease that was handed out to
    // a future that nobody polls any more would be missing until its visibility ends.
    let mut leasing: Option<Leasing> = None;
    loop {
        let decision = shared.decide();
        let mut until = None;
        match decision {
            Decision::Stop => return,
            Decision::Release(leases) => {
                give_back(shared, leases).await;
                continue;
            }
            Decision::Wait(time) => until = time,
            Decision::Take { records_max, probe } if leasing.is_none() => {
                let waits = !probe || shared.control.lock().probed.is_empty();
                let wait_ms = if waits { limits::LEASE_WAIT_MS } else { 0 };
                leasing = Some(lease(shared, records_max, wait_ms));
            }
            Decision::Take { .. } => {}
        }
        let sleep = until.map(|until| shared.clock.sleep(until.saturating_sub(shared.clock.monotonic())));
        tokio::select! {
            biased;
            () = shared.changed.notified() => {}
            leases = poll_leasing(&mut leasing) => {
                leasing = None;
                arrived(shared, leases).await;
            }
            () = async { match sleep { Some(sleep) => sleep.await, None => pending().await } } => {}
            () = heartbeat(shared) => {}
        }
    }
}

async fn poll_leasing(leasing: &mut Option<Leasing>) -> Result<Vec<Lease>> {
    match leasing {
        Some(leasing) => leasing.await,
        None => pending().await,
    }
}

/// Keeps probed records leased, one heartbeat.
async fn heartbeat(shared: &Shared) {
    if shared.control.lock().probed.is_empty() {
        return pending().await;
    }
    let tokens: Vec<LeaseToken> = shared.control.lock().probed.iter().map(|lease| lease.token).collect();
    shared.subscription.extend(&tokens, limits::VISIBILITY_MS);
    shared.clock.sleep(Duration::from_millis(limits::VISIBILITY_MS / limits::HEARTBEATS_PER_VISIBILITY)).await;
}

fn lease(shared: &Arc<Shared>, records_max: usize, wait_ms: u64) -> Leasing {
    let bytes_max = shared.policy.load().batch.bytes.max(1);
    let request = LeaseRequest { records_max, bytes_max, visibility_ms: limits::VISIBILITY_MS, wait_ms };
    let subscription = shared.subscription.clone();
    Box::pin(async move { subscription.lease(request).await })
}

/// Leases came, or none did: what may go now is decided anew.
async fn arrived(shared: &Arc<Shared>, leases: Result<Vec<Lease>>) {
    let mut leases = match leases {
        Ok(leases) => leases,
        Err(error) => {
            if error.kind() != Kind::Closed {
                tracing::warn!(namespace = %shared.namespace, target = %shared.target, %error, "no lease");
            }
            let wait = Duration::from_millis(limits::LEASE_RETRY_MS);
            shared.control.lock().lease_after = shared.clock.monotonic() + wait;
            return;
        }
    };
    match shared.decide() {
        Decision::Take { mut records_max, probe } => {
            if leases.is_empty() && probe {
                leases.extend(shared.control.lock().probed.pop_front());
            }
            if leases.is_empty() {
                return;
            }
            if !probe && !leases.iter().any(|lease| lease.suspect) {
                linger(shared, &mut leases, records_max).await;
                // Meanwhile it may have been paused or stopped, or a batch in flight may have opened the breaker.
                match shared.decide() {
                    Decision::Take { records_max: now_max, probe: false } => records_max = records_max.min(now_max),
                    Decision::Release(probed) => {
                        leases.extend(probed);
                        return give_back(shared, leases).await;
                    }
                    _ => return give_back(shared, leases).await,
                }
            }
            let rest = leases.split_off(records_max.min(leases.len()));
            flight::begin(shared, leases, probe);
            give_back(shared, rest).await;
        }
        Decision::Release(probed) => {
            leases.extend(probed);
            give_back(shared, leases).await;
        }
        Decision::Wait(_) | Decision::Stop => give_back(shared, leases).await,
    }
}

/// Waits for more records until the batch is full or the linger is over.
async fn linger(shared: &Arc<Shared>, leases: &mut Vec<Lease>, records_max: usize) {
    let batch = shared.policy.load().batch.clone();
    if batch.linger_ms == 0 {
        return;
    }
    let beat = Duration::from_millis(limits::VISIBILITY_MS / limits::HEARTBEATS_PER_VISIBILITY);
    let mut extended = shared.clock.monotonic();
    let end = extended + Duration::from_millis(batch.linger_ms);
    let mut bytes: usize = leases.iter().map(|lease| lease.record.bytes()).sum();
    while leases.len() < records_max && bytes < batch.bytes {
        let now = shared.clock.monotonic();
        let left = end.saturating_sub(now);
        // A long linger must not outlive its leases: they would be handed out again, into this very batch.
        if now.saturating_sub(extended) >= beat {
            let tokens: Vec<LeaseToken> = leases.iter().map(|lease| lease.token).collect();
            shared.subscription.extend(&tokens, limits::VISIBILITY_MS);
            extended = now;
        }
        if left.is_zero() || shared.control.lock().stopped {
            return;
        }
        let request = LeaseRequest {
            records_max: records_max - leases.len(),
            bytes_max: batch.bytes - bytes,
            visibility_ms: limits::VISIBILITY_MS,
            wait_ms: u64::try_from(left.min(beat).as_millis()).unwrap_or(u64::MAX).max(1),
        };
        let Ok(more) = shared.subscription.lease(request).await else { return };
        bytes += more.iter().map(|lease| lease.record.bytes()).sum::<usize>();
        leases.extend(more);
    }
}

/// Records that were leased and may not go now are free again, as they were.
pub async fn give_back(shared: &Shared, leases: Vec<Lease>) {
    if leases.is_empty() {
        return;
    }
    let due_ms = shared.clock.now_ms();
    let later = |lease: Lease| (lease.token, Settlement::Later { due_ms, spent: None });
    if let Err(error) = shared.subscription.settle(leases.into_iter().map(later).collect()).await {
        // Nothing is lost: the leases run out.
        tracing::warn!(namespace = %shared.namespace, target = %shared.target, %error, "leases were not given back");
    }
}
