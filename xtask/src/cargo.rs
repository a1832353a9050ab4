//! Cargo, called again for the other crates.
//!
//! In: arguments. Out: success, or an error that names the command to repeat.

use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Where a built binary of this profile lies.
pub fn binary(profile: &str, name: &str) -> PathBuf {
    let folder = if profile == "dev" { "debug" } else { profile };
    target_dir().join(folder).join(name)
}

/// Runs cargo in a directory of the workspace and shows what it does.
pub fn run<A: AsRef<OsStr>>(directory: &Path, arguments: &[A], variables: &[(&str, &OsStr)]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
    eprintln!("── cargo {}", words.join(" "));
    let begun = Instant::now();
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed in {}", words.join(" "), directory.display());
    }
    eprintln!("── done in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Builds the `walhost` binary and answers where it is.
pub fn build_walhost(profile: &str) -> anyhow::Result<PathBuf> {
    run(&root(), &["build", "--workspace", "--bin", "walhost", "--profile", profile], &[])?;
    Ok(binary(profile, "walhost"))
}
