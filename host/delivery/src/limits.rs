//! The bounds of delivery, each with its unit and its reason.

/// How long a lease lasts unless it is extended, in milliseconds: what a crashed host's records wait.
pub const VISIBILITY_MS: u64 = 30_000;
/// How long one call of `lease` waits for a record, in milliseconds: an idle target costs one call in this time.
pub const LEASE_WAIT_MS: u64 = 10_000;
