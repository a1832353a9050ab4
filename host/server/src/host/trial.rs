//! What a worker tells the host: numbers for the metrics, a pause to be kept, faults of a plugin that was
//! just loaded (`auto_rollback`).
//!
//! In: batch reports, on the worker's tasks. Out: counters, and requests that the host takes up in its own
//! time; nothing here blocks.

use crate::catalogue::Pause;
use crate::limits::{ROLLBACK_BATCHES, ROLLBACK_FAULTS};
use crate::telemetry::Metrics;
use crate::telemetry::exposition::{Counter, Histogram};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use walhost_core::{NamespaceName, TargetName, VerdictKind};
use walhost_delivery::{BatchReport, Ending, Observer, PauseReason};

/// What a worker asks of the host.
#[derive(Debug)]
pub enum Request {
    /// The target paused itself: keep that.
    Pause {
        /// Whose.
        namespace: NamespaceName,
        /// Which.
        target: TargetName,
        /// Why.
        reason: Pause,
    },
    /// The plugin that was loaded last faults: take it back.
    Rollback {
        /// Whose.
        namespace: NamespaceName,
        /// Which.
        target: TargetName,
        /// Of the pipeline that faulted.
        generation: u64,
        /// Of its last fault.
        code: String,
    },
}

/// Codes of dead letters that one target's metric tells apart; the rest are `other`: labels stay bounded,
/// also where a plugin makes up its codes.
const CODES_MAX: usize = 64;

/// One target's observer.
pub struct TargetObserver {
    verdicts: [Counter; 4],
    duration: Histogram,
    latency: Histogram,
    dead: Mutex<HashMap<String, Counter>>,
    metrics: Arc<Metrics>,
    names: (NamespaceName, TargetName),
    requests: mpsc::Sender<Request>,
    trial: Mutex<Option<Trial>>,
}

/// A pipeline that has to prove itself.
struct Trial {
    generation: u64,
    batches: u64,
    faults: u64,
}

const VERDICTS: [VerdictKind; 4] =
    [VerdictKind::Delivered, VerdictKind::Retry, VerdictKind::Throttle, VerdictKind::Reject];

impl TargetObserver {
    /// For one target.
    pub fn new(
        metrics: &Arc<Metrics>,
        namespace: &NamespaceName,
        target: &TargetName,
        requests: mpsc::Sender<Request>,
    ) -> Arc<TargetObserver> {
        let labels = [namespace.as_str(), target.as_str()];
        Arc::new(TargetObserver {
            verdicts: VERDICTS.map(|verdict| metrics.attempts.with(&[labels[0], labels[1], verdict.as_str()])),
            duration: metrics.delivery_duration.with(&labels),
            latency: metrics.delivery_latency.with(&labels),
            dead: Mutex::default(),
            metrics: Arc::clone(metrics),
            names: (namespace.clone(), target.clone()),
            requests,
            trial: Mutex::new(None),
        })
    }

    /// From now on the pipeline of this generation has to prove itself.
    pub fn begin_trial(&self, generation: u64) {
        *self.trial.lock() = Some(Trial { generation, batches: 0, faults: 0 });
    }

    /// Nothing is taken back any more.
    pub fn end_trial(&self) {
        *self.trial.lock() = None;
    }

    fn dead_letter(&self, code: &str) {
        let mut dead = self.dead.lock();
        let code = if dead.contains_key(code) || dead.len() < CODES_MAX { code } else { "other" };
        match dead.get(code) {
            Some(counter) => counter.add(1),
            None => {
                let counter = self.metrics.dead.with(&[self.names.0.as_str(), self.names.1.as_str(), code]);
                counter.add(1);
                dead.insert(code.to_owned(), counter);
            }
        }
    }

    /// Counts a batch of the trial; the code of the fault that ends it.
    fn tried(&self, report: &BatchReport<'_>) -> Option<String> {
        let mut guard = self.trial.lock();
        let trial = guard.as_mut().filter(|trial| trial.generation == report.generation)?;
        trial.batches += 1;
        trial.faults += u64::from(report.faults);
        if trial.faults >= ROLLBACK_FAULTS || (report.faults > 0 && trial.batches == 1) {
            *guard = None;
            return Some(report.fault_code.unwrap_or("plugin-fault").to_owned());
        }
        if trial.batches >= ROLLBACK_BATCHES {
            *guard = None;
        }
        None
    }

    fn ask(&self, request: Request) {
        if let Err(error) = self.requests.try_send(request) {
            tracing::error!("a request of a worker was lost: {error}");
        }
    }
}

impl Observer for TargetObserver {
    fn batch(&self, report: &BatchReport<'_>) {
        self.duration.observe(report.took);
        for record in report.records {
            if let Some(place) = record.verdict.and_then(|said| VERDICTS.iter().position(|verdict| *verdict == said)) {
                self.verdicts[place].add(1);
            }
            if let Some(ms) = record.latency_ms {
                self.latency.observe_us(ms.saturating_mul(1_000), 1);
            }
            if let Ending::Dead(_) = record.ending {
                self.dead_letter(record.code);
            }
        }
        if let Some(code) = self.tried(report) {
            let (namespace, target) = self.names.clone();
            self.ask(Request::Rollback { namespace, target, generation: report.generation, code });
        }
    }

    fn paused(&self, namespace: &NamespaceName, target: &TargetName, reason: &PauseReason) {
        let reason = match reason {
            PauseReason::Operator => Pause::Operator,
            PauseReason::Gone(failure) => Pause::Gone { code: failure.code.clone(), message: failure.message.clone() },
        };
        self.ask(Request::Pause { namespace: namespace.clone(), target: target.clone(), reason });
    }

    fn breaker(&self, namespace: &NamespaceName, target: &TargetName, open: Option<&str>) {
        match open {
            Some(code) => tracing::warn!(%namespace, %target, code, "the breaker opened: records are held"),
            None => tracing::info!(%namespace, %target, "the breaker closed: records flow"),
        }
    }

    fn settle_failed(&self, namespace: &NamespaceName, target: &TargetName, error: &walhost_core::Error) {
        tracing::error!(%namespace, %target, "a batch could not be settled, its records are held: {error}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn observed(faults_per_batch: &[u32]) -> Option<Request> {
        let (sender, mut receiver) = mpsc::channel(4);
        let (namespace, target) = (NamespaceName::new("a").unwrap(), TargetName::new("b").unwrap());
        let observer = TargetObserver::new(&Arc::default(), &namespace, &target, sender);
        observer.begin_trial(7);
        for faults in faults_per_batch {
            observer.batch(&BatchReport {
                namespace: &namespace,
                target: &target,
                generation: 7,
                probe: false,
                took: Duration::ZERO,
                faults: *faults,
                fault_code: (*faults > 0).then_some("plugin-trap"),
                records: &[],
            });
        }
        receiver.try_recv().ok()
    }

    #[test]
    fn i34_a_version_that_faults_at_once_or_again_and_again_is_taken_back() {
        assert!(matches!(observed(&[1]), Some(Request::Rollback { generation: 7, code, .. }) if code == "plugin-trap"));
        assert!(observed(&[0, 1, 1, 1]).is_some());
        assert!(observed(&[0, 1, 0, 1, 0]).is_none());
    }

    #[test]
    fn i34_a_version_that_has_proved_itself_stays() {
        let mut batches = vec![0; 10];
        batches.extend([5, 5, 5]);
        assert!(observed(&batches).is_none());
    }
}
