//! Slots: which plugin runs before a target, or is it. Load is all or nothing (I33): settings checked, plugin
//! tried, the configuration's tests run, catalogue written, pipeline swapped; an error leaves the old version
//! serving.
//!
//! In: a digest with settings, grants, limits. Out: old and new version, and what the tests said.

use super::running::{Loaded, Parts};
use super::{Host, Running, RunningTarget, selftest};
use crate::catalogue::state::{Slot, SlotKind, SlotName, Source, Version};
use crate::config::model::{Destination, PluginSource, PluginUse, Target as TargetModel, Test};
use crate::http::error::{Code, Problem};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use walhost_core::config::Secret;
use walhost_core::plugin::{Grants, PluginLimits, PluginSpec};
use walhost_core::{Digest, NamespaceName, PluginLoader, Target, TargetName, Transform, exec};

/// What a slot should have, by file and catalogue.
pub enum Wanted {
    /// No plugin.
    Nothing,
    /// What the catalogue remembers.
    Kept,
    /// What the file says: it has changed since it was last looked at. With its mark.
    Config(Box<Version>, String),
}

/// A loaded plugin of either kind.
pub enum Plugin {
    /// Runs before the target.
    Transform(Loaded<dyn Transform>),
    /// Is the target.
    Sink(Loaded<dyn Target>),
}

/// The same plugin under its durable generation.
pub fn with_generation(plugin: Plugin, generation: u64) -> Plugin {
    match plugin {
        Plugin::Transform(loaded) => Plugin::Transform(Loaded { generation, ..loaded }),
        Plugin::Sink(loaded) => Plugin::Sink(Loaded { generation, ..loaded }),
    }
}

impl Parts {
    /// Empties a slot.
    pub fn empty(&mut self, kind: SlotKind) {
        match kind {
            SlotKind::Transform => self.transform = None,
            SlotKind::Sink => self.sink = None,
        }
    }

    /// Puts a plugin into its slot.
    pub fn put(&mut self, plugin: Plugin) {
        match plugin {
            Plugin::Transform(loaded) => self.transform = Some(loaded),
            Plugin::Sink(loaded) => self.sink = Some(loaded),
        }
    }

    /// Generation of what a slot has.
    pub fn generation(&self, kind: SlotKind) -> Option<u64> {
        match kind {
            SlotKind::Transform => self.transform.as_ref().map(|loaded| loaded.generation),
            SlotKind::Sink => self.sink.as_ref().map(|loaded| loaded.generation),
        }
    }

    /// Generations of both slots.
    pub fn generations(&self) -> [Option<u64>; 2] {
        [self.generation(SlotKind::Transform), self.generation(SlotKind::Sink)]
    }
}

/// `PUT …/slots/{slot}`. What is left out stays as it is in the version that is loaded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// `sha256:…`.
    pub digest: String,
    /// A JSON object.
    pub settings: Option<Value>,
    /// What it may do.
    pub grants: Option<Grants>,
    /// What it may use.
    pub limits: Option<PluginLimits>,
}

impl Host {
    /// What the file's part of a slot says, and whether it has changed.
    pub(super) async fn wanted(&self, model: &TargetModel, kind: SlotKind, slot: &Slot) -> Result<Wanted, Problem> {
        let used = match (kind, &model.destination) {
            (SlotKind::Transform, _) => model.transform.as_ref(),
            (SlotKind::Sink, Destination::Plugin(used)) => used.as_ref(),
            (SlotKind::Sink, Destination::Backend(_)) => return Ok(Wanted::Nothing),
        };
        let Some(used) = used else {
            return Ok(if slot.file_mark.is_some() { Wanted::Nothing } else { Wanted::Kept });
        };
        let version = self.configured(used).await?;
        let mark = mark(&version);
        let unchanged = slot.file_mark.as_deref() == Some(&mark);
        Ok(if unchanged { Wanted::Kept } else { Wanted::Config(Box::new(version), mark) })
    }

