//! Changes of namespaces: by the files, by admin. The last change wins: what was set at run time stays until
//! the file's table itself changes.
//!
//! In: a model that was read, a table that was put. Out: namespaces that run as it says, durably.

use super::{Directory, Host, slot};
use crate::catalogue::{Kept, Source, State};
use crate::config::model::Namespace;
use crate::config::{self, Model};
use crate::http::error::{Code, Place, Problem};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::NamespaceName;

/// How long a worker that is deleted may take to end.
const STOP: Duration = Duration::from_secs(5);

/// What came of a reading of the files.
pub type Refusals = BTreeMap<NamespaceName, BTreeMap<String, String>>;

impl Host {
    /// Takes over what the files say; called at the start and at every reload. Answers what was refused: a
    /// namespace that could not be changed goes on as it was.
    pub async fn apply(&self, model: Model) -> Result<Refusals, Problem> {
        let _alone = self.control.lock().await;
        self.apply_alone(model).await
    }

    async fn apply_alone(&self, model: Model) -> Result<Refusals, Problem> {
        let model = Arc::new(model);
        let marks: BTreeMap<NamespaceName, String> = model
            .namespaces
            .values()
            .filter(|namespace| model.elsewhere(namespace).is_none())
            .map(|namespace| (namespace.name.clone(), slot::hash(&namespace.table)))
            .collect();
        self.model.store(Arc::clone(&model));
        let mut planned = State::clone(&self.catalogue.state());
        plan(&mut planned, &model, &marks);
        if planned != *self.catalogue.state() {
            self.catalogue
                .change(|state| {
                    plan(state, &model, &marks);
                    Ok::<_, Problem>(())
                })
                .await?;
        }
        self.point_elsewhere(&model);
        let state = self.catalogue.state();
        let mut refusals = Refusals::new();
        for (name, kept) in state.namespaces.iter().filter(|(_, kept)| !kept.deleted) {
            if model.namespaces.get(name).is_some_and(|namespace| model.elsewhere(namespace).is_some()) {
                // I45: what another shard serves is not taken here any more; what it has here is kept.
                self.leave(name).await;
                continue;
            }
            let refused = match self.effective(name, kept, &model) {
                Ok(effective) => self.converge(Arc::new(effective), kept).await,
                Err(problem) => Err(problem),
            };
            let refused = refused.unwrap_or_else(|problem| {
                tracing::error!(namespace = %name, "the namespace could not be opened or changed: {}", problem.detail);
                BTreeMap::from([("namespace".to_owned(), problem.detail.clone())])
            });
            if !refused.is_empty() {
                refusals.insert(name.clone(), refused);
            }
        }
        Ok(refusals)
    }

    fn point_elsewhere(&self, model: &Model) {
        let mut elsewhere = BTreeMap::new();
        for namespace in model.namespaces.values() {
            if let Some(shard) = model.elsewhere(namespace) {
                let url = model.shards.get(shard).map(|peer| peer.url.clone()).unwrap_or_default();
                elsewhere.insert(namespace.name.clone(), url);
            }
        }
        let tokens = |listener: &config::model::Listener| listener.tokens.as_ref().map(|tokens| tokens.tokens.clone());
        self.directory.rcu(|directory| {
            let mut directory = Directory::clone(directory);
            directory.set_elsewhere(elsewhere.clone());
            directory.ingest_tokens = tokens(&model.server.ingest);
            directory.admin_tokens = tokens(&model.server.admin);
            directory
        });
    }

    /// The model of what is remembered: the file's own where that is what counts, else read from the table.
    fn effective(&self, name: &NamespaceName, kept: &Kept, model: &Model) -> Result<Namespace, Problem> {
        match model.namespaces.get(name) {
            Some(namespace) if namespace.table == kept.table => Ok(namespace.clone()),
            _ => self.read_table(name, &kept.table),
        }
    }

    fn read_table(&self, name: &NamespaceName, table: &Value) -> Result<Namespace, Problem> {
        let model = self.model.load();
        let read = config::namespace_from_json(name, table, &self.kinds, &model);
        let (namespace, warnings) = read.map_err(|diagnostics| bad_config(&diagnostics))?;
        for warning in &warnings.list {
            tracing::warn!(namespace = %name, "{}", warning.message);
        }
        if let Some(shard) = model.elsewhere(&namespace) {
            let mut problem = Problem::new(Code::WrongShard, format!("{name} belongs to shard {shard}"));
            problem.location = model.shards.get(shard).map(|peer| peer.url.clone());
            return Err(problem);
        }
        Ok(namespace)
    }

