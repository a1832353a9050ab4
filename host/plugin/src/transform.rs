//! A loaded component as a `core::Transform`.
//!
//! In: a batch of records. Out: one checked outcome each, or the fault of the whole batch.

use crate::api::{Answer, Job};
use crate::pool::Slot;
use crate::validate;
use async_trait::async_trait;
use std::sync::Arc;
use walhost_core::{Digest, Fault, Outcome, Record, Transform};

/// The transform of one slot.
pub(crate) struct PluginTransform(pub Arc<Slot>);

#[async_trait]
impl Transform for PluginTransform {
    async fn apply(&self, records: &[Record]) -> Result<Vec<Outcome>, Fault> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.0
            .run(Job::Apply(records.to_vec()), |job, answer, bounds| match answer {
                Answer::Outcomes(raw) => validate::outcomes(raw, job.records(), bounds.output_bytes_max),
                Answer::Ready(_) | Answer::Verdicts(_) => unreachable!("a transform answers with outcomes"),
            })
            .await
    }

    fn digest(&self) -> Option<Digest> {
        Some(self.0.context.digest)
    }
}
