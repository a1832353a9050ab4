//! The catalogue's content. Every member has a default, so that a later version reads an older file.
//!
//! In: nothing. Out: plain values with a JSON form; secrets are places here, never values (I40).

use crate::host::task::Task;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use walhost_core::plugin::{Grants, PluginLimits};
use walhost_core::{Digest, NamespaceName, TargetName};

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Namespaces, also those that were deleted while their file's table is still there.
    pub namespaces: BTreeMap<NamespaceName, Kept>,
    /// Generations of pipelines given out so far.
    pub generations: u64,
    /// Tasks, oldest first.
    pub tasks: Vec<Task>,
}

impl State {
    /// A generation that was never given out before.
    pub fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    /// A namespace that exists.
    pub fn living(&self, name: &str) -> Option<&Kept> {
        self.namespaces.get(name).filter(|kept| !kept.deleted)
    }
}

/// Where the last change came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A file.
    #[default]
    Config,
    /// The admin listener.
    Runtime,
}

impl Source {
    /// As JSON says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Config => "config",
            Source::Runtime => "runtime",
        }
    }
}

/// What is remembered of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Where its table came from.
    pub source: Source,
    /// Its table, as it was written.
    pub table: serde_json::Value,
    /// Mark of the file's table when it was last looked at; none: it stood in no file.
    pub file_mark: Option<String>,
    /// Grows with every change; the ETag.
    pub revision: u64,
    /// It was deleted at run time, and its file's table has not changed since.
    pub deleted: bool,
    /// Its table is gone from the files: nothing is taken or delivered, what it has is kept.
    pub removed: bool,
    /// Delivery is paused.
    pub paused: bool,
    /// Ingest is paused too.
    pub ingest_paused: bool,
    /// Its targets, also those that are no longer configured.
    pub targets: BTreeMap<TargetName, KeptTarget>,
}

/// What is remembered of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptTarget {
    /// Why it is paused; none: it is not.
    pub paused: Option<Pause>,
    /// It is gone from the configuration: it stays, paused, until it is deleted.
    pub removed: bool,
    /// Its slots.
    pub slots: BTreeMap<SlotKind, Slot>,
}

/// Why a target is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Somebody paused it.
    Operator,
    /// It said that it is gone for good.
    Gone {
        /// `http-410`.
        code: String,
        /// For a person.
        message: String,
    },
}

/// The two places of a target that take a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// Before the target.
    Transform,
    /// The target itself.
    Sink,
}

impl SlotKind {
    /// As a slot's name ends.
    pub fn as_str(self) -> &'static str {
        match self {
            SlotKind::Transform => "transform",
            SlotKind::Sink => "sink",
        }
    }
}

/// `<target>.transform` or `<target>.sink`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotName {
    /// Whose.
    pub target: TargetName,
    /// Which.
    pub kind: SlotKind,
}

impl fmt::Display for SlotName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.target, self.kind.as_str())
    }
}

impl FromStr for SlotName {
    type Err = String;
    fn from_str(text: &str) -> Result<SlotName, String> {
        let wrong = || format!("`{}` is no slot: <target>.transform or <target>.sink", text.escape_debug());
        let (target, kind) = text.rsplit_once('.').ok_or_else(wrong)?;
        let kind = match kind {
            "transform" => SlotKind::Transform,
            "sink" => SlotKind::Sink,
            _ => return Err(wrong()),
        };
        Ok(SlotName { target: TargetName::new(target).map_err(|error| error.to_string())?, kind })
    }
}

/// One slot's versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// Oldest first, bounded.
    pub versions: Vec<Version>,
    /// Generation of the one that is loaded; none: the slot is empty.
    pub current: Option<u64>,
    /// Mark of what the file said when it was last looked at; none: nothing.
    pub file_mark: Option<String>,
}

impl Slot {
    /// The version that is loaded.
    pub fn loaded(&self) -> Option<&Version> {
        self.versions.iter().find(|version| Some(version.generation) == self.current)
    }

