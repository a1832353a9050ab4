//! From stored bytes to something that runs: the `PluginLoader` of this host.
//!
//! In: components, and what a slot says of them. Out: transforms and targets. All or nothing (I33): until
//! the first instance has been made and has accepted its settings, nobody sees anything new.

use crate::api::Linked;
use crate::compile::Compiler;
use crate::compute::Compute;
use crate::engine::{self, Room};
use crate::fault::INIT;
use crate::grants::{self, Granted};
use crate::host::Context;
use crate::inspect::{digest, examine, rejected};
use crate::instance::Bounds;
use crate::metrics::Calls;
use crate::options::{LogSink, PluginOptions};
use crate::pool::Slot;
use crate::sink::PluginSink;
use crate::store::Store;
use crate::transform::PluginTransform;
use crate::world::{self, Matched};
use crate::{deserialize, limits};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use walhost_core::plugin::{PluginInfo, PluginKind, PluginLimits, PluginSpec};
use walhost_core::{Clock, Digest, Error, Kind, PluginLoader, Result, Target, Transform, exec};

/// The sandbox of one host. Cheap to clone.
#[derive(Clone)]
pub struct Plugins(Arc<Inner>);

struct Inner {
    room: Arc<Room>,
    compute: Arc<Compute>,
    compiler: Compiler,
    store: Store,
    fingerprint: String,
    clock: Arc<dyn Clock>,
    log: Arc<dyn LogSink>,
    outbound: walhost_net::Client,
    /// Components in use: slots with the same component share its code.
    linked: Mutex<HashMap<Digest, Weak<Loaded>>>,
    calls: Mutex<Vec<Weak<Calls>>>,
}

/// A component, linked, and what it is.
pub(crate) struct Loaded {
    pub linked: Linked,
    matched: Matched,
}

impl Plugins {
    /// Opens the store, makes the engine, starts its threads. Blocks on the disk.
    pub fn open(options: PluginOptions) -> Result<Plugins> {
        let room = Room::open(options.pool_instances, options.clock.clone())?;
        let fingerprint = engine::fingerprint(&room.engine);
        let outbound = walhost_net::Client::new(walhost_net::ClientPolicy::default(), options.clock.clone())
            .map_err(|error| Error::new(Kind::Internal, "plugin.open", error))?;
        Ok(Plugins(Arc::new(Inner {
            store: Store::open(options.disk.clone(), &options.dir, &fingerprint)?,
            compute: Arc::new(Compute::start(options.compute_threads)?),
            compiler: Compiler::new(options.compile_in, options.clock.clone()),
            room,
            fingerprint,
            clock: options.clock,
            log: options.log,
            outbound,
            linked: Mutex::default(),
            calls: Mutex::default(),
        })))
    }

    /// The counters of every slot that is loaded.
    pub fn calls(&self) -> Vec<Arc<Calls>> {
        let mut calls = self.0.calls.lock();
        calls.retain(|calls| calls.strong_count() > 0);
        calls.iter().filter_map(Weak::upgrade).collect()
    }

    /// The bytes of a component that is kept.
    pub async fn component(&self, digest: Digest) -> Result<Option<Bytes>> {
        self.with_store(move |store| store.get(digest)).await.map(|bytes| bytes.map(Bytes::from))
    }

