//! The kinds of queues and targets that this build has, without their types.
//!
//! In: `QueueBackend` and `TargetBackend`, listed once by `builtin`. Out: `Kinds`, by which a table is
//! read and checked as its `type` says, and `Chosen`, what came of it.

use super::de;
use super::diagnostics::Diagnostic;
use super::node::Node;
use super::schema;
use serde::{Serialize, Serializer};
use serde_json::Value;
use walhost_core::backend::{Complaint, QueueBackend, TargetBackend};
use walhost_core::queue::{Capability, QueueContext};

/// The kind of a target that is a Wasm component; it is none of the backends.
pub const PLUGIN: &str = "plugin";
/// The kind of a queue where the config names none.
pub const QUEUE_DEFAULT: &str = "embedded";

/// Kinds that exist, each with the Cargo feature that brings it: a build without it says so.
pub const FEATURES: [(&str, &str); 5] =
    [("http", "http"), ("memcached", "memcached"), ("kafka", "kafka"), ("sqs", "sqs"), ("cassandra", "cassandra")];

/// What a reading leaves: the config was usable or not, and everything that is wrong.
pub struct Findings {
    /// Found while reading, with their places.
    pub troubles: Vec<Diagnostic>,
    /// Found by `check_config`, by key.
    pub complaints: Vec<Complaint>,
}

/// One kind of target.
#[derive(Clone, Copy)]
pub struct TargetKind {
    /// As `type` says it.
    pub name: &'static str,
    /// Records of one delivery when the config does not say.
    pub batch_records: usize,
    /// Reads and checks the keys that are the backend's own.
    pub read: fn(&Node) -> Findings,
    /// JSON Schema of those keys.
    pub schema: fn() -> Value,
}

impl TargetKind {
    /// Of a backend.
    pub fn of<B: TargetBackend>() -> TargetKind {
        TargetKind {
            name: B::KIND,
            batch_records: B::BATCH_RECORDS,
            read: |node| {
                let (config, troubles) = de::read::<B::Config>(node);
                // A config with stand-ins in it is not what was written: no word about the whole.
                let config = config.filter(|_| troubles.is_empty());
                Findings { troubles, complaints: config.as_ref().map(B::check_config).unwrap_or_default() }
            },
            schema: schema::of::<B::Config>,
        }
    }
}

/// One kind of queue.
#[derive(Clone)]
pub struct QueueKind {
    /// As `type` says it.
    pub name: &'static str,
    /// Reads and checks the keys that are the backend's own, against what the namespace asks for (I21).
    pub read: fn(&Node, &QueueContext) -> Findings,
    /// JSON Schema of those keys.
    pub schema: fn() -> Value,
    /// What every queue of the kind can do, whatever its config says; none: only `check_config` knows.
    pub capability: Option<Capability>,
    /// Whether a key can be parked: `on_exhausted = "park"`.
    pub parks: bool,
}

impl QueueKind {
    /// Of a backend. Says nothing of its capability: see [`QueueKind::can`].
    pub fn of<B: QueueBackend>() -> QueueKind {
        QueueKind {
            name: B::KIND,
            read: |node, context| {
                let (config, troubles) = de::read::<B::Config>(node);
                let complaints = config
                    .filter(|_| troubles.is_empty())
                    .map(|config| B::check_config(&config, context))
                    .unwrap_or_default();
                Findings { troubles, complaints }
            },
            schema: schema::of::<B::Config>,
            capability: None,
            parks: true,
        }
    }

    /// With what each queue of the kind can do: more is refused when the config is read.
    #[must_use]
    pub fn can(mut self, capability: Capability, parks: bool) -> QueueKind {
        self.capability = Some(capability);
        self.parks = parks;
        self
    }
}

/// All kinds of this build.
#[derive(Clone, Default)]
pub struct Kinds {
    /// In the order in which they are listed to a person.
    pub queues: Vec<QueueKind>,
    /// In the order in which they are listed to a person; `plugin` is not among them.
    pub targets: Vec<TargetKind>,
}

/// A kind and the keys that are the backend's own: checked, so that reading them again cannot fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// One of [`Kinds`].
    pub kind: String,
    /// The keys as they were written, paths absolute, secrets as their places.
    pub table: Value,
}

impl Chosen {
    /// The backend's config, made anew: `open` takes it by value.
    pub fn config<C: serde::de::DeserializeOwned>(&self) -> Result<C, String> {
        let (config, troubles) = de::read::<C>(&Node::from_json(&self.table));
        config.ok_or_else(|| troubles.into_iter().map(|trouble| trouble.message).collect::<Vec<_>>().join("; "))
    }
}

impl Serialize for Chosen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = self.table.clone();
        if let Some(keys) = table.as_object_mut() {
            keys.insert("type".into(), self.kind.clone().into());
        }
        super::show::mask(&mut table);
        table.serialize(serializer)
    }
}
