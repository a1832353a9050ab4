//! The bounds of this room, each with its unit and its reason.

use std::time::Duration;

/// Bytes of an answer that are read before its connection is given up: enough for any error page worth
/// reading, so that its connection can be used again.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer that are shown in a failure: it is kept with every attempt.
pub const EXCERPT_BYTES_MAX: usize = 240;
/// The longest that `Retry-After` is followed: a slip of the other side must not hold records for a year.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// Requests of one batch in flight at once: more help no one, and other targets share the client.
pub const PARALLEL_MAX: u32 = 256;
/// The longest time for one exchange that a config may ask for, in milliseconds: a lease must be extended
/// meanwhile.
pub const TIMEOUT_MS_MAX: u64 = 10 * 60 * 1000;
/// Secrets to sign with at once: the old and the new one while they are rotated, with room.
pub const SECRETS_MAX: usize = 8;
/// Headers of a target's own config.
pub const HEADERS_MAX: usize = 32;
