//! The bounds that several rooms share. A room's own bounds live in its own `limits`.

/// Largest name of a header, in bytes: `u16` on disk, and what HTTP servers accept in practice.
pub const HEADER_NAME_BYTES_MAX: usize = 256;
/// Largest value of a header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 8 * 1024;
/// Headers of one record: a guest's list must be bounded too.
pub const HEADERS_MAX: usize = 64;
/// Largest key, in bytes: fits every broker, and Cassandra's 65,535 with room.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// Largest record that any namespace may allow, in bytes.
pub const RECORD_BYTES_HARD_MAX: usize = 32 * 1024 * 1024;
/// Largest batch that any namespace may allow, in bytes: an arena's ends are `u32`, and one frame must fit
/// a segment.
pub const BATCH_BYTES_HARD_MAX: usize = 48 * 1024 * 1024;
/// Records in one batch: what one group commit takes several of.
pub const BATCH_RECORDS_MAX: usize = 65_536;
/// Largest record id, in bytes: a Kafka topic of 249 and two numbers.
pub const RECORD_ID_BYTES_MAX: usize = 320;
/// Largest failure code, in bytes.
pub const CODE_BYTES_MAX: usize = 64;
/// Largest failure message, in bytes: it is kept with every attempt.
pub const MESSAGE_BYTES_MAX: usize = 512;
/// Attempts kept with one record: the first and the newest ones.
pub const ATTEMPTS_KEPT_MAX: usize = 32;
/// Items of one page of a list.
pub const PAGE_MAX: usize = 1_000;
/// Outputs that a transform may make of one record.
pub const OUTPUTS_MAX: usize = 1_024;
/// Targets of one namespace.
pub const TARGETS_MAX: usize = 64;