    /// The version that a file asks for: its component is stored when it is not so far.
    async fn configured(&self, used: &PluginUse) -> Result<Version, Problem> {
        let model = self.model.load_full();
        let missing = || Problem::new(Code::BadConfig, format!("[plugins.{}] is missing", used.plugin));
        let plugin = model.plugins.get(&used.plugin).ok_or_else(missing)?;
        let digest = match &plugin.source {
            PluginSource::Digest(digest) => *digest,
            PluginSource::Ref(path) => {
                let path = path.clone();
                let shown = path.display().to_string();
                let read = exec::blocking(move || std::fs::read(&path)).await;
                let component = read
                    .map_err(|error| Problem::new(Code::Internal, error.to_string()))?
                    .map_err(|error| Problem::new(Code::PluginRejected, format!("{shown} cannot be read: {error}")))?;
                self.plugins.store(component.into()).await?.digest
            }
        };
        Ok(Version {
            generation: 0,
            digest,
            name: Some(used.plugin.to_string()),
            settings: used.settings.clone(),
            grants: used.grants.clone().unwrap_or_else(|| plugin.grants.clone()),
            limits: used.limits.clone().unwrap_or_else(|| plugin.limits.clone()),
            at_ms: self.clock.now_ms(),
            source: Source::Config,
            taken_back: false,
        })
    }

    /// Tries a version: instantiated and initialised with its real settings. Touches nothing that runs.
    pub(super) async fn load(
        &self,
        namespace: &NamespaceName,
        target: &TargetName,
        kind: SlotKind,
        version: &Version,
    ) -> Result<Plugin, Problem> {
        let spec = PluginSpec {
            digest: version.digest,
            namespace: namespace.clone(),
            target: target.clone(),
            settings: version.settings.clone(),
            grants: version.grants.clone(),
            limits: version.limits.clone(),
        };
        let (generation, digest) = (version.generation, version.digest);
        Ok(match kind {
            SlotKind::Transform => {
                Plugin::Transform(Loaded { generation, digest, plugin: self.plugins.transform(&spec).await? })
            }
            SlotKind::Sink => Plugin::Sink(Loaded { generation, digest, plugin: self.plugins.sink(&spec).await? }),
        })
    }

    /// Makes a version the loaded one, durably; answers its generation. `mark`: of the file's part.
    pub(super) async fn keep_version(
        &self,
        namespace: &NamespaceName,
        target: &TargetName,
        kind: SlotKind,
        mut version: Version,
        mark: String,
    ) -> Result<u64, Problem> {
        self.catalogue
            .change(|state| {
                version.generation = state.next_generation();
                let generation = version.generation;
                let kept = state.namespaces.entry(namespace.clone()).or_default();
                let slot = kept.targets.entry(target.clone()).or_default().slots.entry(kind).or_default();
                slot.file_mark = Some(mark);
                slot.load(version);
                Ok(generation)
            })
            .await
    }

    /// A plugin that the file no longer names: the slot is emptied, durably.
    pub(super) async fn forget_slot(
        &self,
        namespace: &NamespaceName,
        target: &TargetName,
        kind: SlotKind,
    ) -> Result<(), Problem> {
        let state = self.catalogue.state();
        let slot = state.namespaces.get(namespace).and_then(|kept| kept.targets.get(target)?.slots.get(&kind));
        if slot.is_none_or(|slot| slot.current.is_none() && slot.file_mark.is_none()) {
            return Ok(());
        }
        self.catalogue
            .change(|state| {
                let kept = state.namespaces.get_mut(namespace).and_then(|kept| kept.targets.get_mut(target));
                if let Some(slot) = kept.and_then(|target| target.slots.get_mut(&kind)) {
                    slot.current = None;
                    slot.file_mark = None;
                }
                Ok(())
            })
            .await
    }

