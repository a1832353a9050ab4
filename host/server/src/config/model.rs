//! The configuration as the rest of the host sees it: complete, checked, with every default filled in.
//!
//! In: nothing; `read` and `namespace` fill it. Out: `Model` and its parts, comparable and serialisable
//! (a secret is a place here, never a value).

mod namespace;

pub use namespace::{
    Batch, Breaker, Destination, Dlq, Idempotency, Jitter, Namespace, NamespaceLimits, OnExhausted, Ordering,
    PluginUse, Retry, Target, Test, TestExpect, TestInput,
};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use walhost_core::config::{Duration, Size};
use walhost_core::plugin::{Grants, PluginLimits};
use walhost_core::{Digest, NamespaceName, PluginName, ShardName};

/// Everything that one process is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The two listeners, and how to stop.
    pub server: Server,
    /// What this process serves, and where it keeps it.
    pub shard: Shard,
    /// Where the other shards are.
    pub shards: BTreeMap<ShardName, Peer>,
    /// Components by the name that transforms and sinks call them.
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// All namespaces of all shards.
    pub namespaces: BTreeMap<NamespaceName, Namespace>,
}

impl Model {
    /// Where a namespace is served: none when it is here (it names no shard, or this one).
    pub fn elsewhere<'a>(&self, namespace: &'a Namespace) -> Option<&'a ShardName> {
        namespace.shard.as_ref().filter(|shard| self.shard.name.as_ref() != Some(*shard))
    }
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Server {
    /// Where producers post. Default: `127.0.0.1:7070`.
    pub ingest: Listener,
    /// Where operators look. Default: `127.0.0.1:7071`.
    pub admin: Listener,
    /// How long SIGTERM waits for what is open. Default: `30s`.
    pub drain_timeout: Duration,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long clients may take, and how many there may be.
    pub limits: ListenerLimits,
    /// Who may do what; none: anybody, and then the address is a loopback one (I38).
    pub tokens: Option<Tokens>,
    /// Certificate and key; none: plain HTTP.
    pub tls: Option<Tls>,
}

/// `server.ingest.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimits {
    /// Until a request's head is complete. Default: `10s`.
    pub header: Duration,
    /// Without progress of a request's body. Default: `30s`.
    pub body: Duration,
    /// Between two requests of a connection. Default: `75s`.
    pub idle: Duration,
    /// Open connections at once. Default: 4096.
    pub connections: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits { header: Duration(10_000), body: Duration(30_000), idle: Duration(75_000), connections: 4096 }
    }
}

/// `tls = { cert, key }` of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// `tokens = { file }`, read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tokens {
    /// The file they stand in.
    pub file: PathBuf,
    /// All of them.
    pub tokens: Vec<Token>,
}

/// One `[[tokens]]` of a tokens file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Token {
    /// Shown in the audit log.
    pub name: String,
    /// SHA-256 over the token's bytes.
    #[serde(serialize_with = "masked")]
    pub hash: Digest,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// From when on it opens nothing, in milliseconds since the Unix epoch; none: never.
    pub expires_ms: Option<u64>,
}

fn masked<S: serde::Serializer>(_: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("***")
}

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `ingest:<ns>`: append to a namespace, ask for its records; none: `ingest:*`, any namespace.
    Ingest(Option<NamespaceName>),
    /// `read`: everything that changes nothing.
    Read,
    /// `operate`: pause, resume, redrive, purge.
    Operate,
    /// `plugins:<ns>`: load plugins into a namespace's slots; none: `plugins:*`, any namespace.
    Plugins(Option<NamespaceName>),
    /// `admin`: everything.
    Admin,
}

/// `[shard]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shard {
    /// Which namespaces this process serves, beside those that name no shard. Default: none.
    pub name: Option<ShardName>,
    /// The embedded log, the catalogue, the store of components. Default: `data`, beside the file.
    pub data_dir: PathBuf,
    /// Free bytes of the disk below which ingest is refused. Default: `1GiB`.
    pub min_free: Size,
    /// Runtime changes are refused with `config-managed`. Default: false.
    pub config_managed: bool,
}

/// `[shards.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    /// Base URL of its ingest listener.
    pub url: String,
}

/// `[plugins.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plugin {
    /// Where the component comes from.
    pub source: PluginSource,
    /// What it may do. Default: nothing.
    pub grants: Grants,
    /// What it may use.
    pub limits: PluginLimits,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginSource {
    /// A file, absolute.
    Ref(PathBuf),
    /// One that is in the store already.
    Digest(#[serde(serialize_with = "shown")] Digest),
}

fn shown<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}
