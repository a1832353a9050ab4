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
/// Segments kept ready beside these while segments are used up fast.
pub const READY_SEGMENTS_MORE: usize = 2;
/// Two segments used up within so many milliseconds is fast: above 32 MiB/s the zeros of a segment that is
/// filled beforehand take more of the disk than they save.
pub const FAST_MS: u64 = 4_000;
/// Bytes of zeros written and synced at once beside a log that is in use: what a commit waits for at most
/// when it comes right behind them.
pub const FILL_BYTES: usize = 256 * 1024;
/// The pause after a piece of zeros, in times of what the piece took: a third of the disk at most.
pub const FILL_PAUSE_TIMES: u32 = 2;
/// Milliseconds of that pause at most: a segment is filled within some seconds on a busy disk too.
pub const FILL_PAUSE_MS_MAX: u64 = 20;
/// Released segments kept for recycling beside the ready ones: half a gigabyte that need not be zero-filled
/// again at full ingest. Fewer when the disk is short.
pub const SPARE_SEGMENTS_MAX: usize = 8;
/// Bytes of one group commit; a larger frame commits alone. On a busy disk a fixed cost a commit weighs more
/// than its bytes: 64 bodies of 64 KiB went a third faster than with 1 MiB, with a lower p99.
pub const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Frames of one group commit: bounds what recovery may have to copy.
pub const COMMIT_FRAMES_MAX: usize = 4_096;
/// Log sequence numbers skipped at open: more than one commit and one fence with its copies can have used
/// without leaving a trace on disk.
pub const SEQUENCE_SKIP: u64 = 4 * COMMIT_FRAMES_MAX as u64;
/// A part of a body up to this many bytes is copied next to its head: cheaper than a slice of its own, and
/// small frames never need more slices than one write takes.
pub const INLINE_BYTES_MAX: usize = 4 * 1024;
/// Slices of one commit; a larger part is copied too when there are so many. Below Linux' `IOV_MAX` of 1,024,
/// so that a commit is always one synced write.
pub const SLICES_MAX: usize = 1_000;
/// Bytes of the buffer that a commit is laid out in and that are kept from one commit to the next.
pub const SCRATCH_BYTES_KEPT: usize = 2 * COMMIT_BYTES_MAX;
/// Segments that one log may have: bounds the list in a fence.
pub const SEGMENTS_MAX: usize = 65_536;
/// Milliseconds between two tries to make room when the disk is full.
pub const FULL_RETRY_MS: u64 = 1_000;
/// Bytes of a snapshot file: a bound for what is read into memory at open.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
