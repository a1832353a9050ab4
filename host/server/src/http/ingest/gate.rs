//! A namespace as producers meet it: its queue, its limits, its own pace. Immutable; a change of the
//! configuration puts another one in its place.
//!
//! In: the namespace's model and its open queue. Out: `Gate`, found by name without a lock.

use super::pace::Pace;
use super::pointer::Pointer;
use crate::config::model::{Namespace, Ordering};
use crate::telemetry::metrics::{IngestMetrics, Metrics};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use walhost_core::{NamespaceName, Queue, TargetName};

/// What ingest knows of a namespace.
pub struct Gate {
    /// Its name.
    pub name: NamespaceName,
    /// Where records go.
    pub queue: Arc<dyn Queue>,
    /// Largest value of a record, in bytes.
    pub record_bytes_max: u64,
    /// Largest body of a batch, in bytes.
    pub batch_bytes_max: u64,
    /// Longest delay, in milliseconds.
    pub delay_ms_max: u64,
    /// Records a second.
    pub rate_per_second: Option<u64>,
    /// Keeps the rate.
    pub pace: Option<Arc<Pace>>,
    /// Where the key is, unless the producer sends one.
    pub pointer: Option<Pointer>,
    /// Whether records of one key are delivered in order.
    pub ordered: bool,
    /// Ingest is paused too; shared with the namespace's successors.
    pub paused: Arc<AtomicBool>,
    /// Targets that a record may be meant for.
    pub targets: Vec<TargetName>,
    /// Counters.
    pub metrics: IngestMetrics,
}

impl Gate {
    /// From the model and the open queue.
    pub fn new(model: &Namespace, queue: Arc<dyn Queue>, paused: Arc<AtomicBool>, metrics: &Metrics) -> Gate {
        let capability = queue.capability();
        let rate_per_second = model.limits.rate.map(walhost_core::config::Rate::per_second);
        Gate {
            record_bytes_max: model.limits.record.bytes().min(capability.record_bytes_max),
            batch_bytes_max: model.limits.batch.bytes().min(capability.batch_bytes_max),
            delay_ms_max: model.limits.delay.ms().min(capability.delay_ms_max.unwrap_or(u64::MAX)),
            rate_per_second,
            pace: rate_per_second.map(|rate| Arc::new(Pace::new(rate))),
            pointer: model.key.as_deref().and_then(Pointer::parse),
            ordered: model.ordering == Ordering::Key,
            paused,
            targets: model.targets.keys().cloned().collect(),
            metrics: metrics.ingest(&model.name),
            name: model.name.clone(),
            queue,
        }
    }
}