    /// Reads and writes the store away from the runtime's workers.
    async fn with_store<T: Send + 'static>(&self, run: impl FnOnce(&Store) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = self.0.clone();
        exec::blocking(move || run(&inner.store)).await.map_err(broke)?
    }

    /// A stored component, linked: from those in use, from the cache of native code, or compiled again.
    async fn loaded(&self, digest: Digest) -> Result<Arc<Loaded>> {
        if let Some(loaded) = self.0.linked.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(loaded);
        }
        let component = self
            .component(digest)
            .await?
            .ok_or_else(|| Error::new(Kind::NotFound, "plugin.load", format!("no plugin {digest} is stored")))?;
        let matched = blocking_examine(component.clone()).await?;
        self.link(digest, &component, matched).await
    }

    async fn link(&self, digest: Digest, component: &Bytes, matched: Matched) -> Result<Arc<Loaded>> {
        let cached = self.with_store(move |store| store.code(digest)).await?;
        let loaded = match cached {
            Some(envelope) => match self.assemble(digest, envelope, matched.clone()).await {
                Err(error) if error.kind() != Kind::PluginRejected => {
                    tracing::warn!(%digest, %error, "cached native code is not used");
                    self.compile(digest, component, matched).await?
                }
                assembled => assembled?,
            },
            None => self.compile(digest, component, matched).await?,
        };
        let loaded = Arc::new(loaded);
        let mut linked = self.0.linked.lock();
        linked.retain(|_, known| known.strong_count() > 0);
        linked.insert(digest, Arc::downgrade(&loaded));
        Ok(loaded)
    }

    async fn compile(&self, digest: Digest, component: &Bytes, matched: Matched) -> Result<Loaded> {
        let envelope = self.0.compiler.compile(component).await?;
        let copy = envelope.clone();
        let loaded = self.assemble(digest, envelope, matched).await?;
        self.with_store(move |store| store.put_code(digest, &copy)).await?;
        Ok(loaded)
    }

    /// Loads native code and links it. An error of another kind than `PluginRejected` is the code's.
    async fn assemble(&self, digest: Digest, envelope: Vec<u8>, matched: Matched) -> Result<Loaded> {
        let inner = self.0.clone();
        exec::blocking(move || {
            let component =
                deserialize::load(&inner.room.engine, digest, &inner.fingerprint, &envelope).map_err(|what| {
                    Error::new(Kind::Corrupt, "plugin.load", "native code cannot be loaded").with("cause", what)
                })?;
            let linked = Linked::new(&inner.room.engine, &component, &matched)
                .map_err(|error| rejected("plugin.load", format!("it cannot be linked: {error:#}")))?;
            Ok(Loaded { linked, matched })
        })
        .await
        .map_err(broke)?
    }

    /// A slot with its first instance, initialised with the real settings.
    async fn slot(&self, spec: &PluginSpec, kind: PluginKind) -> Result<Arc<Slot>> {
        let loaded = self.loaded(spec.digest).await?;
        if loaded.matched.kind != kind {
            let (is, asked) = (loaded.matched.kind.as_str(), kind.as_str());
            return Err(rejected("plugin.load", format!("it is a {is}, and this slot takes a {asked}")));
        }
        grants::check(&loaded.matched.imports, &spec.grants).map_err(|what| rejected("plugin.load", what))?;
        let bounds = bounds(&spec.limits, kind).map_err(|what| rejected("plugin.load", what))?;
        let granted = Granted::resolve(&spec.grants).map_err(|what| rejected("plugin.load", what))?;
        let settings = settings(&spec.settings).map_err(|what| rejected("plugin.load", what))?;
        let calls = Arc::new(Calls::new(spec.namespace.clone(), spec.target.clone(), spec.digest, kind));
        let inner = &self.0;
        let context = Arc::new(Context {
            namespace: spec.namespace.clone(),
            target: spec.target.clone(),
            digest: spec.digest,
            settings,
            granted,
            clock: inner.clock.clone(),
            calls: calls.clone(),
            lines: Context::sink(inner.log.clone(), &inner.clock),
            outbound: inner.outbound.clone(),
        });
        let slot = Slot::open(&inner.room, &inner.compute, loaded, context, bounds).await.map_err(|broken| {
            rejected(
                "plugin.load",
                match broken.code {
                    INIT => format!("its init refuses: {}", broken.message),
                    code => format!("its first instance broke: {code}: {}", broken.message),
                },
            )
        })?;
        inner.calls.lock().push(Arc::downgrade(&calls));
        Ok(slot)
    }
}

fn broke(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, "plugin.load", "the store broke").source(error)
}

async fn blocking_examine(component: Bytes) -> Result<Matched> {
    exec::blocking(move || examine(&component)).await.map_err(broke)?
}

