//! Snapshot files: a caller's opaque bytes as of a log sequence number, valid from their end mark, in two
//! generations.
//!
//! In: parts of bytes. Out: the newest valid ones.

use bytes::Bytes;
use std::path::Path;
use walhost_core::Result;
use walhost_core::disk::Disk;

/// What there was to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest valid snapshot: as of which log sequence number, and its bytes.
    pub newest: Option<(u64, Bytes)>,
    /// As of which log sequence number the one before it is; facts up to there are in two snapshots.
    pub previous: Option<u64>,
    /// Names of files that are damaged.
    pub damaged: Vec<String>,
}

/// Writes a snapshot durably, then removes all but it and the one before it.
pub fn write(disk: &dyn Disk, dir: &Path, log_sequence: u64, parts: &[Bytes]) -> Result<()> {
    unimplemented!("{:?}{:?}{:?}{:?}", disk.list(dir), dir, log_sequence, parts)
}

/// Reads the newest valid snapshot.
pub fn read_newest(disk: &dyn Disk, dir: &Path) -> Result<Found> {
    unimplemented!("{:?}{:?}", disk.list(dir), dir)
}
