//! THE list of backends: a kind that is not here does not exist.
//!
//! In: the vendors' crates, by feature. Out: `Kinds` for reading a configuration, `Backends` for opening what
//! it asks for.

use crate::config::{Chosen, Kinds, QueueKind, TargetKind};
use async_trait::async_trait;
use std::sync::Arc;
use walhost_core::backend::{QueueBackend, TargetBackend, TargetContext};
use walhost_core::queue::QueueContext;
use walhost_core::{Clock, Error, Kind, NamespaceName, Queue, Result, Target};
use walhost_embedded::Embedded;

/// Features of this build, as `info` and `version` say them.
pub fn features() -> Vec<&'static str> {
    let mut features = vec!["embedded", "plugin"];
    if cfg!(feature = "http") {
        features.push("http");
    }
    if cfg!(feature = "memcached") {
        features.push("memcached");
    }
    features
}

/// The kinds of this build, in the order in which they are listed to a person.
pub fn kinds() -> Kinds {
    Kinds {
        queues: vec![QueueKind::of::<Embedded>().can(Embedded::can(), true)],
        targets: vec![
            #[cfg(feature = "http")]
            TargetKind::of::<walhost_http::Http>(),
            #[cfg(feature = "memcached")]
            TargetKind::of::<walhost_memcached::Memcached>(),
        ],
    }
}

/// The backends of this build, opened once a process.
pub struct Backends {
    queues: Vec<Box<dyn Queues>>,
    targets: Vec<Box<dyn Targets>>,
}

impl Backends {
    /// Opens what all queues and targets of a kind share. The embedded log is opened already.
    pub fn open(embedded: Arc<Embedded>, clock: &Arc<dyn Clock>) -> Result<Backends> {
        let _ = clock;
        let targets: Vec<Box<dyn Targets>> = vec![
            #[cfg(feature = "http")]
            Box::new(Opened(Arc::new(walhost_http::Http::new(Arc::clone(clock)).map_err(broken)?))),
            #[cfg(feature = "memcached")]
            Box::new(Opened(Arc::new(walhost_memcached::Memcached::new(Arc::clone(clock))))),
        ];
        Ok(Backends { queues: vec![Box::new(Opened(embedded))], targets })
    }

    /// A namespace's queue.
    pub async fn open_queue(&self, context: QueueContext, chosen: &Chosen) -> Result<Arc<dyn Queue>> {
        self.queues_of(chosen)?.open(context, chosen).await
    }

    /// Removes a namespace's queue with all its records.
    pub async fn remove_queue(&self, namespace: &NamespaceName, chosen: &Chosen) -> Result<()> {
        self.queues_of(chosen)?.remove(namespace).await
    }

    /// A vendor's target.
    pub async fn open_target(&self, context: TargetContext, chosen: &Chosen) -> Result<Arc<dyn Target>> {
        let found = self.targets.iter().find(|targets| targets.kind() == chosen.kind);
        found
            .ok_or_else(|| unknown(&chosen.kind, self.targets.iter().map(|targets| targets.kind())))?
            .open(context, chosen)
            .await
    }

    fn queues_of(&self, chosen: &Chosen) -> Result<&dyn Queues> {
        let found = self.queues.iter().find(|queues| queues.kind() == chosen.kind);
        found
            .map(|queues| &**queues)
            .ok_or_else(|| unknown(&chosen.kind, self.queues.iter().map(|queues| queues.kind())))
    }
}

#[cfg(feature = "http")]
fn broken(why: String) -> Error {
    Error::new(Kind::Internal, "builtin.open", why)
}

fn unknown(kind: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let known: Vec<&str> = known.collect();
    Error::new(Kind::Invalid, "builtin.open", format!("this build has no `{kind}`; it has {}", known.join(", ")))
}

/// A kind of queue without its types.
#[async_trait]
trait Queues: Send + Sync {
    fn kind(&self) -> &'static str;
    async fn open(&self, context: QueueContext, chosen: &Chosen) -> Result<Arc<dyn Queue>>;
    async fn remove(&self, namespace: &NamespaceName) -> Result<()>;
}

/// A kind of target without its types.
#[async_trait]
trait Targets: Send + Sync {
    fn kind(&self) -> &'static str;
    async fn open(&self, context: TargetContext, chosen: &Chosen) -> Result<Arc<dyn Target>>;
}

/// A backend of either sort.
struct Opened<B>(Arc<B>);

fn read<C: serde::de::DeserializeOwned>(chosen: &Chosen) -> Result<C> {
    chosen.config().map_err(|why| Error::new(Kind::Invalid, "builtin.config", format!("{}: {why}", chosen.kind)))
}

#[async_trait]
impl<B: QueueBackend> Queues for Opened<B> {
    fn kind(&self) -> &'static str {
        B::KIND
    }
    async fn open(&self, context: QueueContext, chosen: &Chosen) -> Result<Arc<dyn Queue>> {
        self.0.open(context, read(chosen)?).await
    }
    async fn remove(&self, namespace: &NamespaceName) -> Result<()> {
        self.0.remove(namespace).await
    }
}

#[async_trait]
impl<B: TargetBackend> Targets for Opened<B> {
    fn kind(&self) -> &'static str {
        B::KIND
    }
    async fn open(&self, context: TargetContext, chosen: &Chosen) -> Result<Arc<dyn Target>> {
        self.0.open(context, read(chosen)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i21_what_the_embedded_queue_cannot_do_is_known_when_the_configuration_is_read() {
        let kinds = kinds();
        let queue = kinds.queues.iter().find(|kind| kind.name == "embedded").expect("it is always built in");
        let can = queue.capability.as_ref().expect("it is the same for every config");
        assert!(queue.parks && can.ordered && can.durable && can.delay_ms_max.is_none());
        assert_eq!(can.record_bytes_max, walhost_core::limits::RECORD_BYTES_HARD_MAX as u64);
    }
}
