//! Figures: each beside a floor of the same machine, in the same run.
//!
//! In: which figure. Out: a table; a lost or duplicated record voids it.

mod floor;
mod ingest;

use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Subcommand)]
enum Figure {
    /// B1 and B2: durable ingest, single records and batches of 64, 1 KiB, beside a raw sync of the same disk
    Ingest(ingest::Options),
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.figure {
        Figure::Ingest(options) => ingest::run(options),
    }
}
