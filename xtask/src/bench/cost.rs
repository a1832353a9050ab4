//! What a process has cost so far.
//!
//! In: its id. Out: processor time, memory, bytes written.

use anyhow::Context;
use std::sync::OnceLock;

/// User and system time of a process so far, in microseconds, with the children that it has waited for.
pub fn cpu_us(id: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|place| fields.get(*place)?.parse::<f64>().ok()).sum();
    Ok(ticks * 1e6 / ticks_per_second()?)
}

fn ticks_per_second() -> anyhow::Result<f64> {
    static TICKS: OnceLock<f64> = OnceLock::new();
    if let Some(ticks) = TICKS.get() {
        return Ok(*ticks);
    }
    let text = std::process::Command::new("getconf").arg("CLK_TCK").output()?.stdout;
    let ticks = String::from_utf8(text)?.trim().parse().context("getconf CLK_TCK is a number")?;
    Ok(*TICKS.get_or_init(|| ticks))
}

/// Resident memory of a process, in MiB.
pub fn resident_mib(id: u32) -> anyhow::Result<f64> {
    Ok(field(id, "status", "VmRSS:")? / 1024.0)
}

/// Resident memory that is no file's: what a memory limit counts, in MiB.
pub fn anonymous_mib(id: u32) -> anyhow::Result<f64> {
    Ok(field(id, "status", "RssAnon:")? / 1024.0)
}

/// Bytes that a process has caused to be written to the disk so far.
pub fn written_bytes(id: u32) -> anyhow::Result<f64> {
    field(id, "io", "write_bytes:")
}

fn field(id: u32, file: &str, name: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("a process has {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
