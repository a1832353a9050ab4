//! The plugin port: component bytes, settings, grants and limits in, a transform or a target out.
//!
//! In: what a slot says. Out: `Arc<dyn Transform>` or `Arc<dyn Target>`, or a refusal that teaches.

use crate::attempt::Digest;
use crate::config::{Duration, Secret, Size};
use crate::error::Result;
use crate::name::{NamespaceName, TargetName};
use crate::target::Target;
use crate::transform::Transform;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which of the two worlds a component targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// `transform-plugin`.
    Transform,
    /// `sink-plugin`.
    Sink,
}

impl PluginKind {
    /// As JSON says it.
    pub fn as_str(self) -> &'static str {
        match self {
            PluginKind::Transform => "transform",
            PluginKind::Sink => "sink",
        }
    }
}

/// Outbound HTTP to one origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Scheme, host and port, exactly: `https://search.internal:9200`.
    pub origin: String,
    /// Non-public addresses that the host name may resolve to: `10.0.0.0/8`. Default: none.
    #[serde(default)]
    pub cidrs: Vec<String>,
    /// Headers that the host adds; the plugin never sees them. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Requests of one `send-all` in flight at once. Default: 16.
    #[serde(default)]
    pub parallel: Option<u32>,
    /// Largest answer. Default: `8MiB`.
    #[serde(default)]
    pub response: Option<Size>,
}

/// What a plugin may do beside computing: nothing, unless written here.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Outbound HTTP, by origin. Default: none.
    #[serde(default)]
    pub http: Vec<HttpGrant>,
    /// Secrets that the plugin may read, by the name it asks for. Default: none.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
}

/// Bounds of one plugin in one slot.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginLimits {
    /// Memory of one instance, all its linear memories together. Default: `64MiB`.
    #[serde(default)]
    pub memory: Option<Size>,
    /// Wall time of one call, waiting included. Default: `2s` for a transform, `30s` for a sink.
    #[serde(default)]
    pub deadline: Option<Duration>,
    /// CPU time of one call. Default: `1s`.
    #[serde(default)]
    pub cpu: Option<Duration>,
    /// Instances at once. Default: 8.
    #[serde(default)]
    pub instances: Option<u32>,
    /// Bytes of all that one call gives back. Default: `16MiB`.
    #[serde(default)]
    pub output: Option<Size>,
}

/// Everything that makes one loaded plugin: identified by its digest, bound to one (namespace, target).
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// The component.
    pub digest: Digest,
    /// For whom it runs.
    pub namespace: NamespaceName,
    /// For whom it runs.
    pub target: TargetName,
    /// A JSON object.
    pub settings: serde_json::Value,
    /// What it may do.
    pub grants: Grants,
    /// What it may use.
    pub limits: PluginLimits,
}

/// What an inspection finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// SHA-256 of the component.
    pub digest: Digest,
    /// Which world it targets.
    pub kind: PluginKind,
    /// `walhost:plugin/transform-plugin@0.1.0`.
    pub world: String,
    /// Every import, by name.
    pub imports: Vec<String>,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// When it was stored, in milliseconds since the Unix epoch.
    pub stored_at_ms: u64,
}

/// The store of components and the way from a component to something that runs.
///
/// # Guarantees
/// - Load is all or nothing (I33): an error leaves nothing behind and touches nothing that runs.
/// - Compiling is bounded and never stalls delivery (I35).
/// - Refusals are of kind `PluginRejected` and say what is wrong and what to do; an unknown import is
///   named (I31).
#[async_trait]
pub trait PluginLoader: Send + Sync {
    /// Checks a component, compiles it and keeps it durably under its digest. Idempotent.
    async fn store(&self, component: Bytes) -> Result<PluginInfo>;

    /// All that are kept, by digest.
    async fn list(&self) -> Result<Vec<PluginInfo>>;

    /// One that is kept.
    async fn info(&self, digest: Digest) -> Result<Option<PluginInfo>>;

    /// Forgets one. That nothing uses it is for the caller to know. True when it was there.
    async fn remove(&self, digest: Digest) -> Result<bool>;

    /// Instantiates and initialises a transform with its real settings; `NotFound` when it is not kept.
    async fn transform(&self, spec: &PluginSpec) -> Result<Arc<dyn Transform>>;

    /// Instantiates and initialises a sink with its real settings; `NotFound` when it is not kept.
    async fn sink(&self, spec: &PluginSpec) -> Result<Arc<dyn Target>>;
}