    /// Loads a plugin into a slot, or says what that would do. `admin`: whoever asks may grant anything.
    pub async fn put_slot(
        &self,
        namespace: &str,
        name: &SlotName,
        put: Put,
        dry_run: bool,
        admin: bool,
    ) -> Result<Value, Problem> {
        let _alone = self.control.lock().await;
        let (running, target) = self.slot_target(namespace, name)?;
        let digest = Digest::parse(&put.digest)
            .ok_or_else(|| Problem::new(Code::MalformedJson, "digest is sha256: and 64 hexadecimal digits"))?;
        let old = self.slot(running.name(), name).loaded().cloned();
        if let Some(grants) = put.grants.as_ref().filter(|_| !admin) {
            may_grant(old.as_ref().map(|old| &old.grants), grants)?;
        }
        let version = Version {
            generation: 0,
            digest,
            name: None,
            settings: put
                .settings
                .or_else(|| old.as_ref().map(|old| old.settings.clone()))
                .unwrap_or_else(|| json!({})),
            grants: put.grants.or_else(|| old.as_ref().map(|old| old.grants.clone())).unwrap_or_default(),
            limits: put.limits.or_else(|| old.as_ref().map(|old| old.limits.clone())).unwrap_or_default(),
            at_ms: self.clock.now_ms(),
            source: Source::Runtime,
            taken_back: false,
        };
        self.enter(&running, &target, name, version, old, dry_run).await
    }

    /// Loads the version that ran before.
    pub async fn roll_back(&self, namespace: &str, name: &SlotName) -> Result<Value, Problem> {
        let _alone = self.control.lock().await;
        self.take_back(namespace, name).await
    }

    /// The same, for a version that faulted, unless another one is loaded by now.
    pub(super) async fn roll_back_faulty(
        &self,
        namespace: &str,
        name: &SlotName,
        generation: u64,
    ) -> Result<Value, Problem> {
        let _alone = self.control.lock().await;
        let (running, _) = self.slot_target(namespace, name)?;
        if self.slot(running.name(), name).current != Some(generation) {
            return Err(Problem::new(Code::Conflict, "another version is loaded by now"));
        }
        self.take_back(namespace, name).await
    }

    async fn take_back(&self, namespace: &str, name: &SlotName) -> Result<Value, Problem> {
        let (running, target) = self.slot_target(namespace, name)?;
        let slot = self.slot(running.name(), name);
        let none = || Problem::new(Code::Conflict, format!("{name} has no version before the present one"));
        let before = slot.before().cloned().ok_or_else(none)?;
        let version = Version { at_ms: self.clock.now_ms(), source: Source::Runtime, ..before };
        let old = slot.loaded().cloned();
        let faulty = slot.loaded().cloned();
        let answer = self.enter(&running, &target, name, version, old, false).await?;
        target.observer.end_trial();
        self.catalogue
            .change(|state| {
                let kept = state.namespaces.get_mut(running.name()).and_then(|kept| kept.targets.get_mut(&name.target));
                for version in kept
                    .and_then(|target| target.slots.get_mut(&name.kind))
                    .into_iter()
                    .flat_map(|slot| &mut slot.versions)
                {
                    version.taken_back |= faulty.as_ref().is_some_and(|faulty| version.same(faulty));
                }
                Ok::<_, Problem>(())
            })
            .await?;
        Ok(answer)
    }

    /// The one way into a slot: try, test, remember, swap.
    async fn enter(
        &self,
        running: &Running,
        target: &Arc<RunningTarget>,
        name: &SlotName,
        mut version: Version,
        old: Option<Version>,
        dry_run: bool,
    ) -> Result<Value, Problem> {
        let loaded = self.load(running.name(), &name.target, name.kind, &version).await?;
        let tests = self_test(&running.model.tests, &name.target, &loaded).await?;
        let none = Grants::default();
        let diff = grants_diff(old.as_ref().map_or(&none, |old| &old.grants), &version.grants);
        let (new_digest, old_digest) = (version.digest.to_string(), old.map(|old| old.digest.to_string()));
        let mut generation = Value::Null;
        if !dry_run {
            let file_mark = self.slot(running.name(), name).file_mark;
            version.generation = self
                .catalogue
                .change(|state| {
                    version.generation = state.next_generation();
                    let made = version.generation;
                    let kept = state.namespaces.entry(running.name().clone()).or_default();
                    let slot = kept.targets.entry(name.target.clone()).or_default().slots.entry(name.kind).or_default();
                    slot.file_mark = file_mark;
                    slot.load(version.clone());
                    Ok::<_, Problem>(made)
                })
                .await?;
            generation = version.generation.into();
            let auto_rollback = {
                let mut parts = target.parts.lock();
                parts.put(with_generation(loaded, version.generation));
                parts.refusals.remove(&name.kind);
                if parts.model.auto_rollback {
                    target.observer.begin_trial(version.generation);
                }
                target.worker.swap(parts.pipeline(version.generation));
                parts.model.auto_rollback
            };
            tracing::info!(namespace = %running.name(), slot = %name, digest = new_digest, generation = version.generation, auto_rollback, "a plugin was loaded");
        }
        Ok(json!({
            "slot": name.to_string(),
            "old_digest": old_digest,
            "new_digest": new_digest,
            "generation": generation,
            "dry_run": dry_run,
            "grants_diff": diff,
            "tests": tests.iter().map(selftest::Outcome::shown).collect::<Vec<_>>(),
        }))
    }

