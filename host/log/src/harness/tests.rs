//! The harness in the ordinary test run: enough crash states, every fault, every planted bug.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::Planted;

#[test]
fn no_acknowledged_frame_is_lost_in_five_thousand_crash_states_and_every_fault_happened() {
    let mut report = Report::default();
    let mut broken = Vec::new();
    for seed in 0..500 {
        match run(seed, None) {
            Ok(one) => report.add(&one),
            Err(promise) => broken.push(format!("seed {seed}: {promise}")),
        }
    }
    for seed in 0..10 {
        match recovery_steps(seed) {
            Ok(one) => report.add(&one),
            Err(promise) => broken.push(format!("steps of seed {seed}: {promise}")),
        }
    }
    assert!(broken.is_empty(), "{} broken: {:#?}", broken.len(), &broken[..broken.len().min(12)]);
    let shown = format!("{report:#?}");
    assert!(report.crash_states >= 5_000, "{shown}");
    let hit = [
        report.recoveries_stopped,
        report.fences,
        report.acknowledged,
        report.copies,
        report.idle_trailers,
        report.footers,
        report.recycled,
        report.releases,
        report.given_up,
        report.read_only,
        report.no_room,
        report.torn,
        report.snapshots,
        report.damage,
        report.disk.crashes,
        report.disk.kills,
        report.disk.sectors_lost,
        report.disk.sectors_kept,
        report.disk.files_torn,
        report.disk.names_lost,
        report.disk.names_kept,
        report.disk.syncs_failed,
        report.disk.sectors_lied,
        report.disk.lies_lost,
        report.disk.full,
        report.disk.bits_flipped,
        report.disk.stops,
    ];
    assert!(hit.iter().all(|count| *count > 0), "{shown}");
    for operation in ["create", "write", "write_synced", "sync", "sync_dir", "rename", "remove", "open", "read", "list"]
    {
        assert!(report.stops.contains_key(operation), "never stopped at {operation}: {shown}");
    }
}

fn caught(planted: Planted) -> String {
    let (seed, broken) = campaign(0..400, Some(planted)).expect_err("the planted bug must be caught");
    run(seed, None).unwrap_or_else(|broken| panic!("seed {seed} is good without the bug: {broken}"));
    broken
}

#[test]
fn the_harness_catches_an_acknowledgement_before_the_sync() {
    assert!(caught(Planted::AcknowledgeBeforeSync).contains("are gone"));
}

#[test]
fn the_harness_catches_a_directory_that_is_not_synced() {
    assert!(caught(Planted::SkipDirectorySync).contains("are gone"));
}

#[test]
fn the_harness_catches_a_failed_sync_that_is_retried() {
    assert!(caught(Planted::RetryFailedSync).contains("are gone"));
}

#[test]
fn the_harness_catches_truncation_at_damage() {
    assert!(caught(Planted::TruncateOnDamage).contains("are gone"));
}

#[test]
fn i06_one_flipped_bit_costs_one_frame_and_names_it() {
    // Every 11th bit, so that all bits of a byte have their turn; `flips(1, …)` looks at all of them.
    for closed in [true, false] {
        let flips = flips(11, closed).unwrap_or_else(|broken| panic!("closed {closed}: {broken}"));
        assert!(flips.states > 40_000 && flips.lost > 1_000 && flips.harmless > 100, "{flips:?}");
    }
}

/// Not part of the ordinary run's size: `WALHOST_SEEDS=from..until` widens it.
#[test]
fn more_seeds_are_looked_at_when_asked_for() {
    let asked = std::env::var("WALHOST_SEEDS").unwrap_or_else(|_| "1000..1010".to_owned());
    let (from, until) = asked.split_once("..").expect("from..until");
    let seeds: std::ops::Range<u64> = from.parse().unwrap()..until.parse().unwrap();
    let mut broken = Vec::new();
    let mut states = 0;
    for seed in seeds {
        for outcome in [run(seed, None), recovery_steps(seed)] {
            match outcome {
                Ok(report) => states += report.crash_states,
                Err(promise) => broken.push(format!("seed {seed}: {promise}")),
            }
        }
    }
    assert!(broken.is_empty() && states > 0, "{} broken: {:#?}", broken.len(), &broken[..broken.len().min(12)]);
}
