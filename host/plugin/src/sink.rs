//! A loaded component as a `core::Target`.
//!
//! In: a batch of records. Out: one checked verdict each, or the fault of the whole batch.

use crate::api::{Answer, Job};
use crate::pool::Slot;
use crate::validate;
use async_trait::async_trait;
use std::sync::Arc;
use walhost_core::{Digest, Error, Fault, Kind, Record, Result as PortResult, Target, Verdict};

/// The sink of one slot.
pub(crate) struct PluginSink(pub Arc<Slot>);

#[async_trait]
impl Target for PluginSink {
    async fn deliver(&self, records: &[Record]) -> Result<Vec<Verdict>, Fault> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.0
            .run(Job::Deliver(records.to_vec()), |job, answer, bounds| match answer {
                Answer::Verdicts(raw) => validate::verdicts(raw, job.records(), bounds.output_bytes_max),
                Answer::Ready(_) | Answer::Outcomes(_) => unreachable!("a sink answers with verdicts"),
            })
            .await
    }

    /// A sink has no call that asks its destination; that an instance can be made and initialised is what
    /// can be known without delivering.
    async fn check(&self) -> PortResult<String> {
        let digest = self.0.context.digest;
        match self.0.try_instance().await {
            Ok(instance) => {
                self.0.put_back(instance);
                Ok(format!("an instance of the plugin {} starts and accepts its settings", digest.short()))
            }
            Err(broken) => Err(Error::new(
                Kind::Unavailable,
                "plugin.check",
                format!("no instance of the plugin {} starts: {}: {}", digest.short(), broken.code, broken.message),
            )),
        }
    }

    fn digest(&self) -> Option<Digest> {
        Some(self.0.context.digest)
    }
}
