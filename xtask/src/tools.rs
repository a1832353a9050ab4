//! Programs of the system that the demo and the tests use, installed by the ordinary client.
//!
//! In: a program's name. Out: where it is, or the sentence that says how to get it.

use anyhow::bail;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where a program is on `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// A program of a Debian package: found, or installed when we may, else an error with the remedy.
pub fn debian(program: &str, package: &str, size: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    let remedy = format!("install it by hand: sudo apt-get install {package}");
    if find("apt-get").is_none() {
        bail!("`{program}` is not installed and this system has no apt-get; {remedy}, or your system's package of it");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("`{program}` is not installed and only root may install it; {remedy}");
    }
    eprintln!("── installing {package} ({size}) with apt-get, because `{program}` is missing");
    let install = || apt(&["install", "-y", "--no-install-recommends", package]);
    if !install() {
        apt(&["update"]);
        if !install() {
            bail!("apt-get could not install {package}; {remedy}");
        }
    }
    find(program).ok_or_else(|| anyhow::anyhow!("{package} is installed but has no `{program}`; {remedy}"))
}

fn apt(arguments: &[&str]) -> bool {
    Command::new("apt-get")
        .args(["-q", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// memcached, the cache of the demo and of the target's tests.
pub fn memcached() -> anyhow::Result<PathBuf> {
    debian("memcached", "memcached", "0.6 MB")
}

/// strace, with which tests make system calls of the real process fail.
pub fn strace() -> anyhow::Result<PathBuf> {
    debian("strace", "strace", "2.5 MB")
}
