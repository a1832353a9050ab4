//! The bounds of reading a configuration.

/// Readings of one table: one for each thing that is wrong with it, and no more are reported.
pub const READINGS_MAX: usize = 100;
/// Bytes of one file: a person wrote it.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files of one configuration, included ones counted: one for each namespace, with room.
pub const FILES_MAX: usize = 10_000;
/// Namespaces of one configuration: what one process can watch.
pub const NAMESPACES_MAX: usize = 10_000;
/// Batches in flight at one target: each holds its records in memory.
pub const CONCURRENCY_MAX: u64 = 1_024;
/// Records of one delivery: what `limits::BATCH_RECORDS_MAX` of core lets one append have.
pub const BATCH_RECORDS_MAX: u64 = 65_536;
/// Open connections of one listener: a file descriptor each.
pub const CONNECTIONS_MAX: u64 = 1_000_000;
/// Longest of all durations, in milliseconds (ten years): added to a time of day it stays one.
pub const DURATION_MS_MAX: u64 = 3_650 * 86_400_000;
