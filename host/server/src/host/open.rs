//! From an effective namespace to one that runs: its queue, a worker for each target, their pipelines.
//!
//! In: a model, what is remembered of it, what runs now. Out: `Running`, and for each slot what was refused.

use super::running::{Parts, policy};
use super::slot::{self, Wanted};
use super::trial::TargetObserver;
use super::{Host, Running, RunningTarget};
use crate::catalogue::state::SlotKind;
use crate::catalogue::{Kept, KeptTarget, Pause};
use crate::config::model::{Destination, Namespace, Ordering, Target as TargetModel};
use crate::http::error::Problem;
use crate::http::ingest::gate::Gate;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};
use walhost_core::backend::TargetContext;
use walhost_core::queue::{QueueContext, QueuePolicy};
use walhost_core::{NamespaceName, Queue, Target, TargetName};
use walhost_delivery::{PauseReason, Worker, WorkerSpec};

/// What a namespace asks of its queue.
pub fn queue_policy(model: &Namespace) -> QueuePolicy {
    QueuePolicy {
        ordered: model.ordering == Ordering::Key,
        durability: model.durability.clone(),
        backlog_bytes_max: model.limits.backlog.bytes(),
        idempotency_window_ms: model.idempotency.window.ms(),
        idempotency_keys_max: model.idempotency.keys,
        history_ms: model.history.ms(),
        dlq_retention_ms: model.dlq.retention.ms(),
    }
}

/// Why a worker starts paused.
pub fn pause_reason(pause: &Pause) -> PauseReason {
    match pause {
        Pause::Operator => PauseReason::Operator,
        Pause::Gone { code, message } => {
            PauseReason::Gone(walhost_core::Failure::new(code, message, walhost_core::Blame::Target))
        }
    }
}

impl Host {
    /// Opens or changes a namespace so that it runs as `model` and `kept` say. Called under `control`. Slots
    /// that cannot be loaded are in the answer; what ran in them goes on, else their target is idle.
    pub(super) async fn converge(
        &self,
        model: Arc<Namespace>,
        kept: &Kept,
    ) -> Result<BTreeMap<String, String>, Problem> {
        let name = model.name.clone();
        let before = self.directory.load().kept(name.as_str()).ok().cloned();
        let context = QueueContext { namespace: name.clone(), policy: queue_policy(&model) };
        let queue = self.backends.open_queue(context, &model.queue).await?;
        let ingest_paused = before
            .as_ref()
            .map_or_else(|| Arc::new(AtomicBool::new(false)), |running| Arc::clone(&running.ingest_paused));
        ingest_paused.store(kept.ingest_paused, Atomic::Relaxed);
        let mut refused = BTreeMap::new();
        let mut targets = BTreeMap::new();
        let halted = kept.paused || kept.removed;
        for target in model.targets.values() {
            let none = KeptTarget::default();
            let remembered = kept.targets.get(&target.name).unwrap_or(&none);
            let still = before.as_ref().and_then(|running| running.targets.get(&target.name)).cloned();
            let running = match still {
                Some(running) => {
                    self.change_target(&model, &running, target, remembered, &mut refused).await?;
                    let was_halted = running.removed.swap(false, Atomic::Relaxed)
                        || before.as_ref().is_some_and(|before| before.paused || before.removed);
                    match &remembered.paused {
                        Some(pause) => running.worker.pause(pause_reason(pause)),
                        None if halted => running.worker.pause(PauseReason::Operator),
                        None if was_halted => running.worker.resume(),
                        None => {}
                    }
                    running
                }
                None => self.open_target(&model, &queue, target, remembered, halted, &mut refused).await?,
            };
            targets.insert(target.name.clone(), running);
        }
        for (target, running) in before.iter().flat_map(|running| &running.targets) {
            if !model.targets.contains_key(target) && kept.targets.contains_key(target) {
                running.removed.store(true, Atomic::Relaxed);
                running.worker.pause(PauseReason::Operator);
                targets.insert(target.clone(), Arc::clone(running));
            }
        }
        let gate = Gate::new(&model, queue, Arc::clone(&ingest_paused), &self.metrics);
        let running = Arc::new(Running {
            gate: Arc::new(gate),
            source: kept.source,
            revision: kept.revision,
            removed: kept.removed,
            paused: kept.paused,
            ingest_paused,
            targets,
            model,
        });
        self.directory.rcu(|directory| {
            let mut directory = (**directory).clone();
            directory.insert(Arc::clone(&running));
            directory
        });
        Ok(refused)
    }

    async fn open_backend(
        &self,
        namespace: &NamespaceName,
        model: &TargetModel,
    ) -> Result<Option<Arc<dyn Target>>, Problem> {
        let Destination::Backend(chosen) = &model.destination else { return Ok(None) };
        let context = TargetContext {
            namespace: namespace.clone(),
            target: model.name.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            restricted: false,
        };
        Ok(Some(self.backends.open_target(context, chosen).await?))
    }

