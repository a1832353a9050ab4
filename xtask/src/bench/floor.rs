//! The floor under every durable figure: how fast this disk makes small writes durable, one after another.
//!
//! In: a directory. Out: writes a second and their latency, with nothing of ours around them.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// What the disk does.
pub struct Floor {
    pub bytes: usize,
    pub writes_per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
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
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let position = (taken.len() * bytes) % (FILE_BYTES - bytes);
        let write = Instant::now();
        file.write_all_at(&block, position as u64)?;
        taken.push(write.elapsed());
    }
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    Ok(Floor { bytes, writes_per_second: taken.len() as f64 / seconds, p50: at(0.5), p99: at(0.99) })
}