fn settings(settings: &serde_json::Value) -> std::result::Result<String, String> {
    let text = match settings {
        serde_json::Value::Null => "{}".to_owned(),
        serde_json::Value::Object(_) => settings.to_string(),
        _ => return Err("settings are not a JSON object".into()),
    };
    if text.len() > limits::SETTINGS_BYTES_MAX {
        return Err(format!("settings of {} bytes: at most {} are possible", text.len(), limits::SETTINGS_BYTES_MAX));
    }
    Ok(text)
}

/// Fills in defaults, refuses what the sandbox cannot keep.
fn bounds(limits_of: &PluginLimits, kind: PluginKind) -> std::result::Result<Bounds, String> {
    let deadline_ms_default = match kind {
        PluginKind::Transform => limits::TRANSFORM_DEADLINE_MS_DEFAULT,
        PluginKind::Sink => limits::SINK_DEADLINE_MS_DEFAULT,
    };
    let within = |name: &str, value: u64, most: u64| {
        (1..=most)
            .contains(&value)
            .then_some(value)
            .ok_or_else(|| format!("limits.{name} = {value}: 1 to {most} are possible"))
    };
    let deadline_ms = limits_of.deadline.map_or(deadline_ms_default, |deadline| deadline.ms());
    Ok(Bounds {
        memory_bytes_max: within(
            "memory",
            limits_of.memory.map_or(limits::MEMORY_BYTES_DEFAULT, |size| size.bytes()),
            limits::MEMORY_BYTES_MAX,
        )?,
        wall: Duration::from_millis(within("deadline", deadline_ms, limits::DEADLINE_MS_MAX)?),
        cpu_ms: within("cpu", limits_of.cpu.map_or(limits::CPU_MS_DEFAULT, |cpu| cpu.ms()), limits::DEADLINE_MS_MAX)?,
        instances: within(
            "instances",
            u64::from(limits_of.instances.unwrap_or(limits::INSTANCES_DEFAULT)),
            u64::from(limits::INSTANCES_MAX),
        )? as u32,
        output_bytes_max: within(
            "output",
            limits_of.output.map_or(limits::OUTPUT_BYTES_DEFAULT, |size| size.bytes()),
            limits::OUTPUT_BYTES_MAX,
        )?,
    })
}

#[async_trait]
impl PluginLoader for Plugins {
    async fn store(&self, component: Bytes) -> Result<PluginInfo> {
        if let Err(what) = crate::header::check(&component) {
            return Err(rejected("plugin.store", what));
        }
        let bytes = component.clone();
        let digest = exec::blocking(move || digest(&bytes)).await.map_err(broke)?;
        if let Some(info) = self.info(digest).await? {
            return Ok(info);
        }
        let matched = blocking_examine(component.clone()).await?;
        let loaded = self.link(digest, &component, matched).await?;
        let now_ms = self.0.clock.now_ms();
        self.with_store(move |store| store.put(digest, &component, &loaded.matched, now_ms)).await
    }

    async fn list(&self) -> Result<Vec<PluginInfo>> {
        self.with_store(Store::list).await
    }

    async fn info(&self, digest: Digest) -> Result<Option<PluginInfo>> {
        self.with_store(move |store| store.info(digest)).await
    }

    async fn remove(&self, digest: Digest) -> Result<bool> {
        self.0.linked.lock().remove(&digest);
        self.with_store(move |store| store.remove(digest)).await
    }

    async fn transform(&self, spec: &PluginSpec) -> Result<Arc<dyn Transform>> {
        let slot = self.slot(spec, PluginKind::Transform).await?;
        Ok(Arc::new(PluginTransform(slot)))
    }

    async fn sink(&self, spec: &PluginSpec) -> Result<Arc<dyn Target>> {
        let slot = self.slot(spec, PluginKind::Sink).await?;
        Ok(Arc::new(PluginSink(slot)))
    }
}

/// Numbers of the WIT versions this host serves, newest first.
pub fn versions() -> Vec<&'static str> {
    world::versions()
}
