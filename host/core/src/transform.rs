//! The transform port: record in, 0..n records out.
//!
//! In: a batch of records. Out: one outcome for each, in order, or the fault of the whole batch.

use crate::attempt::{Digest, Failure, Fault};
use crate::record::{Headers, Record};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

/// One record that a transform made. Id, sequence and attempt come from the record it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers; checked: no name of the host's.
    pub headers: Headers,
    /// Its value.
    pub value: Bytes,
}

/// What a transform says of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Deliver it unchanged.
    Pass,
    /// Deliver these in its place, in this order; at least one.
    Emit(Vec<Output>),
    /// Do not deliver it; it is done.
    Filter,
    /// Try again: spends an attempt. No sooner than `after`, when given.
    Retry(Failure, Option<Duration>),
    /// Never try again.
    Reject(Failure),
}

/// A transform of one (namespace, target). Concurrent calls are fine; a call that is dropped is cancelled.
#[async_trait]
pub trait Transform: Send + Sync {
    /// One outcome for each record, in order; the count is the implementation's promise. `Err`: the
    /// plugin broke, and nothing is known of any record of the batch.
    async fn apply(&self, records: &[Record]) -> Result<Vec<Outcome>, Fault>;

    /// Which plugin it is.
    fn digest(&self) -> Option<Digest>;
}