    /// What is remembered of a slot.
    pub fn slot(&self, namespace: &NamespaceName, name: &SlotName) -> Slot {
        let state = self.catalogue.state();
        let slot =
            state.namespaces.get(namespace).and_then(|kept| kept.targets.get(&name.target)?.slots.get(&name.kind));
        slot.cloned().unwrap_or_default()
    }

    fn slot_target(&self, namespace: &str, name: &SlotName) -> Result<(Arc<Running>, Arc<RunningTarget>), Problem> {
        let running = Arc::clone(self.directory.load().kept(namespace)?);
        let target = running.targets.get(&name.target).cloned();
        let target = target
            .ok_or_else(|| Problem::new(Code::NotFound, format!("{namespace} has no target `{}`", name.target)))?;
        let is_sink = matches!(target.parts.lock().model.destination, Destination::Plugin(_));
        if name.kind == SlotKind::Sink && !is_sink {
            let detail = format!("{} is no plugin target: it has a transform slot only", name.target);
            return Err(Problem::new(Code::NotFound, detail));
        }
        Ok((running, target))
    }
}

/// Runs the configuration's tests of this target with a plugin that was loaded; a failure refuses it.
pub(super) async fn self_test(
    tests: &[Test],
    target: &TargetName,
    loaded: &Plugin,
) -> Result<Vec<selftest::Outcome>, Problem> {
    let tests = match loaded {
        Plugin::Transform(loaded) => selftest::run(tests, target, &*loaded.plugin).await,
        Plugin::Sink(_) => Vec::new(),
    };
    let failed: Vec<&selftest::Outcome> = tests.iter().filter(|test| test.failure.is_some()).collect();
    if failed.is_empty() {
        return Ok(tests);
    }
    let detail = format!("{} of {} tests of the configuration failed", failed.len(), tests.len());
    let mut problem = Problem::new(Code::PluginRejected, detail);
    problem.errors = failed.into_iter().map(selftest::Outcome::place).collect();
    Err(problem)
}

/// What a file says of a slot, in short: a change of it wins over what was loaded at run time.
fn mark(version: &Version) -> String {
    let said = json!({
        "digest": version.digest.to_string(),
        "settings": version.settings,
        "grants": version.grants,
        "limits": version.limits,
    });
    self::hash(&said)
}

/// SHA-256 of a JSON value, short.
pub fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// I31, I40, I41: secrets of the host and addresses of its own network are not a plugin author's to hand out. What
/// the slot has already may stay.
fn may_grant(old: Option<&Grants>, new: &Grants) -> Result<(), Problem> {
    let refuse = |what: &str| {
        Err(Problem::new(
            Code::Forbidden,
            format!("{what}: a grant of that sort is an admin's to give, here or in the configuration"),
        ))
    };
    for grant in new.http.iter().filter(|grant| !old.is_some_and(|old| old.http.contains(grant))) {
        if !grant.headers.is_empty() {
            return refuse(&format!("headers for {}", grant.origin));
        }
        if !grant.cidrs.is_empty() {
            return refuse(&format!("non-public addresses for {}", grant.origin));
        }
    }
    match new.secrets.iter().find(|(name, secret)| old.and_then(|old| old.secrets.get(*name)) != Some(*secret)) {
        Some((name, _)) => refuse(&format!("the secret {name}")),
        None => Ok(()),
    }
}

