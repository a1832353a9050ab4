//! One worker a (namespace, target): leases records, runs batches of them, settles.
//!
//! In: `WorkerSpec`. Out: `Worker`, the handle that swaps, configures, pauses, resumes, asks and stops.

use crate::observer::Observer;
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::status::{PauseReason, TargetStatus};
use std::sync::Arc;
use std::time::Duration;
use walhost_core::{Clock, NamespaceName, Random, Subscription, TargetName, exec};

mod run;
mod flight;
mod suspect;
mod shared;
mod report;
#[cfg(test)]
mod tests;

use shared::Shared;

/// What a worker is made of.
pub struct WorkerSpec {
    /// Whose records.
    pub namespace: NamespaceName,
    /// For which target.
    pub target: TargetName,
    /// Where they come from, and where their settlements go.
    pub subscription: Arc<dyn Subscription>,
    /// What they run through first; generation 0 or whatever the catalogue says.
    pub pipeline: Arc<Pipeline>,
    /// The decision rules.
    pub policy: Policy,
    /// Starts paused, and why.
    pub paused: Option<PauseReason>,
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// The host's dice.
    pub random: Arc<Random>,
    /// Who hears of it.
    pub observer: Arc<dyn Observer>,
}

/// A running worker. Dropping it ends it like a crash: batches in flight are cancelled and their leases run
/// out; [`Worker::stop`] is the orderly end.
pub struct Worker {
    shared: Arc<Shared>,
}

impl Worker {
    /// Starts it on the runtime of the caller.
    pub fn start(spec: WorkerSpec) -> Worker {
        let shared = Shared::new(spec);
        drop(exec::task(run::run(shared.clone())));
        Worker { shared }
    }

    /// Puts in another pipeline for the batches that begin from now on; those in flight end on the one they
    /// began with, and nothing waits for them. Answers the old one. An open breaker probes the new pipeline
    /// at once.
    pub fn swap(&self, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        self.shared.swap(pipeline)
    }

    /// The pipeline of the next batch.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        self.shared.pipeline.load_full()
    }

    /// Takes another policy for all decisions from now on; counts and waits that have begun stay.
    pub fn configure(&self, policy: Policy) {
        self.shared.configure(policy);
    }

    /// Begins no batch until it is resumed; those in flight end.
    pub fn pause(&self, reason: PauseReason) {
        self.shared.pause(reason);
    }

    /// Ends a pause and a throttle, closes the breaker, and starts its counts anew.
    pub fn resume(&self) {
        self.shared.resume();
    }

    /// What it is doing.
    pub fn status(&self) -> TargetStatus {
        self.shared.status()
    }

    /// Begins no batch any more, waits for those in flight for at most `drain`, then cancels the rest: their
    /// leases run out. Idempotent.
    pub async fn stop(&self, drain: Duration) {
        self.shared.stop(drain).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.cancel();
    }
}
