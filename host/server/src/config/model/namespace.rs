//! A namespace and its targets, as the rest of the host sees them.
//!
//! In: nothing; `config::namespace` fills it. Out: `Namespace`, `Target` and their parts.

use crate::config::kinds::{Chosen, PLUGIN};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use walhost_core::config::{Duration, Rate, Size};
use walhost_core::plugin::{Grants, PluginLimits};
use walhost_core::queue::From;
use walhost_core::{NamespaceName, PluginName, ShardName, TargetName};

/// `[namespaces.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Namespace {
    /// Its name.
    pub name: NamespaceName,
    /// Who serves it; none: every process that has it in its files.
    pub shard: Option<ShardName>,
    /// Kind and own config. `type = "embedded"` when it is left out.
    pub queue: Chosen,
    /// The durability that `queue.durability` asks for, when it is weaker than the queue's own (I2).
    pub durability: Option<String>,
    /// Whether records of one key are delivered in order. Default: none.
    pub ordering: Ordering,
    /// JSON pointer of the key, where the producer sent no `Wal-Key`. Default: none.
    pub key: Option<String>,
    /// What producers may send.
    pub limits: NamespaceLimits,
    /// How long and how many idempotency keys are remembered.
    pub idempotency: Idempotency,
    /// How long the state of a finished record can be asked for. Default: `24h`.
    pub history: Duration,
    /// Dead letters.
    pub dlq: Dlq,
    /// Destinations, by name.
    pub targets: BTreeMap<TargetName, Target>,
    /// Run by `walhost test` and before every hot load.
    pub tests: Vec<Test>,
    /// The table as it was written, paths absolute: what `ns get` shows and what runtime changes store.
    pub table: serde_json::Value,
}

/// `ordering`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// Records overtake each other.
    #[default]
    None,
    /// Record n + 1 of a key does not start before n is terminal (I19).
    Key,
}

/// `limits` of a namespace, all inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceLimits {
    /// Largest record: key, headers and value. Default: `1MiB`.
    pub record: Size,
    /// Largest batch. Default: `8MiB`.
    pub batch: Size,
    /// Records a second; none: as fast as they come. Default: none.
    pub rate: Option<Rate>,
    /// Longest delay. Default: `30d`.
    pub delay: Duration,
    /// Bytes that wait before ingest answers 429. Default: `10GiB`.
    pub backlog: Size,
}

impl Default for NamespaceLimits {
    fn default() -> Self {
        NamespaceLimits {
            record: Size(1 << 20),
            batch: Size(8 << 20),
            rate: None,
            delay: Duration(30 * 86_400_000),
            backlog: Size(10 << 30),
        }
    }
}

/// `idempotency` of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// How long a key is remembered. Default: `24h`.
    pub window: Duration,
    /// How many keys are remembered. Default: 1,000,000.
    pub keys: u64,
}

impl Default for Idempotency {
    fn default() -> Self {
        Idempotency { window: Duration(86_400_000), keys: 1_000_000 }
    }
}

/// `dlq` of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dlq {
    /// How long a dead letter is kept. Default: `14d`.
    pub retention: Duration,
}

impl Default for Dlq {
    fn default() -> Self {
        Dlq { retention: Duration(14 * 86_400_000) }
    }
}

/// `retry`; a target's keys win over its namespace's, key by key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Wait after the first attempt. Default: `200ms`.
    pub initial: Duration,
    /// Each wait is so many times the one before; at least 1. Default: 2.0.
    pub factor: f64,
    /// Longest wait. Default: `5m`.
    pub max_interval: Duration,
    /// Default: full.
    pub jitter: Jitter,
    /// Attempts spent before the record is given up; at least 1. Default: 12.
    pub max_attempts: u32,
    /// Age, from the first spent attempt on, at which the record is given up. Default: `3d`.
    pub max_age: Duration,
    /// Default: dead-letter.
    pub on_exhausted: OnExhausted,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            initial: Duration(200),
            factor: 2.0,
            max_interval: Duration(300_000),
            jitter: Jitter::Full,
            max_attempts: 12,
            max_age: Duration(3 * 86_400_000),
            on_exhausted: OnExhausted::DeadLetter,
        }
    }
}