/// What one set of grants allows more and less than another, in words.
fn grants_diff(old: &Grants, new: &Grants) -> Value {
    // A place is no secret, and another place is another secret.
    let place = |secret: &Secret| match secret {
        Secret::Env(name) => format!("env {name}"),
        Secret::File(path) => format!("file {}", path.display()),
    };
    let words = |grants: &Grants| -> std::collections::BTreeSet<String> {
        let http = grants.http.iter().map(|grant| {
            let mut words = format!("http {}", grant.origin);
            if !grant.cidrs.is_empty() {
                words.push_str(&format!(" at {}", grant.cidrs.join(", ")));
            }
            if !grant.headers.is_empty() {
                let names: Vec<String> =
                    grant.headers.iter().map(|(name, secret)| format!("{name} from {}", place(secret))).collect();
                words.push_str(&format!(" with header {}", names.join(", ")));
            }
            words
        });
        http.chain(grants.secrets.iter().map(|(name, secret)| format!("secret {name} from {}", place(secret))))
            .collect()
    };
    let (old, new) = (words(old), words(new));
    json!({
        "added": new.difference(&old).collect::<Vec<_>>(),
        "removed": old.difference(&new).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_compared_in_words_and_never_show_a_secret() {
        let old: Grants = serde_json::from_value(json!({ "secrets": { "token": { "env": "TOKEN_PLACE" } } })).unwrap();
        let new: Grants = serde_json::from_value(json!({ "http": [{
            "origin": "https://search.internal:9200", "cidrs": ["10.0.0.0/8"], "headers": { "authorization": { "env": "AUTH_PLACE" } },
        }] }))
        .unwrap();
        let diff = grants_diff(&old, &new);
        assert_eq!(
            diff["added"],
            json!(["http https://search.internal:9200 at 10.0.0.0/8 with header authorization from env AUTH_PLACE"])
        );
        assert_eq!(diff["removed"], json!(["secret token from env TOKEN_PLACE"]));
    }

    #[test]
    fn i31_only_an_admin_hands_out_secrets_and_inner_addresses() {
        let grants = |value: Value| serde_json::from_value::<Grants>(value).unwrap();
        let origin = "https://a.example";
        let refused = [
            json!({ "secrets": { "x": { "env": "HOME" } } }),
            json!({ "http": [{ "origin": origin, "headers": { "x": { "file": "/etc/passwd" } } }] }),
            json!({ "http": [{ "origin": origin, "cidrs": ["10.0.0.0/8"] }] }),
        ];
        for new in refused.map(grants) {
            assert_eq!(may_grant(None, &new).unwrap_err().code, Code::Forbidden, "{new:?}");
            assert!(may_grant(Some(&new), &new).is_ok(), "what is granted already may stay");
        }
        let (old, new) = (json!({ "secrets": { "x": { "env": "A" } } }), json!({ "secrets": { "x": { "env": "B" } } }));
        assert!(may_grant(Some(&grants(old)), &grants(new)).is_err(), "another place is another secret");
        assert!(may_grant(None, &grants(json!({ "http": [{ "origin": origin }] }))).is_ok());
    }

    #[test]
    fn a_mark_changes_with_what_the_file_says_and_not_with_the_time() {
        let version = |settings: Value, at_ms| Version {
            generation: at_ms,
            digest: Digest([1; 32]),
            name: None,
            settings,
            grants: Grants::default(),
            limits: PluginLimits::default(),
            at_ms,
            source: Source::Config,
            taken_back: false,
        };
        assert_eq!(mark(&version(json!({ "a": 1 }), 1)), mark(&version(json!({ "a": 1 }), 2)));
        assert_ne!(mark(&version(json!({ "a": 1 }), 1)), mark(&version(json!({ "a": 2 }), 1)));
    }
}