    async fn open_target(
        &self,
        whole: &Namespace,
        queue: &Arc<dyn Queue>,
        model: &TargetModel,
        kept: &KeptTarget,
        halted: bool,
        refused: &mut BTreeMap<String, String>,
    ) -> Result<Arc<RunningTarget>, Problem> {
        let namespace = &whole.name;
        let subscription = queue.subscribe(&model.name, model.from).await?;
        // A destination that cannot be opened (a secret that is not there) holds its records; its siblings run.
        let (backend, refusal) = match self.open_backend(namespace, model).await {
            Ok(backend) => (backend, None),
            Err(problem) => {
                tracing::error!(%namespace, target = %model.name, "the target cannot be opened, its records are held: {}", problem.detail);
                refused.insert(model.name.to_string(), problem.detail.clone());
                (None, Some(problem.detail.clone()))
            }
        };
        let mut parts =
            Parts { model: model.clone(), backend, transform: None, sink: None, refusals: BTreeMap::new(), refusal };
        let generation = self.fill_slots(whole, &mut parts, kept, refused).await?;
        let observer = TargetObserver::new(&self.metrics, namespace, &model.name, self.requests.clone());
        let paused = match &kept.paused {
            Some(pause) => Some(pause_reason(pause)),
            None => halted.then_some(PauseReason::Operator),
        };
        let worker = Worker::start(WorkerSpec {
            namespace: namespace.clone(),
            target: model.name.clone(),
            subscription,
            pipeline: parts.pipeline(generation),
            policy: policy(model),
            paused,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            observer: observer.clone(),
        });
        Ok(Arc::new(RunningTarget {
            name: model.name.clone(),
            worker,
            parts: parking_lot::Mutex::new(parts),
            observer,
            removed: AtomicBool::new(false),
        }))
    }

    async fn change_target(
        &self,
        whole: &Namespace,
        running: &Arc<RunningTarget>,
        model: &TargetModel,
        kept: &KeptTarget,
        refused: &mut BTreeMap<String, String>,
    ) -> Result<(), Problem> {
        let namespace = &whole.name;
        let mut parts = {
            let parts = running.parts.lock();
            Parts {
                model: parts.model.clone(),
                backend: parts.backend.clone(),
                transform: parts.transform.clone(),
                sink: parts.sink.clone(),
                refusals: parts.refusals.clone(),
                refusal: None,
            }
        };
        let was = parts.generations();
        let moved = parts.model.destination != model.destination;
        let closed = parts.backend.is_none() && matches!(model.destination, Destination::Backend(_));
        if moved || closed {
            match self.open_backend(namespace, model).await {
                Ok(backend) => parts.backend = backend,
                Err(problem) => {
                    // The one that runs goes on, with the destination that it has.
                    refused.insert(model.name.to_string(), problem.detail.clone());
                    running.parts.lock().refusal = Some(problem.detail.clone());
                    return Ok(());
                }
            }
        }
        parts.model = model.clone();
        let generation = self.fill_slots(whole, &mut parts, kept, refused).await?;
        running.worker.configure(policy(model));
        if moved || closed || parts.generations() != was {
            running.worker.swap(parts.pipeline(generation));
        }
        *running.parts.lock() = parts;
        Ok(())
    }

    /// Loads what the slots of a target should have: the file's plugin where the file's part has changed,
    /// else the version that is remembered. Answers the generation of the pipeline.
    async fn fill_slots(
        &self,
        whole: &Namespace,
        parts: &mut Parts,
        kept: &KeptTarget,
        refused: &mut BTreeMap<String, String>,
    ) -> Result<u64, Problem> {
        let (namespace, model) = (&whole.name, parts.model.clone());
        for kind in [SlotKind::Transform, SlotKind::Sink] {
            let slot = kept.slots.get(&kind).cloned().unwrap_or_default();
            let wanted = self.wanted(&model, kind, &slot).await;
            let outcome = match wanted {
                Ok(Wanted::Nothing) => {
                    parts.empty(kind);
                    self.forget_slot(namespace, &model.name, kind).await
                }
                Ok(Wanted::Kept) => match slot.loaded() {
                    None => {
                        parts.empty(kind);
                        Ok(())
                    }
                    Some(version) if parts.generation(kind) == Some(version.generation) => Ok(()),
                    Some(version) => {
                        self.load(namespace, &model.name, kind, version).await.map(|loaded| parts.put(loaded))
                    }
                },
                Ok(Wanted::Config(version, mark)) => {
                    let loaded = self.load(namespace, &model.name, kind, &version).await;
                    let tested = match &loaded {
                        Ok(loaded) => slot::self_test(&whole.tests, &model.name, loaded).await.err(),
                        Err(_) => None,
                    };
                    match tested.map_or(loaded, Err) {
                        Ok(loaded) => {
                            let generation = self.keep_version(namespace, &model.name, kind, *version, mark).await?;
                            parts.put(slot::with_generation(loaded, generation));
                            Ok(())
                        }
                        Err(problem) => Err(problem),
                    }
                }
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(()) => {
                    parts.refusals.remove(&kind);
                }
                Err(problem) => {
                    let name = format!("{}.{}", model.name, kind.as_str());
                    tracing::error!(%namespace, slot = name, "a plugin could not be loaded: {}", problem.detail);
                    refused.insert(name, problem.detail.clone());
                    parts.refusals.insert(kind, problem.detail.clone());
                }
            }
        }
        Ok(parts.generations().into_iter().flatten().max().unwrap_or(0))
    }

    /// Names of targets that a queue still has, and that nobody configures.
    pub fn left_over(&self, running: &Running) -> Vec<TargetName> {
        running.queue().stats().targets.into_keys().filter(|target| !running.targets.contains_key(target)).collect()
    }
}
