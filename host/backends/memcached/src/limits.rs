//! The bounds of this room, each with its unit and its reason.

/// Longest key, in bytes: memcached's own.
pub const KEY_BYTES_MAX: usize = 250;
/// Longest line that a server answers, in bytes: a key, its flags, an error's words.
pub const LINE_BYTES_MAX: usize = 2 * 1024;
/// Lines without a number in one answer: each record may earn two, more is no answer.
pub const ODD_LINES_PER_RECORD_MAX: usize = 4;
/// Idle connections kept to one server.
pub const IDLE_MAX: usize = 32;
/// Servers of one target.
pub const SERVERS_MAX: usize = 128;
/// Commands are handed to the kernel when so many bytes are together; larger values go by themselves.
pub const WRITE_BYTES: usize = 64 * 1024;
/// Parts of a key template.
pub const TEMPLATE_PARTS_MAX: usize = 16;
/// The longest time for one exchange that a config may ask for, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 60 * 1000;
/// Longer lifetimes than this, in seconds, memcached reads as a time of day.
pub const RELATIVE_TTL_S_MAX: u64 = 30 * 24 * 60 * 60;
/// The longest lifetime, in milliseconds: ten years, so that a time of day fits the server's 32 bits.
pub const TTL_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1000;
/// Port of a server whose port is not written.
pub const PORT: u16 = 11211;
