//! What a reload changes.
//!
//! In: the model that is served and the one that was read. Out: names, by what is to be done with them.

use super::model::Model;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use walhost_core::{NamespaceName, PluginName, TargetName};

/// From one model to another; serialises as `config:reload` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Per namespace that is not the same.
    pub namespaces: BTreeMap<NamespaceName, NamespaceDiff>,
    /// Plugins whose source, grants or limits are not the same, added and removed ones too.
    pub plugins: BTreeSet<PluginName>,
    /// Tables that only a restart can change, and that did.
    pub needs_restart: Vec<&'static str>,
}

/// What becomes of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceDiff {
    /// It is new.
    Added,
    /// It is no longer in the files.
    Removed,
    /// It is there before and after.
    Changed(Changes),
}

/// How a namespace changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Keys of the namespace's own table that differ.
    pub keys: Vec<&'static str>,
    /// Targets that are new.
    pub targets_added: BTreeSet<TargetName>,
    /// Targets that are no longer in the files: paused, shown as `removed`.
    pub targets_removed: BTreeSet<TargetName>,
    /// Targets that differ.
    pub targets_changed: BTreeSet<TargetName>,
}

impl Diff {
    /// True when nothing is to be done.
    pub fn is_empty(&self) -> bool {
        *self == Diff::default()
    }
}

/// What changes from `old` to `new`.
pub fn diff(old: &Model, new: &Model) -> Diff {
    let mut diff = Diff::default();
    for name in old.namespaces.keys().chain(new.namespaces.keys()) {
        let change = match (old.namespaces.get(name), new.namespaces.get(name)) {
            (None, _) => NamespaceDiff::Added,
            (_, None) => NamespaceDiff::Removed,
            (Some(old), Some(new)) if old == new => continue,
            (Some(old), Some(new)) => NamespaceDiff::Changed(changes(old, new)),
        };
        diff.namespaces.insert(name.clone(), change);
    }
    diff.plugins = differing(&old.plugins, &new.plugins);
    for (table, same) in [("server", old.server == new.server), ("shard", old.shard == new.shard)] {
        if !same {
            diff.needs_restart.push(table);
        }
    }
    diff
}

fn differing<K: Ord + Clone, V: PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> BTreeSet<K> {
    old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

fn changes(old: &super::model::Namespace, new: &super::model::Namespace) -> Changes {
    let pairs = [
        ("shard", old.shard == new.shard),
        ("queue", old.queue == new.queue && old.durability == new.durability),
        ("ordering", old.ordering == new.ordering),
        ("key", old.key == new.key),
        ("limits", old.limits == new.limits),
        ("idempotency", old.idempotency == new.idempotency),
        ("history", old.history == new.history),
        ("dlq", old.dlq == new.dlq),
        ("tests", old.tests == new.tests),
    ];
    let mut targets_changed = differing(&old.targets, &new.targets);
    targets_changed.retain(|name| old.targets.contains_key(name) && new.targets.contains_key(name));
    Changes {
        keys: pairs.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect(),
        targets_added: new.targets.keys().filter(|name| !old.targets.contains_key(*name)).cloned().collect(),
        targets_removed: old.targets.keys().filter(|name| !new.targets.contains_key(*name)).cloned().collect(),
        targets_changed,
    }
}
