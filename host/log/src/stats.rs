//! What the log counts: for metrics, and for `walhost_wal_*`.
//!
//! In: commits, frames, durations. Out: `Stats`.

use std::time::Duration;

/// Upper bounds of the histogram's buckets, in microseconds; the last bucket has none.
pub const BUCKETS_US: [u64; 15] =
    [50, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 25_000, 100_000, 500_000, 2_000_000];

/// How long synced commits took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Histogram {
    /// How many took at most the bound of the same place in [`BUCKETS_US`] and more than the one before it;
    /// the last counts those above all bounds.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// How many there were.
    pub count: u64,
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.iter().position(|bound| took_us <= *bound).unwrap_or(BUCKETS_US.len());
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(took_us);
    }
}

/// Counters since the open, and gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Group commits that are durable.
    pub commits: u64,
    /// Frames of the caller's that are durable.
    pub frames: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Commits that failed.
    pub commits_failed: u64,
    /// Commits of a trailer alone.
    pub commits_idle: u64,
    /// Rotations.
    pub rotations: u64,
    /// Segments that were made out of released ones.
    pub recycled: u64,
    /// Durations of the synced writes.
    pub fsync: Histogram,
    /// Bytes of all files in the log's directory, ready ones included.
    pub disk_bytes: u64,
    /// Frames found damaged since the open, at open and at read.
    pub corrupt_frames: u64,
    /// Frames cut at open: the torn tail.
    pub torn_frames: u64,
    /// Bytes of bodies that wait.
    pub queue_bytes: usize,
    /// Segments ready for rotation.
    pub ready_segments: usize,
}
