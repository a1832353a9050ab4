//! A namespace as it runs: its gate, its queue, a worker for each target.
//!
//! In: the effective model and what was opened for it. Out: `Running`, immutable but for what its workers do.

use crate::catalogue::state::{SlotKind, Source};
use crate::config::model::{Destination, Namespace, Target as TargetModel};
use crate::host::trial::TargetObserver;
use crate::http::ingest::gate::Gate;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use walhost_core::{Digest, NamespaceName, Queue, Target, TargetName, Transform};
use walhost_delivery::{
    BatchPolicy, BreakerPolicy, Holder, Jitter, OnExhausted, Pipeline, Policy, RetryPolicy, TargetState, TargetStatus,
    Worker,
};

/// One namespace.
pub struct Running {
    /// As ingest meets it.
    pub gate: Arc<Gate>,
    /// The effective configuration.
    pub model: Arc<Namespace>,
    /// Where that came from.
    pub source: Source,
    /// The ETag's number.
    pub revision: u64,
    /// Gone from the files: nothing is taken or delivered.
    pub removed: bool,
    /// Delivery is paused.
    pub paused: bool,
    /// Shared by all gates of this namespace.
    pub ingest_paused: Arc<AtomicBool>,
    /// Its targets, also those that were removed from the configuration.
    pub targets: BTreeMap<TargetName, Arc<RunningTarget>>,
}

/// One target.
pub struct RunningTarget {
    /// Its name.
    pub name: TargetName,
    /// Leases, delivers, settles.
    pub worker: Worker,
    /// What its pipeline is made of.
    pub parts: Mutex<Parts>,
    /// Counts what it does.
    pub observer: Arc<TargetObserver>,
    /// Gone from the configuration.
    pub removed: AtomicBool,
}

/// What a pipeline is made of.
pub struct Parts {
    /// The effective configuration.
    pub model: TargetModel,
    /// A vendor's target; none where the sink is a plugin.
    pub backend: Option<Arc<dyn Target>>,
    /// The loaded transform.
    pub transform: Option<Loaded<dyn Transform>>,
    /// The loaded sink.
    pub sink: Option<Loaded<dyn Target>>,
    /// Slots whose plugin could not be loaded, and why: their records are held.
    pub refusals: BTreeMap<SlotKind, String>,
    /// Why the vendor's target cannot be opened as it is configured now: its records are held, or go where
    /// they went before.
    pub refusal: Option<String>,
}

/// A plugin in a slot.
pub struct Loaded<T: ?Sized> {
    /// Of the slot's version.
    pub generation: u64,
    /// The component.
    pub digest: Digest,
    /// What runs.
    pub plugin: Arc<T>,
}

impl<T: ?Sized> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        Loaded { generation: self.generation, digest: self.digest, plugin: Arc::clone(&self.plugin) }
    }
}

impl Parts {
    /// The pipeline that these parts make. Where a part that should be there is missing, nothing is delivered:
    /// records never pass by a transform.
    pub fn pipeline(&self, generation: u64) -> Arc<Pipeline> {
        let target = match &self.model.destination {
            Destination::Backend(_) => self.backend.clone(),
            Destination::Plugin(_) => self.sink.as_ref().map(|sink| Arc::clone(&sink.plugin)),
        };
        let transform = self.transform.as_ref().map(|transform| Arc::clone(&transform.plugin));
        let target =
            if self.refusals.contains_key(&SlotKind::Transform) && transform.is_none() { None } else { target };
        Arc::new(Pipeline { generation, transform, target })
    }
}

impl Parts {
    /// What is missing for a pipeline, in words.
    fn idle_because(&self) -> String {
        let name = &self.model.name;
        if let Some((kind, why)) = self.refusals.first_key_value() {
            return format!("the plugin of {name}.{} cannot be loaded ({why}): held until one is", kind.as_str());
        }
        match &self.refusal {
            Some(why) => format!("the target {name} cannot be opened ({why}): held until it is"),
            None => format!("no plugin is loaded into {name}.sink: held until one is"),
        }
    }
}

impl RunningTarget {
    /// What an idle target waits for, in words.
    pub fn idle_because(&self) -> String {
        self.parts.lock().idle_because()
    }

    /// True when it is gone from the configuration.
    pub fn is_removed(&self) -> bool {
        self.removed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// What a record of a target may be waiting for, above the queue.
pub struct Standing {
    /// What its worker is doing; none: it is gone from the configuration.
    status: Option<Box<TargetStatus>>,
    /// What holds it above the worker, in words.
    above: Option<String>,
}

impl Standing {
    /// For the record's state and its `why`.
    pub fn holder(&self) -> Holder<'_> {
        Holder { status: self.status.as_deref(), above: self.above.as_deref() }
    }
}

impl Running {
    /// Its name.
    pub fn name(&self) -> &NamespaceName {
        &self.gate.name
    }

    /// Its queue.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.gate.queue
    }

    /// The level that its receipts name.
    pub fn durability(&self) -> &str {
        self.model.durability.as_deref().unwrap_or(self.gate.queue.capability().durability)
    }

    /// What a target's records may be waiting for.
    pub fn standing(&self, target: &TargetName) -> Standing {
        let above = |text: &str| Some(text.to_owned());
        let found = self.targets.get(target).filter(|running| !running.is_removed() && !self.removed);
        let Some(running) = found else {
            return Standing {
                status: None,
                above: above("the target is gone from the configuration: held until it is there again, or deleted"),
            };
        };
        let status = running.worker.status();
        let above = match &status.state {
            _ if self.paused => above("the namespace is paused: held until it is resumed"),
            TargetState::Idle => Some(running.idle_because()),
            _ => None,
        };
        Standing { status: Some(Box::new(status)), above }
    }
}

/// The decision rules of a target, from its configuration.
pub fn policy(model: &TargetModel) -> Policy {
    use crate::config::model;
    Policy {
        retry: RetryPolicy {
            initial_ms: model.retry.initial.ms(),
            factor: model.retry.factor,
            max_interval_ms: model.retry.max_interval.ms(),
            jitter: match model.retry.jitter {
                model::Jitter::Full => Jitter::Full,
                model::Jitter::None => Jitter::None,
            },
            max_attempts: model.retry.max_attempts,
            max_age_ms: model.retry.max_age.ms(),
            on_exhausted: match model.retry.on_exhausted {
                model::OnExhausted::DeadLetter => OnExhausted::DeadLetter,
                model::OnExhausted::Park => OnExhausted::Park,
            },
        },
        breaker: BreakerPolicy {
            failures: model.breaker.failures,
            rejects: model.breaker.rejects,
            open_ms: model.breaker.open.ms(),
            max_open_ms: model.breaker.max_open.ms(),
        },
        batch: BatchPolicy {
            records: model.batch.records,
            bytes: usize::try_from(model.batch.bytes.bytes()).unwrap_or(usize::MAX),
            linger_ms: model.batch.linger.ms(),
        },
        concurrency: model.concurrency,
        rate: model.rate,
    }
}
