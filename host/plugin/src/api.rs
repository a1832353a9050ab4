//! The WIT versions this host serves, each translated into the host's own values.
//!
//! In: a store, a job. Out: raw answers, before they are validated. The version is matched once, at load;
//! behind [`Guest`] nobody knows it.

mod v0_1;

use crate::host::State;
use crate::world::{Matched, Version};
use walhost_core::Record;
use walhost_core::plugin::PluginKind;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

/// What a guest is asked to do.
pub(crate) enum Job {
    Init,
    Apply(Vec<Record>),
    Deliver(Vec<Record>),
}

impl Job {
    pub fn records(&self) -> &[Record] {
        match self {
            Job::Init => &[],
            Job::Apply(records) | Job::Deliver(records) => records,
        }
    }
}

/// Why a record was not delivered, in the guest's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawReason {
    pub code: String,
    pub message: String,
}

/// One record that a transform made, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawOutput {
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Vec<u8>,
}

/// What a transform said of one record, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawOutcome {
    Pass,
    Emit(Vec<RawOutput>),
    Filter,
    Retry(RawReason, Option<u64>),
    Reject(RawReason),
}

/// What a sink said of one record, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawVerdict {
    Delivered,
    Retry(RawReason, Option<u64>),
    Throttle(RawReason, Option<u64>),
    Reject(RawReason),
}

/// What came back.
pub(crate) enum Answer {
    Ready(Result<(), String>),
    Outcomes(Vec<RawOutcome>),
    Verdicts(Vec<RawVerdict>),
}

/// A component, linked: instances are made of it.
pub(crate) enum Linked {
    TransformV0_1(v0_1::TransformPre),
    SinkV0_1(v0_1::SinkPre),
}

impl Linked {
    /// Links a component whose version and world are known.
    pub fn new(engine: &Engine, component: &Component, matched: &Matched) -> wasmtime::Result<Linked> {
        let mut linker = Linker::<State>::new(engine);
        crate::wasi::link(&mut linker, component)?;
        match (matched.version, matched.kind) {
            (Version::V0_1, PluginKind::Transform) => v0_1::transform(linker, component).map(Linked::TransformV0_1),
            (Version::V0_1, PluginKind::Sink) => v0_1::sink(linker, component).map(Linked::SinkV0_1),
        }
    }

    /// One instance. Nothing of the guest has run before; its start functions run here.
    pub async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Guest> {
        match self {
            Linked::TransformV0_1(pre) => pre.instantiate_async(store).await.map(Guest::TransformV0_1),
            Linked::SinkV0_1(pre) => pre.instantiate_async(store).await.map(Guest::SinkV0_1),
        }
    }
}

/// One instance of a component.
pub(crate) enum Guest {
    TransformV0_1(v0_1::Transform),
    SinkV0_1(v0_1::Sink),
}

impl Guest {
    /// Asks the guest. An error means that the store must not be used again.
    pub async fn run(&self, store: &mut Store<State>, job: &Job) -> wasmtime::Result<Answer> {
        match (self, job) {
            (Guest::TransformV0_1(guest), Job::Init) => v0_1::init_transform(guest, store).await.map(Answer::Ready),
            (Guest::TransformV0_1(guest), Job::Apply(records)) => {
                v0_1::apply(guest, store, records).await.map(Answer::Outcomes)
            }
            (Guest::SinkV0_1(guest), Job::Init) => v0_1::init_sink(guest, store).await.map(Answer::Ready),
            (Guest::SinkV0_1(guest), Job::Deliver(records)) => {
                v0_1::deliver(guest, store, records).await.map(Answer::Verdicts)
            }
            (Guest::TransformV0_1(_), Job::Deliver(_)) | (Guest::SinkV0_1(_), Job::Apply(_)) => {
                unreachable!("a slot is made for one kind, and asks for that kind only")
            }
        }
    }
}

/// What all versions need of a linked component.
type Pre = InstancePre<State>;
