//! Figures: each beside a floor of the same machine and beside its peers, in the same run.
//!
//! In: which figure. Out: a table, as markdown or JSON if asked; a lost or duplicated record voids it.

mod settings;
mod table;
mod machine;
mod cost;
mod floor;
mod server;
mod stage;
mod peer;
mod measure;
mod ingest;
mod latency;
mod namespaces;
mod backlog;
mod transform;

use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Subcommand)]
enum Figure {
    /// B1 and B2: durable ingest, single records and batches of 64, 1 KiB
    Ingest(ingest::Options),
    /// B3: latency to the acknowledgement at fixed rates, open loop
    Latency(latency::Options),
    /// B4 and B15: many namespaces under the same load, and many that are idle
    Namespaces(namespaces::Options),
    /// B10 to B13 and B16: outages, holes, delays, restarts, a stuck namespace
    Backlog(backlog::Options),
    /// B7: what a transform costs a record, identity and JSON, beside the same function natively
    Transform(transform::Options),
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    match &options.figure {
        Figure::Ingest(options) => ingest::run(options),
        Figure::Latency(options) => latency::run(options),
        Figure::Namespaces(options) => namespaces::run(options),
        Figure::Backlog(options) => backlog::run(options),
        Figure::Transform(options) => transform::run(options),
    }
}