    /// The version that ran before the loaded one and is another: what a rollback made is a copy of an
    /// older one, and going back once more must not stand still.
    pub fn before(&self) -> Option<&Version> {
        let place = self.versions.iter().position(|version| Some(version.generation) == self.current)?;
        let (older, loaded) = (&self.versions[..place], &self.versions[place]);
        older.iter().rev().find(|version| !version.taken_back && !version.same(loaded))
    }

    /// Loads a version; the oldest ones are forgotten.
    pub fn load(&mut self, version: Version) {
        self.current = Some(version.generation);
        self.versions.push(version);
        let spare = self.versions.len().saturating_sub(crate::limits::SLOT_VERSIONS_MAX);
        self.versions.drain(..spare);
    }
}

/// A plugin as it was put into a slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Of the pipeline that it made.
    pub generation: u64,
    /// The component.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// As the configuration calls it; none: it was loaded by digest.
    #[serde(default)]
    pub name: Option<String>,
    /// A JSON object.
    pub settings: serde_json::Value,
    /// What it may do.
    #[serde(default)]
    pub grants: Grants,
    /// What it may use.
    #[serde(default)]
    pub limits: PluginLimits,
    /// When it was loaded, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who loaded it.
    pub source: Source,
    /// It was rolled back, by hand or because it faulted.
    #[serde(default)]
    pub taken_back: bool,
}

impl Version {
    /// True when the other one does the same: component, settings, grants and limits are equal.
    pub fn same(&self, other: &Version) -> bool {
        (self.digest, &self.settings) == (other.digest, &other.settings)
            && (&self.grants, &self.limits) == (&other.grants, &other.limits)
    }
}

/// A digest as text.
pub mod digest_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use walhost_core::Digest;

    /// `sha256:…`.
    pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    /// The same, read.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).ok_or_else(|| D::Error::custom("a digest is sha256: and 64 hexadecimal digits"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn version(generation: u64) -> Version {
        Version {
            generation,
            digest: Digest([generation as u8; 32]),
            name: None,
            settings: serde_json::json!({}),
            grants: Grants::default(),
            limits: PluginLimits::default(),
            at_ms: 1,
            source: Source::Runtime,
            taken_back: false,
        }
    }

    #[test]
    fn the_version_before_is_the_newest_that_was_not_taken_back() {
        let mut slot = Slot::default();
        assert!(slot.before().is_none());
        for generation in 1..=3 {
            slot.load(version(generation));
        }
        slot.versions[1].taken_back = true;
        assert_eq!(slot.loaded().unwrap().generation, 3);
        assert_eq!(slot.before().unwrap().generation, 1);
    }

    #[test]
    fn going_back_from_a_copy_of_an_older_version_goes_further_back() {
        let mut slot = Slot::default();
        for generation in 1..=3 {
            slot.load(version(generation));
        }
        slot.versions[2].taken_back = true;
        slot.load(Version { generation: 4, ..version(2) });
        assert_eq!(slot.before().unwrap().generation, 1, "2 is what is loaded");
    }

    #[test]
    fn versions_are_bounded_and_read_back() {
        let mut slot = Slot::default();
        for generation in 1..=100 {
            slot.load(version(generation));
        }
        assert_eq!(slot.versions.len(), crate::limits::SLOT_VERSIONS_MAX);
        let text = serde_json::to_string(&slot).unwrap();
        assert_eq!(serde_json::from_str::<Slot>(&text).unwrap(), slot);
    }

    #[test]
    fn slots_are_named_by_target_and_kind() {
        let slot: SlotName = "search.sink".parse().unwrap();
        assert_eq!((slot.target.as_str(), slot.kind), ("search", SlotKind::Sink));
        for wrong in ["search", "search.", "search.source", ".sink", "A.sink"] {
            assert!(wrong.parse::<SlotName>().is_err(), "{wrong}");
        }
    }
}
