//! The project's automation: `cargo xtask demo|test|plugins|bench|prove`.
//!
//! In: one word. Out: what it did, in lines that a person can follow, and an exit code.
#![allow(clippy::print_stdout)]

mod bench;
mod cargo;
mod demo;
mod plugins;
mod prove;
mod test;
mod tools;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, shows, tests and measures walhost")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The main job on real data: ingest, fan-out, kill -9, hot load, dead letters, redrive
    Demo(demo::Options),
    /// Installs what the tests need and runs them all
    Test(test::Options),
    /// Builds the example plugins into components
    Plugins,
    /// Takes figures, beside a floor of the same machine in the same run
    Bench(bench::Options),
    /// Runs the long proofs: crash states, flipped bits, the model, simulated days
    Prove(prove::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Plugins => plugins::build().map(|_| ()),
        Task::Bench(options) => bench::run(&options),
        Task::Prove(options) => prove::run(&options),
    }
}
