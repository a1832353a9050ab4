//! The long proofs of the queue and of the whole host: crash states, flipped bits, the model, simulated days.
//!
//! In: which one, and how much of it. Out: progress and counters as the proofs print them; the first seed that
//! fails ends it, with the command that runs that seed alone.

use crate::cargo;
use clap::{Args, ValueEnum};
use std::ffi::OsStr;

#[derive(Args)]
pub struct Options {
    /// Which proof
    #[arg(value_enum)]
    what: What,
    /// crash: look at so many crash states
    #[arg(long, default_value_t = 25_000)]
    states: u64,
    /// model: do so many operations
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// flips: flip every so-manyth bit
    #[arg(long, default_value_t = 1)]
    stride: u64,
    /// days: simulate so many hosts, each for a day
    #[arg(long, default_value_t = 50)]
    days: u64,
    /// days: and so many for some minutes
    #[arg(long, default_value_t = 5_000)]
    hosts: u64,
    /// Only so many seeds, whatever else is asked for
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The embedded queue, crashed in the middle of everything and of every recovery
    Crash,
    /// A data directory of which one bit after another is flipped
    Flips,
    /// Operations, crashes and faults against a plain reference
    Model,
    /// The whole host without HTTP, on a simulated clock and disk
    Days,
    /// All of them
    All,
}

/// The crate that a proof is in, and its tests.
const PROOFS: [(What, &str, &[&str]); 4] = [
    (What::Crash, "walhost-embedded", &["tests::model::i01"]),
    (What::Flips, "walhost-embedded", &["tests::flips::i06"]),
    (What::Model, "walhost-embedded", &["tests::model::no_acknowledged_record"]),
    (What::Days, "walhost-sim", &["days::i12"]),
];

/// Builds with optimisation and assertions, and runs.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut variables = vec![
        ("WALHOST_PROVE_STATES", options.states),
        ("WALHOST_PROVE_OPERATIONS", options.operations),
        ("WALHOST_PROVE_STEPS", 1_000),
        ("WALHOST_PROVE_STRIDE", options.stride),
        ("WALHOST_PROVE_DAYS", options.days),
        ("WALHOST_PROVE_HOSTS", options.hosts),
        ("WALHOST_PROVE_FIRST", options.first),
    ];
    variables.extend(options.seeds.map(|seeds| ("WALHOST_PROVE_SEEDS", seeds)));
    let variables: Vec<(&str, String)> =
        variables.into_iter().map(|(name, number)| (name, number.to_string())).collect();
    let variables: Vec<(&str, &OsStr)> = variables.iter().map(|(name, number)| (*name, number.as_ref())).collect();
    for (what, package, tests) in PROOFS {
        if options.what == What::All || options.what == what {
            let mut arguments = vec!["test", "--profile", "prove", "--package", package, "--lib", "--"];
            arguments.extend(tests);
            arguments.push("--nocapture");
            cargo::run(&cargo::root(), &arguments, &variables)?;
        }
    }
    Ok(())
}