    /// `PUT /admin/v1/namespaces/{ns}`. Answers true when it is new. `expected`: what If-Match and
    /// If-None-Match say of the revision.
    pub async fn put_namespace(&self, name: &NamespaceName, table: Value, expected: Expected) -> Result<bool, Problem> {
        self.may_change()?;
        let _alone = self.control.lock().await;
        let namespace = self.read_table(name, &table)?;
        let (before, kept, created) = self
            .catalogue
            .change(|state| {
                let before = state.namespaces.get(name).cloned();
                let living = before.as_ref().filter(|kept| !kept.deleted);
                expected.check(living.map(|kept| kept.revision))?;
                let created = living.is_none();
                let mut kept = before.clone().unwrap_or_default();
                change_table(&mut kept, namespace.table.clone(), Source::Runtime);
                mark_targets(&mut kept, &namespace);
                state.namespaces.insert(name.clone(), kept.clone());
                Ok::<_, Problem>((before, kept, created))
            })
            .await?;
        let outcome = self.converge(Arc::new(namespace), &kept).await;
        let problem = match outcome {
            Ok(refused) if refused.is_empty() => return Ok(created),
            Ok(refused) => {
                let mut problem =
                    Problem::new(Code::BadConfig, format!("{} parts of it cannot be opened", refused.len()));
                let place = |(place, detail)| Place { line: None, pointer: Some(place), detail };
                problem.errors = refused.into_iter().map(place).collect();
                problem
            }
            Err(problem) => problem,
        };
        self.take_back_table(name, before).await?;
        Err(problem)
    }

    /// What could not be opened is not remembered either, and what ran before runs again.
    async fn take_back_table(&self, name: &NamespaceName, before: Option<Kept>) -> Result<(), Problem> {
        let again = before.clone().filter(|kept| !kept.deleted);
        self.catalogue
            .change(|state| {
                match before {
                    Some(kept) => state.namespaces.insert(name.clone(), kept),
                    None => state.namespaces.remove(name),
                };
                Ok::<_, Problem>(())
            })
            .await?;
        match again {
            Some(kept) => {
                let model = self.model.load_full();
                let namespace = self.effective(name, &kept, &model)?;
                self.converge(Arc::new(namespace), &kept).await?;
            }
            None => self.leave(name).await,
        }
        Ok(())
    }

    /// Ends a namespace's workers and takes it out of the directory; its queue stays as it is.
    async fn leave(&self, name: &NamespaceName) {
        let Ok(running) = self.directory.load().kept(name.as_str()).cloned() else { return };
        self.directory.rcu(|directory| {
            let mut directory = Directory::clone(directory);
            directory.remove(name);
            directory
        });
        for target in running.targets.values() {
            target.worker.stop(STOP).await;
        }
    }

    /// `DELETE /admin/v1/namespaces/{ns}`: its workers end, its queue goes with all its records. It does not
    /// come back by its file until the file's table changes.
    pub async fn delete_namespace(&self, name: &NamespaceName, expected: Expected) -> Result<u64, Problem> {
        self.may_change()?;
        let _alone = self.control.lock().await;
        let running = Arc::clone(self.directory.load().kept(name.as_str())?);
        expected.check(Some(running.revision))?;
        // Remembered first: a crash in between leaves a queue that no catalogue names, which is reported.
        self.catalogue
            .change(|state| {
                if let Some(kept) = state.namespaces.get_mut(name) {
                    match kept.file_mark.clone() {
                        Some(mark) => {
                            *kept = Kept {
                                deleted: true,
                                file_mark: Some(mark),
                                revision: kept.revision + 1,
                                ..Kept::default()
                            };
                        }
                        None => drop(state.namespaces.remove(name)),
                    }
                }
                Ok::<_, Problem>(())
            })
            .await?;
        self.leave(name).await;
        let records = running.queue().stats().backlog_records;
        running.queue().close().await?;
        self.backends.remove_queue(name, &running.model.queue).await?;
        self.metrics.forget(name);
        Ok(records)
    }

