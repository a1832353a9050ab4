//! Pausing and resuming, checking and deleting: durable first, then the workers.
//!
//! In: names. Out: workers that hold or deliver, also after a restart.

use super::{Host, Running, RunningTarget, open};
use crate::catalogue::{Kept, KeptTarget, Pause};
use crate::http::error::{Code, Problem};
use crate::limits::CHECK_TIMEOUT;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use walhost_core::{NamespaceName, TargetName};
use walhost_delivery::PauseReason;

impl Host {
    /// Pauses delivery of a namespace, and its ingest too when that is asked for.
    pub async fn pause_namespace(&self, name: &str, ingest: bool) -> Result<(), Problem> {
        let _alone = self.control.lock().await;
        let running = Arc::clone(self.directory.load().kept(name)?);
        self.remember(running.name(), |kept| {
            kept.paused = true;
            kept.ingest_paused |= ingest;
        })
        .await?;
        running.ingest_paused.fetch_or(ingest, Ordering::Relaxed);
        for target in running.targets.values() {
            target.worker.pause(PauseReason::Operator);
        }
        self.put_back(&running, true);
        Ok(())
    }

    /// Resumes delivery and ingest; targets that are paused by themselves stay so.
    pub async fn resume_namespace(&self, name: &str) -> Result<(), Problem> {
        let _alone = self.control.lock().await;
        let running = Arc::clone(self.directory.load().kept(name)?);
        self.remember(running.name(), |kept| {
            kept.paused = false;
            kept.ingest_paused = false;
        })
        .await?;
        running.ingest_paused.store(false, Ordering::Relaxed);
        let state = self.catalogue.state();
        let kept = state.namespaces.get(running.name());
        for target in running.targets.values().filter(|target| !target.is_removed()) {
            match kept.and_then(|kept| kept.targets.get(&target.name)?.paused.as_ref()) {
                Some(pause) => target.worker.pause(open::pause_reason(pause)),
                None => target.worker.resume(),
            }
        }
        self.put_back(&running, false);
        Ok(())
    }

    /// Pauses one target.
    pub async fn pause_target(
        &self,
        namespace: &NamespaceName,
        target: &TargetName,
        reason: Pause,
    ) -> Result<(), Problem> {
        let _alone = self.control.lock().await;
        let (_, running) = self.target(namespace.as_str(), target.as_str())?;
        running.worker.pause(open::pause_reason(&reason));
        self.remember_target(namespace, target, |kept| kept.paused = Some(reason)).await
    }

    /// Resumes one target: its breaker closes, its counts start anew.
    pub async fn resume_target(&self, namespace: &str, target: &str) -> Result<(), Problem> {
        let _alone = self.control.lock().await;
        let (running, target) = self.target(namespace, target)?;
        self.remember_target(running.name(), &target.name, |kept| kept.paused = None).await?;
        if !running.paused {
            target.worker.resume();
        }
        Ok(())
    }

    /// Asks the destination whether it would take records.
    pub async fn check_target(&self, namespace: &str, target: &str) -> Result<Result<String, String>, Problem> {
        let (_, target) = self.target(namespace, target)?;
        let Some(destination) = target.worker.pipeline().target.clone() else {
            return Ok(Err(format!("it is idle: {}", target.idle_because())));
        };
        let checked = tokio::time::timeout(CHECK_TIMEOUT, destination.check()).await;
        Ok(match checked {
            Ok(Ok(sentence)) => Ok(sentence),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        })
    }

    /// Ends a target that is no longer configured: what is pending for it is cancelled. Answers how many
    /// records that were.
    pub async fn delete_target(&self, namespace: &str, target: &str) -> Result<u64, Problem> {
        let _alone = self.control.lock().await;
        let running = Arc::clone(self.directory.load().kept(namespace)?);
        let missing = || Problem::new(Code::NotFound, format!("{namespace} has no target `{target}`"));
        let name = TargetName::new(target).map_err(|_| missing())?;
        if running.model.targets.contains_key(&name) {
            let detail = format!("{name} is configured: remove it from the namespace's table first");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let worker = running.targets.get(&name);
        if worker.is_none() && !running.queue().stats().targets.contains_key(&name) {
            return Err(missing());
        }
        if let Some(target) = worker {
            target.worker.stop(Duration::from_secs(5)).await;
        }
        let cancelled = running.queue().unsubscribe(&name).await?;
        self.remember(running.name(), |kept| drop(kept.targets.remove(&name))).await?;
        let mut targets = running.targets.clone();
        targets.remove(&name);
        self.replace(&running, running.paused, targets);
        Ok(cancelled)
    }

    /// A target by name.
    pub fn target(&self, namespace: &str, target: &str) -> Result<(Arc<Running>, Arc<RunningTarget>), Problem> {
        let running = Arc::clone(self.directory.load().kept(namespace)?);
        let found = running.targets.get(target).cloned();
        let shown = walhost_core::attempt::clean(target, walhost_core::name::NAME_BYTES_MAX);
        let found =
            found.ok_or_else(|| Problem::new(Code::NotFound, format!("{namespace} has no target `{shown}`")))?;
        Ok((running, found))
    }

    async fn remember(&self, name: &NamespaceName, change: impl FnOnce(&mut Kept)) -> Result<(), Problem> {
        self.catalogue
            .change(|state| {
                change(state.namespaces.entry(name.clone()).or_default());
                Ok(())
            })
            .await
    }

    async fn remember_target(
        &self,
        namespace: &NamespaceName,
        target: &TargetName,
        change: impl FnOnce(&mut KeptTarget),
    ) -> Result<(), Problem> {
        self.remember(namespace, |kept| change(kept.targets.entry(target.clone()).or_default())).await
    }

    fn put_back(&self, running: &Arc<Running>, paused: bool) {
        self.replace(running, paused, running.targets.clone());
    }

    fn replace(
        &self,
        running: &Running,
        paused: bool,
        targets: std::collections::BTreeMap<TargetName, Arc<RunningTarget>>,
    ) {
        let changed = Arc::new(Running {
            gate: Arc::clone(&running.gate),
            model: Arc::clone(&running.model),
            source: running.source,
            revision: running.revision,
            removed: running.removed,
            paused,
            ingest_paused: Arc::clone(&running.ingest_paused),
            targets,
        });
        self.directory.rcu(|directory| {
            let mut directory = (**directory).clone();
            directory.insert(Arc::clone(&changed));
            directory
        });
    }
}
