//! Everything there is to check, from the form of a line to the real host killed a hundred times.
//!
//! In: nothing, or one ring. Out: the output of each tool; the first failure ends it.

use crate::{cargo, plugins, tools};
use clap::{Args, ValueEnum};
use std::ffi::OsStr;

#[derive(Args)]
pub struct Options {
    /// Only this ring
    #[arg(long, value_enum)]
    ring: Option<Ring>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// rustfmt, clippy with warnings denied, the rules of the house
    Style,
    /// Unit tests, port suites, models and simulations of all crates, and of the plugins
    Unit,
    /// Real HTTP, real Wasm, the real process
    It,
}

/// Runs the rings in order of what they cost.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let wants = |ring| options.ring.is_none_or(|only| only == ring);
    if wants(Ring::Style) && options.filter.is_none() {
        style()?;
    }
    if wants(Ring::Unit) {
        unit(options.filter.as_deref())?;
    }
    if wants(Ring::It) {
        it(options.filter.as_deref())?;
    }
    println!("── every ring that was asked for has passed");
    Ok(())
}

fn style() -> anyhow::Result<()> {
    let (root, guests) = (cargo::root(), cargo::root().join("plugins"));
    cargo::run(&root, &["fmt", "--all", "--check"], &[])?;
    cargo::run(&guests, &["fmt", "--all", "--check"], &[])?;
    // Always the whole workspace: another selection of packages means other features, and a second build
    // of the large dependencies.
    cargo::run(&root, &["test", "--workspace", "--test", "tidy"], &[])?;
    cargo::run(&root, &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[])?;
    let target = cargo::target_dir().join("plugins");
    let target = [("CARGO_TARGET_DIR", target.as_os_str())];
    cargo::run(&guests, &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"], &target)
}

fn unit(filter: Option<&str>) -> anyhow::Result<()> {
    if let Err(missing) = tools::memcached() {
        println!("── {missing:#}");
    }
    let mut arguments = vec!["test", "--workspace", "--lib", "--bins"];
    arguments.extend(filter);
    // The tests of the plugin host take the example plugins too, when they are there.
    let components = plugins::build()?;
    cargo::run(&cargo::root(), &arguments, &[("WALHOST_COMPONENTS", components.as_os_str())])?;
    if filter.is_none() {
        cargo::run(&cargo::root(), &["test", "--workspace", "--doc"], &[])?;
    }
    let target = cargo::target_dir().join("plugins");
    let mut arguments = vec!["test", "--workspace", "--locked"];
    arguments.extend(filter);
    cargo::run(&cargo::root().join("plugins"), &arguments, &[("CARGO_TARGET_DIR", target.as_os_str())])
}

fn it(filter: Option<&str>) -> anyhow::Result<()> {
    for missing in [tools::memcached(), tools::strace()].into_iter().filter_map(Result::err) {
        println!("── {missing:#}");
    }
    let components = plugins::build()?;
    let binary = cargo::build_walhost("dev")?;
    let variables: [(&str, &OsStr); 2] =
        [("WALHOST_BIN", binary.as_os_str()), ("WALHOST_COMPONENTS", components.as_os_str())];
    let run = |threads: &str, which: &[&str]| {
        let mut arguments = vec!["test", "--workspace", "--test", "it", "--"];
        arguments.extend(which);
        arguments.extend(["--test-threads", threads]);
        cargo::run(&cargo::root(), &arguments, &variables)
    };
    if let Some(filter) = filter {
        return run("1", &[filter]);
    }
    // Each test starts hosts of its own. Those that load the machine on purpose, or judge by time, run alone.
    let others: Vec<&str> = ALONE.iter().flat_map(|module| ["--skip", module]).collect();
    run("2", &others)?;
    run("1", &ALONE)
}

/// Modules of tests that want the machine for themselves.
const ALONE: [&str; 2] = ["crash::", "hostile::"];
