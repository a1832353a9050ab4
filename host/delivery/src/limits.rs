//! The bounds of delivery, each with its unit and its reason.

/// How long a lease lasts unless it is extended, in milliseconds: what a crashed host's records wait.
pub const VISIBILITY_MS: u64 = 30_000;
/// A lease is extended when this part of its visibility has passed: two extensions may be late or lost.
pub const HEARTBEATS_PER_VISIBILITY: u64 = 3;
/// How long one call of `lease` waits for a record, in milliseconds: an idle target costs one call in this time.
pub const LEASE_WAIT_MS: u64 = 10_000;
/// Wait after a `lease` that failed, in milliseconds: the queue is closing or away.
pub const LEASE_RETRY_MS: u64 = 1_000;
/// First wait after a settlement that failed, in milliseconds; doubled each time.
pub const SETTLE_RETRY_MS: u64 = 100;
/// Longest wait between two tries to settle, in milliseconds.
pub const SETTLE_RETRY_MS_MAX: u64 = 10_000;
/// Longest `after` that a verdict may ask for, in milliseconds: a guest or a header must not park a record for years.
pub const AFTER_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Records whose last failure was the target's that are remembered, to see whether others were delivered since.
pub const SUSPECTS_MAX: usize = 10_000;
/// Records with several outputs of which some are confirmed that are remembered, each with one byte an output.
pub const CONFIRMED_MAX: usize = 10_000;
/// Probed records that are kept leased while the breaker is open, so that the next probe takes another one.
pub const PROBED_MAX: usize = 64;
/// Stops of the host that a record may have a part in before it is given up (I15): the one that made it a
/// suspect, which nobody counted, and those that were counted.
pub const HOST_CRASHES_MAX: u32 = 3;
