//! The log's own bounds, each with its unit and its reason.

/// Bytes of a segment: large enough that a rotation is rare, small enough to be freed soon.
pub const SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
/// Smallest segment, in bytes: two header copies and some room; for tests.
pub const SEGMENT_BYTES_MIN: u32 = 32 * 1024;
/// Largest segment, in bytes: positions are `u32` with room.
pub const SEGMENT_BYTES_MAX: u32 = 1024 * 1024 * 1024;
/// Milliseconds that a lazy frame waits at most, and after which an idle log proves its last commit.
pub const LAZY_MS: u64 = 50;
/// Bytes of bodies waiting in front of the committer: a second of a slow disk.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Segments kept ready: one for the next rotation, one as the reserve of lazy frames.
pub const READY_SEGMENTS: usize = 2;
/// Released segments kept for recycling beside the ready ones: half a gigabyte that need not be zero-filled
/// again at full ingest. Fewer when the disk is short.
pub const SPARE_SEGMENTS_MAX: usize = 8;
/// Bytes of one group commit; a larger frame commits alone. Above it a commit's latency grows with it.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;
/// Frames of one group commit: bounds what recovery may have to copy.
pub const COMMIT_FRAMES_MAX: usize = 4_096;
/// Log sequence numbers skipped at open: more than one commit and one fence with its copies can have used
/// without leaving a trace on disk.
pub const SEQUENCE_SKIP: u64 = 4 * COMMIT_FRAMES_MAX as u64;
/// A part of a body up to this many bytes is copied next to its head: cheaper than a slice of its own.
pub const INLINE_BYTES_MAX: usize = 256;
/// Segments that one log may have: bounds the list in a fence.
pub const SEGMENTS_MAX: usize = 65_536;
/// Milliseconds between two tries to make room when the disk is full.
pub const FULL_RETRY_MS: u64 = 1_000;
/// Bytes of a snapshot file: a bound for what is read into memory at open.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