    /// Reads the files again and takes over what they say.
    pub async fn reload(&self) -> Result<Value, Problem> {
        let path = self.config_path.clone();
        let path =
            path.ok_or_else(|| Problem::new(Code::Conflict, "this host was started without a configuration file"))?;
        let kinds = self.kinds.clone();
        let read = walhost_core::exec::blocking(move || config::load(&path, &kinds)).await;
        let read = read.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let succeeded = &self.reload_succeeded;
        let loaded = read.map_err(|diagnostics| {
            succeeded.store(false, std::sync::atomic::Ordering::Relaxed);
            tracing::error!("the configuration cannot be used, the present one stays:\n{diagnostics}");
            bad_config(&diagnostics)
        })?;
        let _alone = self.control.lock().await;
        let mut model = loaded.model;
        if let Some(shard) = &self.shard {
            model.shard.name = Some(shard.clone());
        }
        let diff = config::diff(&self.model.load(), &model);
        // Listeners and the data directory are what a restart changes; tokens are taken over.
        let now = self.model.load();
        model.shard.data_dir.clone_from(&now.shard.data_dir);
        drop(now);
        let refusals = self.apply_alone(model).await?;
        succeeded.store(refusals.is_empty(), std::sync::atomic::Ordering::Relaxed);
        for table in &diff.needs_restart {
            tracing::warn!("[{table}] has changed: that part takes effect at the next start");
        }
        let mut answer = serde_json::to_value(&diff).unwrap_or_default();
        answer["refused"] = json!(refusals);
        answer["warnings"] = loaded.warnings.to_json();
        Ok(answer)
    }
}

/// What a request says of the revision that it means to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Any,
    /// This one.
    Revision(u64),
    /// Something.
    Something,
    /// Nothing: it is to be made.
    Nothing,
    /// A tag that is none of ours.
    Never,
}

impl Expected {
    fn check(self, revision: Option<u64>) -> Result<(), Problem> {
        let holds = match self {
            Expected::Any => true,
            Expected::Revision(wanted) => revision == Some(wanted),
            Expected::Something => revision.is_some(),
            Expected::Nothing => revision.is_none(),
            Expected::Never => false,
        };
        let detail = match revision {
            Some(revision) => format!("its ETag is \"{revision}\""),
            None => "there is none".to_owned(),
        };
        if holds { Ok(()) } else { Err(Problem::new(Code::PreconditionFailed, detail)) }
    }
}

fn change_table(kept: &mut Kept, table: Value, source: Source) {
    kept.table = table;
    kept.source = source;
    kept.revision += 1;
    kept.deleted = false;
    kept.removed = false;
}

/// Marks which targets the configuration still has.
fn mark_targets(kept: &mut Kept, namespace: &Namespace) {
    for target in namespace.targets.keys() {
        kept.targets.entry(target.clone()).or_default().removed = false;
    }
    for (name, target) in &mut kept.targets {
        target.removed |= !namespace.targets.contains_key(name);
    }
}

/// Merges what the files say into what is remembered.
fn plan(state: &mut State, model: &Model, marks: &BTreeMap<NamespaceName, String>) {
    for (name, mark) in marks {
        let namespace = &model.namespaces[name];
        let kept = state.namespaces.entry(name.clone()).or_default();
        if kept.file_mark.as_ref() != Some(mark) {
            change_table(kept, namespace.table.clone(), Source::Config);
            kept.file_mark = Some(mark.clone());
            mark_targets(kept, namespace);
        }
    }
    for (name, kept) in &mut state.namespaces {
        if kept.file_mark.is_some() && !marks.contains_key(name) {
            kept.file_mark = None;
            kept.removed = true;
            kept.revision += 1;
        }
    }
    state.namespaces.retain(|_, kept| !(kept.deleted && kept.file_mark.is_none()));
}

/// Diagnostics as a problem with every place.
pub fn bad_config(diagnostics: &config::Diagnostics) -> Problem {
    let errors = || diagnostics.list.iter().filter(|diagnostic| diagnostic.severity == config::Severity::Error);
    let count = errors().count();
    let mut problem = Problem::new(Code::BadConfig, format!("{count} things are wrong with it"));
    problem.errors = errors()
        .map(|diagnostic| {
            let position = diagnostics.position(&diagnostic.place);
            let pointer = match (&diagnostic.place, &position) {
                (_, Some(position)) => Some(format!("{}:{}:{}", position.file, position.line, position.column)),
                (config::node::Place::Pointer(pointer), None) => Some(pointer.clone()),
                (config::node::Place::Text(..), None) => None,
            };
            let help = diagnostic.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
            Place { line: None, pointer, detail: format!("{}: {}{help}", diagnostic.code, diagnostic.message) }
        })
        .collect();
    if let [only] = problem.errors.as_slice() {
        let detail = only.detail.clone();
        problem.detail = detail;
    }
    problem
}

#[cfg(test)]
mod tests;
