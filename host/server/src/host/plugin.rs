//! The store of components, as admin sees it: what is in use cannot be deleted.
//!
//! In: bytes, digests. Out: what the sandbox says of them.

use super::Host;
use crate::http::error::{Code, Problem};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use walhost_core::plugin::PluginInfo;
use walhost_core::{Digest, PluginLoader};

use super::trial::Request;
use crate::catalogue::state::{SlotKind, SlotName};

impl Host {
    /// Keeps a component.
    pub async fn store_plugin(&self, component: Bytes) -> Result<PluginInfo, Problem> {
        Ok(self.plugins.store(component).await?)
    }

    /// All that are kept, with the slots that have them.
    pub async fn list_plugins(&self) -> Result<Vec<Value>, Problem> {
        let used = self.used();
        let infos = self.plugins.list().await?;
        Ok(infos.iter().map(|info| shown(info, used.get(&info.digest).cloned().unwrap_or_default())).collect())
    }

    /// One that is kept.
    pub async fn plugin(&self, digest: Digest) -> Result<Value, Problem> {
        let info = self.plugins.info(digest).await?.ok_or_else(|| unknown(digest))?;
        Ok(shown(&info, self.used().remove(&digest).unwrap_or_default()))
    }

    /// Forgets one that nothing has loaded.
    pub async fn delete_plugin(&self, digest: Digest) -> Result<(), Problem> {
        let _alone = self.control.lock().await;
        if let Some(slots) = self.used().get(&digest) {
            return Err(Problem::new(Code::Conflict, format!("it is loaded in {}", slots.join(", "))));
        }
        if self.plugins.remove(digest).await? { Ok(()) } else { Err(unknown(digest)) }
    }

    /// Which slots have which component loaded.
    fn used(&self) -> BTreeMap<Digest, Vec<String>> {
        let mut used: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (namespace, kept) in &self.catalogue.state().namespaces {
            for (target, kept) in &kept.targets {
                for (kind, slot) in &kept.slots {
                    if let Some(version) = slot.loaded() {
                        used.entry(version.digest).or_default().push(format!("{namespace}/{target}.{}", kind.as_str()));
                    }
                }
            }
        }
        used
    }

    /// Does what the workers ask for, until they are all gone.
    pub async fn serve_requests(self: Arc<Host>, mut requests: tokio::sync::mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            match request {
                Request::Pause { namespace, target, reason } => {
                    tracing::error!(%namespace, %target, "the target is paused until it is resumed by hand: {reason:?}");
                    if let Err(problem) = self.pause_target(&namespace, &target, reason).await {
                        tracing::error!(%namespace, %target, "the pause could not be kept: {}", problem.detail);
                    }
                }
                Request::Rollback { namespace, target, generation, code } => {
                    self.roll_back_by_itself(namespace.as_str(), target, generation, &code).await;
                }
            }
        }
    }

    async fn roll_back_by_itself(
        &self,
        namespace: &str,
        target: walhost_core::TargetName,
        generation: u64,
        code: &str,
    ) {
        for kind in [SlotKind::Transform, SlotKind::Sink] {
            let name = SlotName { target: target.clone(), kind };
            let Ok((running, _)) = self.target(namespace, target.as_str()) else { return };
            if self.slot(running.name(), &name).current != Some(generation) {
                continue;
            }
            let subject = format!("{namespace}/{name}");
            match self.roll_back_faulty(namespace, &name, generation).await {
                Ok(answer) => {
                    tracing::error!(namespace, slot = %name, code, "the new version faulted in its first batches and was taken back");
                    if let Err(problem) = self.audit("walhost", "slot.auto-rollback", &subject, answer).await {
                        tracing::error!("{}", problem.detail);
                    }
                }
                Err(problem) => {
                    tracing::error!(namespace, slot = %name, code, "the new version faults and could not be taken back: {}", problem.detail);
                }
            }
        }
    }
}

fn unknown(digest: Digest) -> Problem {
    Problem::new(Code::NotFound, format!("no plugin {digest} is kept"))
}

/// A component in the contract's shape.
pub fn shown(info: &PluginInfo, slots: Vec<String>) -> Value {
    json!({
        "digest": info.digest.to_string(),
        "kind": info.kind.as_str(),
        "world": info.world,
        "imports": info.imports,
        "size": info.size_bytes,
        "stored_at": crate::http::show::time(info.stored_at_ms),
        "slots": slots,
    })
}
