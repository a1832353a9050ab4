//! The model test: random operations, crashes and faults against a plain reference, on a simulated disk
//! and clock; and the behaviour suite of all queues on this one.
//!
//! In: seeds. Out: a panic that names the seed and the step.

mod real;
mod changes;
mod faults;
mod generations;
mod keys;
mod moves;
mod order;
mod reference;
mod run;
mod space;
mod suite;
mod survey;
mod time;
mod world;

use run::{Ran, Run};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs of one test; `WALHOST_MODEL_SEEDS` asks for more, `WALHOST_MODEL_FIRST` says where to begin.
const SEEDS: u64 = 100;
const STEPS: usize = 160;

fn run(seed: u64, planted: Option<crate::Planted>) -> Ran {
    let mut run = Run::new(seed, planted);
    for step in 0..STEPS {
        run.step(step);
    }
    run.drain();
    run.ran()
}

#[test]
fn no_acknowledged_record_is_lost_and_the_counters_balance_whatever_happens() {
    let mut all = Ran::default();
    let asked = |name| std::env::var(name).ok().and_then(|seeds| seeds.parse::<u64>().ok());
    let first = asked("WALHOST_MODEL_FIRST").unwrap_or(0);
    for seed in first..first + asked("WALHOST_MODEL_SEEDS").unwrap_or(SEEDS) {
        let ran = catch_unwind(AssertUnwindSafe(|| run(seed, None))).unwrap_or_else(|_| panic!("seed {seed}"));
        all.add(&ran);
    }
    all.prove();
}

#[test]
fn the_model_catches_progress_that_moves_before_the_delivery() {
    let caught = |planted| (0..20).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, Some(planted)))).is_err());
    assert!(caught(crate::Planted::SettledBeforeDelivered));
}

#[test]
fn i16_the_model_catches_a_dead_letter_that_is_not_awaited() {
    let caught = |planted| (0..40).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, Some(planted)))).is_err());
    assert!(caught(crate::Planted::DeadLetterNotAwaited));
}
