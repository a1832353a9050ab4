//! The bounds of the embedded queue, each with its unit and its reason.

/// Bytes of recent frames kept in memory over all namespaces: a target that keeps up never reads the disk.
pub const TAIL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of frames read from disk that are kept for the next lease: a few leases' worth.
pub const COLD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that a frame in memory costs beside its own: its slices, and its places in the maps.
pub const CACHED_FRAME_BYTES: usize = 320;
/// Frames read ahead by one cold lease: a batch of single-record frames in one go.
pub const READ_AHEAD_FRAMES_MAX: usize = 512;
/// Bytes of a frame that are not its records: what a queue of many tiny frames costs at least.
pub const FRAME_OVERHEAD_BYTES: u64 = 96;
/// Bytes of the history of finished records, over one namespace. The oldest go first.
pub const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one frame of dead letters: well below a segment.
pub const DEAD_FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Records of one frame of dead letters that go again: what a commit does for them under the namespace's lock is
/// a few milliseconds, and a key goes back in as few frames as can be.
#[cfg(not(test))]
pub const REDRIVE_RECORDS_MAX: usize = 10_000;
/// So few in tests, so that a key comes back in several frames.
#[cfg(test)]
pub const REDRIVE_RECORDS_MAX: usize = 8;
/// Facts that could not be written and wait for the log to recover, in bytes: beyond, settling is refused.
pub const UNSAVED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Records that may wait behind held keys of one target and were not moved: beyond, nothing more is read until
/// the next round of housekeeping has moved them.
pub const HELD_MAX: usize = if cfg!(test) { 64 } else { 200_000 };
/// How long a record waits for its next attempt, or for a time that it was moved to, before it is appended again
/// with all that it brings along, in milliseconds: until then it stays where it is, and what is below it cannot
/// go.
pub const MOVE_WAIT_MS: u64 = 30_000;
/// What is still to be waited for when a round of housekeeping moves a record, in milliseconds: less is not worth
/// the write.
pub const MOVE_LEFT_MS: u64 = 10_000;
/// Records of one frame of moves: what a commit does for them under the namespace's lock is below a millisecond.
pub const MOVE_RECORDS_MAX: usize = if cfg!(test) { 8 } else { 1_024 };
/// Bytes of the records of one frame of moves: one commit's worth.
pub const MOVE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of records that one round moves in a namespace: a second's housekeeping, beside what ingest writes.
pub const MOVE_ROUND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Records with attempts in memory of which those that were moved into the active segment stay: they pin nothing
/// there, and moving them at each retry would write them over and over.
pub const TRIED_KEPT_MAX: usize = if cfg!(test) { 4 } else { 4_096 };
/// Recent idempotency keys of one namespace that make a run: a few of its blocks.
pub const KEYS_AT_ONCE: usize = if cfg!(test) { 32 } else { 4_096 };
/// Recent idempotency keys of all namespaces: some 30 MB. Beyond it, runs are made of fewer keys.
pub const KEYS_RECENT_MAX: usize = if cfg!(test) { 512 } else { 262_144 };
/// Then so many make a run: a file must be worth its name.
pub const KEYS_AT_LEAST: usize = if cfg!(test) { 8 } else { 256 };
/// Runs of about one size, in keys, that become one; each size is so many times the one before.
pub const RUNS_ALIKE_MAX: usize = 4;
/// How long a file that nobody refers to waits for the snapshots that others cause, in milliseconds; then they
/// are taken for it.
pub const RUN_LINGERS_MS: u64 = if cfg!(test) { 1 } else { 60_000 };
/// Keys of a run that is not made larger: merging holds the housekeeper up for so long.
pub const RUN_KEYS_MAX: u64 = 1 << 20;
/// Records that follow a parked key into the dead letters in one pass: one frame's worth.
pub const PARKED_AT_ONCE_MAX: usize = 1_000;
/// Dead letters looked at under one lock: a page of a list, a round of expiry. Ingest waits for that long.
pub const LETTERS_AT_ONCE_MAX: usize = 1_024;
/// Dead letters that one round of expiry buries under one lock, and how often it does so in a round.
pub const EXPIRED_AT_ONCE_MAX: usize = 256;
/// See [`EXPIRED_AT_ONCE_MAX`]: beyond, the rest of them wait for the next round.
pub const EXPIRED_SLICES_MAX: usize = 64;
/// Frames that housekeeping goes over under one lock: below a millisecond, also where each of them has a due time
/// to be forgotten.
pub const SLICE_FRAMES_MAX: usize = 2_048;
/// Bytes of memory for what is known of open records and dead letters, over all namespaces: 30 million frames.
/// Beyond, nothing is appended (503); a quarter above, records are held instead of dead-lettered.
pub const INDEX_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of memory that a record takes that was tried, leased, or waits: its places in the maps.
pub const PLACE_BYTES: u64 = 48;
/// Bytes of memory that a tried record takes, with two attempts of usual length.
pub const TRIED_BYTES: u64 = 512;
/// A snapshot is due after a segment was finished, and so many times its own size was written: it takes part
/// of the disk's bandwidth, and what is known of a namespace can be large.
pub const SNAPSHOT_SPACING: u64 = 2;
/// Bytes that the cleaner hands to the log at once: a commit that takes them along takes a tenth of a
/// millisecond longer.
pub const CLEAN_SLICE_BYTES: u64 = 256 * 1024;
/// Bytes that wait in the log above which the cleaner hands over nothing: ingest goes first.
pub const CLEAN_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Pause of the cleaner after a slice, in milliseconds: at most 128 MiB/s.
pub const CLEAN_PAUSE_MS: u64 = 2;
/// Segments that the log may take beyond twice the bytes that are needed, before it is cleaned: the active
/// one, those that are ready or kept for recycling, and one to gather in.
pub const CLEAN_SLACK_SEGMENTS: u64 = 12;
/// Segments full of copies that one round may make; and how many must be free that the disk is not short.
pub const CLEAN_ROUND_SEGMENTS: u64 = 4;
/// Segments that one round cleans.
pub const CLEAN_SEGMENTS_MAX: usize = 512;
/// Bytes that the cleaner may write, of a hundred that others do: write amplification stays within 1.4.
pub const CLEAN_SHARE_PERCENT: u64 = 40;
/// A segment of which less than this part is needed is cleaned with the others once a round begins.
pub const CLEAN_CHEAP_PART: u64 = 16;
/// Records that one pass of a lease looks at under one lock, in a namespace with order by key, where most of
/// them may wait behind others. Ingest waits for that long.
pub const PASS_RECORDS_MAX: usize = 4_096;
/// Longest sleep of a waiting lease while something is scheduled, in milliseconds: a time of day that is
/// set forward is noticed within it (I20).
pub const DUE_CHECK_MS: u64 = 500;
/// How often a counted suspect that waits for another one looks whether that one's lease has ended, in
/// milliseconds: a lease that runs out tells nobody.
pub const ALONE_CHECK_MS: u64 = 1_000;
/// How often the housekeeper looks for dead letters to expire, keys to forget and segments to give back,
/// in milliseconds.
pub const HOUSEKEEPING_MS: u64 = 1_000;
/// Waits of the housekeeper after an open, in milliseconds: two snapshots soon, so that the segments of the
/// process before go back although this one may not live long either.
pub const FIRST_ROUNDS_MS: [u64; 2] = [50, 100];
