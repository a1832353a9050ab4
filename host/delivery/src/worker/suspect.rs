//! A suspect's turn (I15): its attempt is durable before it runs; after so many stops of the host it is given up
//! and does not run.
//!
//! In: the leases of a batch. Out: the same leases, to run; or none, when they are dealt with here.

use super::flight::{keeping_leases, settle_until_taken};
use super::run::give_back;
use super::shared::Shared;
use crate::limits;
use crate::observer::{BatchReport, RecordReport};
use crate::plan;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::queue::{Lease, LeaseToken};

/// Begins the attempt of a suspect, which is leased alone. Other leases come back as they are.
pub async fn turn(shared: &Arc<Shared>, leases: Vec<Lease>, generation: u64) -> Option<Vec<Lease>> {
    let [lease] = &leases[..] else { return Some(leases) };
    if !lease.suspect {
        return Some(leases);
    }
    let tokens = [lease.token];
    if let Some(decision) = plan::host_crash(lease, shared.clock.now_ms()) {
        give_up(shared, lease, &tokens, &decision, generation).await;
        return None;
    }
    // It may wait for a suspect of another target.
    match keeping_leases(shared, &tokens, shared.subscription.start(lease.token)).await {
        Ok(()) => Some(leases),
        Err(error) => {
            tracing::warn!(namespace = %shared.namespace, target = %shared.target, %error, "a suspect cannot be tried now");
            shared.control.lock().lease_after =
                shared.clock.monotonic() + Duration::from_millis(limits::LEASE_RETRY_MS);
            give_back(shared, leases).await;
            None
        }
    }
}

async fn give_up(shared: &Shared, lease: &Lease, tokens: &[LeaseToken], decision: &plan::Decision, generation: u64) {
    tracing::error!(
        namespace = %shared.namespace,
        target = %shared.target,
        id = %lease.record.id,
        "a record has taken the host down too often: it goes into the dead letters"
    );
    let settlements = || vec![(lease.token, decision.settlement())];
    keeping_leases(shared, tokens, settle_until_taken(shared, settlements)).await;
    let failure = plan::host_crash_failure();
    shared.observer.batch(&BatchReport {
        namespace: &shared.namespace,
        target: &shared.target,
        generation,
        probe: false,
        took: Duration::ZERO,
        faults: 0,
        fault_code: None,
        records: &[RecordReport {
            record: &lease.record,
            sent: &[],
            verdict: None,
            code: &failure.code,
            message: &failure.message,
            digest: None,
            ending: decision.ending,
            latency_ms: None,
        }],
    });
}