/// `retry.jitter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    /// Anything between nothing and the whole wait.
    Full,
    /// The wait as it is.
    None,
}

/// `retry.on_exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExhausted {
    /// The record becomes a dead letter; later ones of its key go on.
    DeadLetter,
    /// So do all later ones of its key, in order, until it is redriven.
    Park,
}

/// `breaker`; a target's keys win over its namespace's, key by key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row that open it; at least 1. Default: 5.
    pub failures: u32,
    /// Records rejected in a row with one code that open it; 0: never. Default: 100.
    pub rejects: u32,
    /// Until the first probe. Default: `5s`.
    pub open: Duration,
    /// Longest time between two probes. Default: `1m`.
    pub max_open: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { failures: 5, rejects: 100, open: Duration(5_000), max_open: Duration(60_000) }
    }
}

/// `batch` of a target: what one delivery takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Default: 100; 8 for `http`, which sends a request for each.
    pub records: usize,
    /// Default: `1MiB`; one record is always taken.
    pub bytes: Size,
    /// How long a batch waits to become full. Default: `0ms`.
    pub linger: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { records: 100, bytes: Size(1 << 20), linger: Duration(0) }
    }
}

/// `[namespaces.<ns>.targets.<name>]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Where records go.
    pub destination: Destination,
    /// What they pass before; none: as they are.
    pub transform: Option<PluginUse>,
    /// Namespace's and own keys together.
    pub retry: Retry,
    /// Namespace's and own keys together.
    pub breaker: Breaker,
    /// Batches in flight. Default: the namespace's, or 16.
    pub concurrency: usize,
    /// What one delivery takes at most.
    pub batch: Batch,
    /// Records a second; none: as fast as it takes them.
    pub rate: Option<Rate>,
    /// A new plugin version that faults in its first batches is taken back. Default: false.
    pub auto_rollback: bool,
    /// Where a new target begins. Default: latest.
    #[serde(serialize_with = "from_as_text")]
    pub from: From,
}

fn from_as_text<S: serde::Serializer>(from: &From, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match from {
        From::Latest => "latest",
        From::Earliest => "earliest",
    })
}

/// Where a target's records go.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// A vendor's crate.
    Backend(Chosen),
    /// `type = "plugin"`: a sink. Without a plugin it is idle, its records are held, until one is loaded.
    Plugin(Option<PluginUse>),
}

impl Destination {
    /// As `type` says it.
    pub fn kind(&self) -> &str {
        match self {
            Destination::Backend(chosen) => &chosen.kind,
            Destination::Plugin(_) => PLUGIN,
        }
    }
}

/// A plugin in one slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginUse {
    /// One of `[plugins]`.
    pub plugin: PluginName,
    /// A JSON object for its `init`. Default: `{}`.
    pub settings: serde_json::Value,
    /// In place of the plugin's own; none: the plugin's own.
    pub grants: Option<Grants>,
    /// In place of the plugin's own; none: the plugin's own.
    pub limits: Option<PluginLimits>,
}

/// `[[namespaces.<ns>.tests]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// Whose transform it runs.
    pub target: TargetName,
    /// The record that goes in.
    pub input: TestInput,
    /// What comes out, in order; an empty list: it is filtered.
    pub expect: Vec<TestExpect>,
}

/// `input` of a test: a value, in one of three forms, with key and headers.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestInput {
    /// The value as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// The value as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The value as Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The record's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The record's headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// One of `expect`: every part that is given must hold.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestExpect {
    /// The value is exactly this JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// The value has at least these members, with these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_subset: Option<serde_json::Value>,
    /// The value is exactly this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// At least these headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// It is rejected with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<String>,
}
