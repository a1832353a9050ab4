//! What happened in runs of the model, so that a test can prove that its operations and faults did.
//!
//! In: names. Out: counts, and a complaint that lists what never happened.

use std::collections::BTreeMap;

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Ran(BTreeMap<&'static str, u64>);

/// What every campaign of the model must have seen.
pub(super) const OPERATIONS: [&str; 43] = [
    "append",
    "append delayed",
    "append for one",
    "append keyed",
    "deduplicated",
    "append in doubt",
    "doubt was there",
    "doubt was not there",
    "over quota",
    "lease",
    "delivered",
    "filtered",
    "later",
    "long later",
    "held",
    "dead",
    "lease ended",
    "cancel",
    "reschedule",
    "redrive",
    "redrive of a key",
    "followed a parked key",
    "purge",
    "expire",
    "moved",
    "remove",
    "advance",
    "calm",
    "snapshot",
    "cleaned",
    "roll",
    "reopen",
    "power cut",
    "kill",
    "sync failed",
    "disk full",
    "no room",
    "in order",
    "segment given back",
    "sectors lost",
    "lies lost",
    "names lost",
    "files torn",
];

/// What every campaign of crash states must have seen: what was on the disk, what was under way, and at which
/// operation of the disk the process ended.
pub(super) const CRASHES: [&str; 38] = [
    "state",
    "state in recovery",
    "state in the recovery of a recovery",
    "state between operations",
    "state with a damaged snapshot",
    "on disk: append",
    "on disk: append with",
    "on disk: facts",
    "on disk: dead letters",
    "on disk: append delayed",
    "on disk: again",
    "on disk: moved",
    "on disk: trailer",
    "on disk: fence",
    "on disk: roster",
    "on disk: release",
    "on disk: footer",
    "on disk: unproven frames",
    "on disk: torn frames",
    "on disk: one snapshot",
    "on disk: two snapshots",
    "during: append",
    "during: time",
    "during: dead letters",
    "during: redrive",
    "during: cancel",
    "during: removal",
    "during: housekeeping",
    "during: rotation",
    "during: recycling",
    "during: cleaning",
    "during: closing",
    "at: create",
    "at: write",
    "at: write_synced",
    "at: sync",
    "at: sync_dir",
    "at: rename",
];

impl Ran {
    pub(super) fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    pub(super) fn count_many(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(super) fn add(&mut self, other: &Ran) {
        other.0.iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Each of them happened.
    pub(super) fn prove(&self, must: &[&str]) {
        let missing: Vec<_> = must.iter().filter(|what| self.of(what) == 0).collect();
        assert!(missing.is_empty(), "never happened: {missing:?} of {self}");
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(what, count)| write!(f, "\n  {count:>12}  {what}"))
    }
}
