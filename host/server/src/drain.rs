//! The end of a host's life in three steps: begun (no new requests), late (bodies that still come are
//! refused), over (what is left is cut). I26.
//!
//! In: SIGTERM and the drain time. Out: three moments that everyone can wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a connection that is idle at the beginning of the drain stays open, so that a request which is
/// on its way gets its answer.
const LINGER: Duration = Duration::from_millis(100);

/// Shared by all who have to end.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// What every request asks: a token takes a lock to be asked, and all connections share it.
    has_begun: Arc<AtomicBool>,
    begun: CancellationToken,
    late: CancellationToken,
    over: CancellationToken,
}

impl Drain {
    /// Begins. Idempotent.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
        self.begun.cancel();
    }

    /// Bodies that have not come are refused from now on.
    pub fn hurry(&self) {
        self.begin();
        self.late.cancel();
    }

    /// Whatever is left is cut.
    pub fn end(&self) {
        self.hurry();
        self.over.cancel();
    }

    /// True from `begin` on.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Waits for `begin`.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// True from `hurry` on.
    pub fn is_late(&self) -> bool {
        self.late.is_cancelled()
    }

    /// Waits for `end`.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// How long idle connections stay open after `begin`.
    pub fn linger(&self) -> Duration {
        LINGER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn each_step_implies_those_before_it() {
        let drain = Drain::default();
        assert!(!drain.has_begun() && !drain.is_late());
        drain.end();
        assert!(drain.has_begun());
        assert!(drain.is_late() && drain.over().now_or_never().is_some());
    }
}
