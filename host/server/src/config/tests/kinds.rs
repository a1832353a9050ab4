//! Kinds for tests: a queue and two targets that are never opened.

use crate::config::{Kinds, QueueKind, TargetKind};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use walhost_core::backend::{Complaint, QueueBackend, TargetBackend, TargetContext};
use walhost_core::config::{Duration, Secret};
use walhost_core::error::{Error, Kind, Result};
use walhost_core::queue::{Capability, Queue, QueueContext};
use walhost_core::{NamespaceName, Target};

/// A queue that can do everything.
pub struct Embedded;
/// A queue that can do little.
pub struct Narrow;
/// A target with keys of every sort.
pub struct Web;
/// A target with two keys that it must have.
pub struct Cache;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    #[serde(default)]
    pub durability: Option<Durability>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    Fsync,
    Os,
}

#[derive(Deserialize, Serialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    pub url: String,
    #[serde(default)]
    pub timeout: Option<Duration>,
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    #[serde(default)]
    pub tls: Option<WebTls>,
    #[serde(default)]
    pub codes: Vec<u16>,
}

#[derive(Deserialize, Serialize, Debug, PartialEq)]
pub struct WebTls {
    pub ca: std::path::PathBuf,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    pub servers: Vec<String>,
    pub key: String,
    #[serde(default)]
    pub ttl: Option<Duration>,
}

fn never<T>() -> Result<T> {
    Err(Error::new(Kind::Internal, "test.open", "this is never opened"))
}

#[async_trait]
impl QueueBackend for Embedded {
    const KIND: &'static str = "embedded";
    type Config = QueueConfig;
    fn check_config(_: &QueueConfig, _: &QueueContext) -> Vec<Complaint> {
        Vec::new()
    }
    async fn open(&self, _: QueueContext, _: QueueConfig) -> Result<Arc<dyn Queue>> {
        never()
    }
    async fn remove(&self, _: &NamespaceName) -> Result<()> {
        never()
    }
}

#[async_trait]
impl QueueBackend for Narrow {
    const KIND: &'static str = "narrow";
    type Config = QueueConfig;
    fn check_config(_: &QueueConfig, context: &QueueContext) -> Vec<Complaint> {
        let history = context.policy.history_ms > 86_400_000;
        let one = |key: &str, what: &str| Complaint { key: key.into(), what: what.into(), help: "lower it".into() };
        history.then(|| one("history", "a narrow queue remembers for a day")).into_iter().collect()
    }
    async fn open(&self, _: QueueContext, _: QueueConfig) -> Result<Arc<dyn Queue>> {
        never()
    }
    async fn remove(&self, _: &NamespaceName) -> Result<()> {
        never()
    }
}

#[async_trait]
impl TargetBackend for Web {
    const KIND: &'static str = "http";
    type Config = WebConfig;
    fn check_config(config: &WebConfig) -> Vec<Complaint> {
        let bad = !config.url.starts_with("http");
        bad.then(|| Complaint {
            key: "url".into(),
            what: "this is not a URL".into(),
            help: "begin with http://".into(),
        })
        .into_iter()
        .collect()
    }
    async fn open(&self, _: TargetContext, _: WebConfig) -> Result<Arc<dyn Target>> {
        never()
    }
}

#[async_trait]
impl TargetBackend for Cache {
    const KIND: &'static str = "memcached";
    type Config = CacheConfig;
    fn check_config(_: &CacheConfig) -> Vec<Complaint> {
        Vec::new()
    }
    async fn open(&self, _: TargetContext, _: CacheConfig) -> Result<Arc<dyn Target>> {
        never()
    }
}

/// All of them.
pub fn kinds() -> Kinds {
    let narrow = Capability {
        kind: "narrow",
        durability: "narrow",
        durable: true,
        ordered: false,
        batch_atomic: false,
        attempts_durable: false,
        accounting_durable: false,
        idempotency: false,
        find: false,
        cancel: false,
        peek: false,
        suspects: false,
        delay_ms_max: Some(900_000),
        record_bytes_max: 262_144,
        batch_bytes_max: 262_144,
    };
    Kinds {
        queues: vec![QueueKind::of::<Embedded>(), QueueKind::of::<Narrow>().can(narrow, false)],
        targets: vec![TargetKind::of::<Web>(), TargetKind::of::<Cache>()],
    }
}
