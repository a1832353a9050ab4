//! Run files of idempotency keys, looked at offline, for `walhost wal inspect|verify`.
//!
//! In: their directory. Out: what each holds, and what of it is damaged. Nothing is changed.

use super::run::{ENDING, Run, parse_name};
use std::io;
use std::path::Path;
use walhost_core::disk::Disk;
use walhost_core::{Error, Kind, Result};

/// One run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// The name of its file.
    pub file: String,
    /// The number of its namespace in the log.
    pub view: u32,
    /// Keys in it; 0 when its header cannot be read.
    pub keys: u64,
    /// When the first and the last of them were used, in milliseconds since the Unix epoch.
    pub span_ms: (u64, u64),
    /// What is damaged, in words.
    pub damage: Vec<String>,
}

/// Looks at all run files of a directory; `whole`: at every byte of them. A directory that is not there has none.
pub fn examine(disk: &dyn Disk, dir: &Path, whole: bool) -> Result<Vec<RunReport>> {
    let failed = |error: io::Error| {
        let detail = "the run files of idempotency keys cannot be read";
        Error::new(Kind::Unavailable, "embedded.inspect", detail).source(error)
    };
    let listed = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut reports = Vec::new();
    for file in listed.into_iter().map(|found| found.name).filter(|name| name.ends_with(ENDING)) {
        let Some((view, id)) = parse_name(&file) else { continue };
        let mut report = RunReport { file, view, keys: 0, span_ms: (0, 0), damage: Vec::new() };
        match Run::open(disk, &dir.join(&report.file), view, id) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => report.damage.push(error.to_string()),
            Err(error) => return Err(failed(error)),
            Ok(run) => {
                (report.keys, report.span_ms) = (run.count, (run.oldest_ms, run.newest_ms));
                for block in 0..if whole { run.blocks() } else { 0 } {
                    if let Err(error) = run.block(block) {
                        report.damage.push(format!("block {block}: {error}"));
                    }
                }
            }
        }
        reports.push(report);
    }
    Ok(reports)
}
