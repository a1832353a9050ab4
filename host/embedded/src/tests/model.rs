//! The model test: random operations, crashes and faults against a plain reference, on a simulated disk and
//! clock.
//!
//! In: seeds. Out: a panic that names the seed and the step.

use super::images::Watch;
use super::ran::{CRASHES, OPERATIONS, Ran};
use super::run::Run;
use crate::Planted;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Steps of one run.
const STEPS: u64 = 160;

/// A number that `cargo xtask prove` has set.
pub(super) fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

fn run(seed: u64, steps: u64, watch: Watch, planted: Option<Planted>) -> Ran {
    let mut run = Run::new(seed, planted, watch);
    for step in 0..steps {
        run.step(step as usize);
    }
    run.finish();
    run.ran()
}

/// Runs seeds until so much has happened; says how far it is.
fn campaign(what: &str, unit: &str, wanted: u64, steps: u64, watch: Watch) -> Ran {
    let mut all = Ran::default();
    let first = asked("WALHOST_PROVE_FIRST", 0);
    let only = asked("WALHOST_PROVE_SEEDS", u64::MAX);
    let (begun, mut told) = (std::time::Instant::now(), 0);
    for seed in first..first.saturating_add(only) {
        let ran = catch_unwind(AssertUnwindSafe(|| run(seed, steps, watch, None)));
        all.add(&ran.unwrap_or_else(|_| {
            panic!("seed {seed}; again: cargo xtask prove {what} --first {seed} --seeds 1");
        }));
        let done = all.of(unit);
        if begun.elapsed().as_secs() >= told + 10 {
            told = begun.elapsed().as_secs();
            eprintln!("{what}: {done} of {wanted} {unit}s after seed {seed}, {told} s");
        }
        if done >= wanted {
            break;
        }
    }
    eprintln!("{what}, {} s: {all}", begun.elapsed().as_secs());
    all
}

#[test]
fn no_acknowledged_record_is_lost_and_the_counters_balance_whatever_happens() {
    let wanted = asked("WALHOST_PROVE_OPERATIONS", 60_000);
    let steps = asked("WALHOST_PROVE_STEPS", STEPS);
    let ran = campaign("model", "operation", wanted, steps, Watch::NONE);
    if std::env::var_os("WALHOST_PROVE_SEEDS").is_none() {
        ran.prove(&OPERATIONS);
    }
    assert!(ran.of("operation") > 0);
}

#[test]
fn i01_i07_every_crash_state_comes_back_whole_and_so_does_a_crash_of_its_recovery() {
    let wanted = asked("WALHOST_PROVE_STATES", 6_000);
    let ran = campaign("crash", "state", wanted, STEPS, Watch::MUCH);
    if std::env::var_os("WALHOST_PROVE_SEEDS").is_none() {
        ran.prove(&CRASHES);
    }
    assert!(ran.of("state") > 0);
}

/// Looks for a seed that breaks a promise with the bug and none without; complains where there is none.
fn missed((planted, seeds, watch): (Planted, u64, Watch)) -> Option<String> {
    let breaks = |seed: u64, planted| catch_unwind(AssertUnwindSafe(|| run(seed, STEPS, watch, planted))).is_err();
    match (0..seeds).find(|seed| breaks(*seed, Some(planted))) {
        None => Some(format!("{planted:?} breaks nothing in {seeds} seeds")),
        Some(seed) if breaks(seed, None) => Some(format!("{planted:?}: seed {seed} is broken without it, too")),
        Some(_) => None,
    }
}

/// Each bug, with as many seeds as it may take, and whether crash states are needed to see it.
const BUGS: [(Planted, u64, Watch); 9] = [
    (Planted::SettledBeforeDelivered, 20, Watch::NONE),
    (Planted::DeadLetterNotAwaited, 40, Watch::NONE),
    (Planted::ReleasedAfterOneSnapshot, 40, Watch::MUCH),
    (Planted::SnapshotAsOfTooHigh, 40, Watch::MUCH),
    (Planted::ReleasedBeforeCopied, 40, Watch::MUCH),
    (Planted::HeldKeyForgotten, 40, Watch::NONE),
    (Planted::Log(walhost_log::Planted::AcknowledgeBeforeSync), 40, Watch::NONE),
    (Planted::Log(walhost_log::Planted::SkipDirectorySync), 40, Watch::NONE),
    (Planted::Log(walhost_log::Planted::RetryFailedSync), 40, Watch::NONE),
];

#[test]
fn i16_the_model_catches_every_bug_that_was_planted_for_it() {
    let missed: Vec<_> = BUGS.into_iter().filter_map(missed).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
