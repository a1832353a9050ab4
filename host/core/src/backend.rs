//! How a vendor's crate presents itself: kind, config and constructor in one trait, so that they cannot
//! drift apart.
//!
//! In: the namespace and a config that was read with its places in the file. Out: a queue or a target.

use crate::error::Result;
use crate::name::{NamespaceName, TargetName};
use crate::queue::{Queue, QueueContext};
use crate::random::Random;
use crate::target::Target;
use crate::time::Clock;
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Something that can be wrong with a config although each of its values can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The key it is about, dotted from the backend's own table: `tls.cert`.
    pub key: String,
    /// What is wrong, one sentence.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// For whom a target is opened, and with what.
#[derive(Clone)]
pub struct TargetContext {
    /// Whose target it is.
    pub namespace: NamespaceName,
    /// Its name.
    pub target: TargetName,
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// The host's dice.
    pub random: Arc<Random>,
    /// True when the target was made at run time by someone who is not an `admin`: private addresses are
    /// then denied (I41).
    pub restricted: bool,
}

/// A kind of target. The value itself is what all targets of the kind share (a client, a pool).
#[async_trait]
pub trait TargetBackend: Send + Sync + 'static {
    /// As `type` says it in the config.
    const KIND: &'static str;
    /// What a person writes in the target's table, beside the keys that every target has.
    type Config: DeserializeOwned + Serialize + Send + Sync + 'static;
    /// Records of one delivery when the config does not say (`batch.records`). A batch is settled as a
    /// whole, so one that takes several round trips is repeated as a whole after a crash.
    const BATCH_RECORDS: usize = 100;

    /// What cannot be seen key by key: all of it, not just the first.
    fn check_config(config: &Self::Config) -> Vec<Complaint>;

    /// Opens a target. A destination that is down is no error: the target says so in its verdicts.
    async fn open(&self, context: TargetContext, config: Self::Config) -> Result<Arc<dyn Target>>;
}

/// A kind of queue. The value itself is what is opened once a process (one log, one client).
#[async_trait]
pub trait QueueBackend: Send + Sync + 'static {
    /// As `type` says it in the config.
    const KIND: &'static str;
    /// What a person writes in the `queue` table, beside `type`.
    type Config: DeserializeOwned + Serialize + Send + Sync + 'static;

    /// What cannot be seen key by key, and what the queue cannot keep (I21).
    fn check_config(config: &Self::Config, context: &QueueContext) -> Vec<Complaint>;

    /// Opens the queue of a namespace, made when there is none. Asking again gives the same one with the
    /// policy of now.
    async fn open(&self, context: QueueContext, config: Self::Config) -> Result<Arc<dyn Queue>>;

    /// Removes a namespace's queue with all its records, durably.
    async fn remove(&self, namespace: &NamespaceName) -> Result<()>;
}
