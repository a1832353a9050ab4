//! The harness in the ordinary test run: enough crash states, every fault, every planted bug.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::Planted;

#[test]
fn no_acknowledged_frame_is_lost_in_twenty_thousand_crash_states_and_every_fault_happened() {
    let halves = std::thread::scope(|scope| {
        let half = |from| scope.spawn(move || campaign_of(from..from + 1_000, from..from + 10));
        [half(0), half(1_000)].map(|half| half.join().unwrap())
    });
    let mut report = Report::default();
    halves.into_iter().for_each(|half| report.add(&half.unwrap()));
    let shown = format!("{report:#?}");
    assert!(report.crash_states >= 20_000, "{shown}");
    for kind in ["caller", "trailer", "fence", "footer", "release", "roster"] {
        assert!(report.kinds.contains_key(kind), "{kind} was never on disk: {shown}");
    }
    let hit = [
        report.recoveries_stopped,
        report.fences,
        report.acknowledged,
        report.copies,
        report.fences_with_copies,
        report.fences - report.fences_with_copies,
        report.closed,
        report.headers_damaged,
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
    for operation in
        ["create", "allocate", "write", "write_synced", "sync", "sync_dir", "rename", "remove", "open", "read", "list"]
    {
        assert!(report.stops.contains_key(operation), "never stopped at {operation}: {shown}");
    }
    for operation in ["lock", "list", "open", "bytes", "read", "sync_dir", "free_bytes", "create", "allocate", "write"]
    {
        assert!(report.recovery_stops.contains_key(operation), "no open was stopped at {operation}: {shown}");
    }
    for operation in ["sync", "write_synced", "create_dir_all"] {
        assert!(report.recovery_stops.contains_key(operation), "no open was stopped at {operation}: {shown}");
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
    // All bits of a log whose last segment is to be scanned; of one with footers only, every 11th, so that all
    // bits of a byte have their turn.
    for (stride, closed, states) in [(1, false, 524_288), (11, true, 40_000)] {
        let flips = flips(stride, closed).unwrap_or_else(|broken| panic!("closed {closed}: {broken}"));
        assert!(flips.states >= states && flips.lost > 1_000 && flips.harmless > 100, "{flips:?}");
    }
}
