//! What a namespace takes of memory and of its quota.
//!
//! In: a view. Out: bytes, without going over anything.

use super::View;
use crate::limits::PLACE_BYTES;

impl View {
    /// Bytes of memory for what is known of open records and dead letters, about. Idempotency keys and history
    /// have bounds of their own.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let targets: u64 = self.targets.iter().map(|target| target.memory_bytes()).sum();
        let moved = self.targets.iter().map(|target| target.moved.len() as u64).sum::<u64>() * PLACE_BYTES;
        self.extents.memory_bytes() + self.dead.memory_bytes() + targets + moved
    }

    /// Bytes that count against the backlog's limit: of frames that some target needs, of dead letters, and of
    /// appends on their way.
    pub(crate) fn quota_bytes(&self) -> u64 {
        self.extents.live_bytes() + self.extents.held_bytes() + self.reserved_bytes
    }
}
