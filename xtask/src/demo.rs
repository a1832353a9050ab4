//! The main job in front of one's eyes: 3,201 dirty movies in over HTTP, three targets, a kill -9, a hot
//! load, dead letters, a redrive, and a table that accounts for every record.
//!
//! In: nothing. Out: what happened, step by step; exit 0 only when the table balances.

mod accounts;
mod receivers;
mod stage;
mod steps;
mod story;

use crate::{cargo, plugins};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Keep the temporary directory (config, host log, data) and say where it is
    #[arg(long)]
    keep: bool,
    /// Use this walhost binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Records a second that the producer posts
    #[arg(long, default_value_t = 800)]
    rate: u64,
}

/// Builds what is missing and tells the story.
pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("walhost demo: builds the host and three plugins (the first time: about ten minutes on two cores),");
    println!("then runs for about a minute on loopback, in a temporary directory that it removes.\n");
    let components = plugins::build()?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => cargo::build_walhost("dev")?,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        // Whatever ends the story drops the stage: host, cache and directory go with it.
        tokio::select! {
            outcome = story::tell(options, &binary, &components) => outcome,
            () = interrupted() => anyhow::bail!("interrupted; everything that was started has been ended"),
        }
    })
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime has signals");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
