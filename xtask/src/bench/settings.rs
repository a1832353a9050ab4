//! What every figure can be told.
//!
//! In: flags. Out: a binary, a directory, runs, and where the table goes.

use crate::bench::machine;
use crate::bench::table::Sheet;
use crate::cargo;
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tempfile::TempDir;

#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Runs of each row; the median is shown
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// One short run of each row, to see that it works: its figures mean little
    #[arg(long)]
    pub quick: bool,
    /// Where data directories are made, and the floor is taken; default: the target directory
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Use this walhost binary instead of building one for release
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Only these servers beside walhost; `none`: none of them
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Option<Vec<Peers>>,
    /// Use this nats-server instead of the system's
    #[arg(long)]
    pub nats_server: Option<PathBuf>,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
    /// Replace this figure's section in a markdown file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// A server beside walhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peers {
    Redis,
    Nats,
    Rabbitmq,
    None,
}

impl Settings {
    /// How often each row is measured.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.runs.max(1) }
    }

    /// One of two, by `--quick`.
    pub fn pick<T>(&self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }

    /// Whether a peer is asked for.
    pub fn wants(&self, peer: Peers) -> bool {
        self.peers.as_ref().is_none_or(|peers| peers.contains(&peer))
    }

    /// The walhost to measure, built for release unless one was named.
    pub fn binary(&self) -> anyhow::Result<PathBuf> {
        match &self.binary {
            Some(binary) => std::path::absolute(binary).context("--binary"),
            None => cargo::build_walhost("release"),
        }
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(cargo::target_dir)
    }

    /// A directory of this run, gone when it is dropped.
    pub fn place(&self) -> anyhow::Result<TempDir> {
        let directory = self.directory();
        std::fs::create_dir_all(&directory)?;
        let directory = std::path::absolute(directory)?;
        Ok(tempfile::Builder::new().prefix("walhost-bench-").tempdir_in(directory)?)
    }

    /// Says something while it goes on; on stderr, so that JSON stays alone on stdout.
    pub fn say(&self, line: &str) {
        eprintln!("── {line}");
    }

    /// Shows a table, and writes it where it was asked for.
    pub fn publish(&self, sheet: &Sheet) -> anyhow::Result<()> {
        let machine = machine::describe(&self.directory());
        if self.json {
            println!("{}", sheet.json(&machine));
        } else {
            println!("\n{}", sheet.text(&machine));
        }
        match &self.write {
            Some(file) => sheet.write(file, &machine).with_context(|| format!("cannot write {}", file.display())),
            None => Ok(()),
        }
    }
}
