//! B10 to B13 and B16: what happens while records wait.
//!
//! In: which of them, how much. Out: a table each.

mod scene;
mod outage;
mod holes;
mod delays;
mod restart;
mod stuck;

use crate::bench::settings::Settings;
use clap::{Args, ValueEnum};
use std::path::Path;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Only these; all of them unless named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// outage: seconds that the target is down
    #[arg(long, default_value_t = 8)]
    down: u64,
    /// outage: records a second
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// holes: records of the backlog
    #[arg(long, default_value_t = 150_000)]
    records: u64,
    /// delays: records that wait for their time
    #[arg(long, default_value_t = 100_000)]
    delayed: u64,
    /// delays: seconds over which they are spread
    #[arg(long, default_value_t = 20)]
    spread: u64,
    /// restart: GiB of the backlog
    #[arg(long, default_value_t = 2.0)]
    gigabytes: f64,
    /// stuck: seconds of load
    #[arg(long, default_value_t = 40)]
    stuck: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// B10: the target fails, is down, comes back
    Outage,
    /// B11: the oldest record never settles, all others do; kill -9
    Holes,
    /// B12: records that wait for their time
    Delays,
    /// B13: a start with a large backlog after kill -9
    Restart,
    /// B16: one namespace is stuck, ninety-nine flow
    Stuck,
}

impl Options {
    fn small<T>(&self, usual: T, quick: T) -> T {
        self.settings.pick(usual, quick)
    }
}

/// One part: options, binary, a directory of its own.
type Measure = fn(&Options, &Path, &Path) -> anyhow::Result<()>;

pub fn run(options: &Options) -> anyhow::Result<()> {
    let binary = options.settings.binary()?;
    let place = options.settings.place()?;
    let parts: [(Part, Measure); 5] = [
        (Part::Outage, outage::run),
        (Part::Holes, holes::run),
        (Part::Delays, delays::run),
        (Part::Restart, restart::run),
        (Part::Stuck, stuck::run),
    ];
    for (part, measure) in parts {
        if options.parts.is_empty() || options.parts.contains(&part) {
            options.settings.say(&format!("{part:?}").to_lowercase());
            let directory = place.path().join(format!("{part:?}"));
            std::fs::create_dir(&directory)?;
            measure(options, &binary, &directory)?;
            std::fs::remove_dir_all(&directory)?;
        }
    }
    Ok(())
}
