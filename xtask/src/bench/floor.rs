//! The floor under every durable figure: how fast this disk makes small writes durable, one after another.
//!
//! In: a directory. Out: writes a second and their latency, with nothing of ours around them.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use walhost_load::Latency;
use walhost_load::counts::histogram;

/// What the disk does.
#[derive(Clone, Copy)]
pub struct Floor {
    /// Bytes of each write.
    pub bytes: usize,
    /// One after another.
    pub writes_per_second: f64,
    /// Of each.
    pub latency: Latency,
}

/// Writes blocks of `bytes` over a zero-filled file, each one durable (`O_DSYNC`) before the next, for
/// about `time`.
pub fn measure(directory: &Path, bytes: usize, time: Duration) -> anyhow::Result<Floor> {
    const FILE_BYTES: usize = 64 << 20;
    let path = directory.join("floor");
    std::fs::write(&path, vec![0; FILE_BYTES])?;
    let flags = i32::try_from(rustix::fs::OFlags::DSYNC.bits())?;
    let file = OpenOptions::new().write(true).custom_flags(flags).open(&path)?;
    file.sync_all()?;
    let block = vec![0xa5; bytes];
    let (begun, mut taken, mut writes) = (Instant::now(), histogram()?, 0);
    while begun.elapsed() < time {
        let position = (writes * bytes) % (FILE_BYTES - bytes);
        let write = Instant::now();
        file.write_all_at(&block, position as u64)?;
        taken.saturating_record(u64::try_from(write.elapsed().as_micros())?);
        writes += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(Floor { bytes, writes_per_second: writes as f64 / seconds, latency: Latency::of(&taken) })
}
