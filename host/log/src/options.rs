//! What an owner of a log may choose.
//!
//! In: sizes, bounds, clock, random. Out: `Options`.

use crate::limits;
use std::sync::Arc;
use walhost_core::Result;
use walhost_core::error::{Error, Kind};
use walhost_core::{Clock, Random};

/// How far an open is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Segments that were replayed.
    pub segments: u64,
    /// Segments that are to be.
    pub segments_total: u64,
    /// Bytes of the files that were replayed. What has a footer is not read as a whole.
    pub bytes: u64,
    /// Bytes of the files that are to be.
    pub bytes_total: u64,
}

/// What may be chosen at open.
#[derive(Clone)]
pub struct Options {
    /// Bytes of one segment file; a multiple of 4,096. Files of another size are read, not recycled.
    pub segment_bytes: u32,
    /// A lazy frame waits for a commit of others at most this long; an idle log proves its last commit
    /// after this long.
    pub lazy_ms: u64,
    /// Bytes of bodies that may wait in front of the committer.
    pub queue_bytes_max: usize,
    /// Bytes that must stay free on the file system: no new segment is made below.
    pub min_free_bytes: u64,
    /// Segments kept ready for rotation; one of them is the reserve of lazy frames.
    pub ready_segments: usize,
    /// Told how far an open is, after every segment; nobody by default.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    /// Time: deadlines and durations only, never kept on disk.
    pub clock: Arc<dyn Clock>,
    /// Salts.
    pub random: Arc<Random>,
    /// Bugs on purpose, for the harness that must catch them.
    #[cfg(any(test, feature = "planted"))]
    pub planted: Option<Planted>,
}

impl Options {
    /// The values for production.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<Random>) -> Options {
        Options {
            segment_bytes: limits::SEGMENT_BYTES,
            lazy_ms: limits::LAZY_MS,
            queue_bytes_max: limits::QUEUE_BYTES_MAX,
            min_free_bytes: 0,
            ready_segments: limits::READY_SEGMENTS,
            progress: None,
            clock,
            random,
            #[cfg(any(test, feature = "planted"))]
            planted: None,
        }
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let size = self.segment_bytes;
        let sizes = limits::SEGMENT_BYTES_MIN..=limits::SEGMENT_BYTES_MAX;
        if !size.is_multiple_of(4_096) || !sizes.contains(&size) {
            let detail = format!(
                "segment_bytes must be a multiple of 4096 between {} and {}",
                limits::SEGMENT_BYTES_MIN,
                limits::SEGMENT_BYTES_MAX
            );
            return Err(Error::new(Kind::Invalid, "log.open", detail));
        }
        if self.ready_segments < 2 {
            return Err(Error::new(Kind::Invalid, "log.open", "ready_segments must be at least 2: one is a reserve"));
        }
        Ok(())
    }
}

/// Bugs on purpose. A harness is trusted only after it has caught them.
#[cfg(any(test, feature = "planted"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Frames are acknowledged when they are written, before they are synced.
    AcknowledgeBeforeSync,
    /// A new segment's name is not made durable.
    SkipDirectorySync,
    /// A failed sync is tried again on the same file, and believed.
    RetryFailedSync,
    /// Recovery cuts the log at the first damaged frame.
    TruncateOnDamage,
}
