//! The log: one a data directory, shared by everyone in the process.
//!
//! In: drafts, places, releases. Out: durable frames, told to the observer; verified bodies.

use crate::committer::Committer;
use crate::format::{HEAD_BYTES, ROW_BYTES, commit_bytes_max, crc_of_parts, frame_bytes};
use crate::frame::{BodySum, FrameDraft, FrameHead, KIND_RESERVED_FROM, Place, Urgency};
use crate::observe::{Observer, Refused, State};
use crate::options::Options;
use crate::preparer::Preparer;
use crate::replay::{Damage, Replay};
use crate::segment::ReadFault;
use crate::shared::{Shared, Waiting};
use crate::stats::Stats;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use walhost_core::Result;
use walhost_core::disk::Disk;
use walhost_core::error::{Error, Kind};

/// What an open gives.
pub struct Opened<O: Observer> {
    /// Grows with every open; no log sequence number of an earlier epoch is given again.
    pub epoch: u32,
    /// The log.
    pub log: Arc<Log<O>>,
    /// Commits: give it to [`Committer::start`], or step it in a simulation.
    pub committer: Committer<O>,
    /// Makes segments ready: give it to [`Committer::start`], or step it in a simulation.
    pub preparer: Preparer<O>,
    /// All that was told to `Replay::lost`.
    pub damage: Vec<Damage>,
    /// Frames of the torn tail that were cut.
    pub torn_frames: u64,
    /// Whether the last process has closed the log, as far as is known: true also for a log that is new;
    /// false after a kill, a crash, a log that was read-only at its end, and damage to the closing mark.
    pub clean: bool,
}

/// One segment that holds frames that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number; grows in the order of use.
    pub segment: u64,
    /// First log sequence number in it.
    pub first: u64,
    /// Last log sequence number in it that counts; `first - 1` when there is none so far.
    pub last: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// True when nothing is appended to it any more. Only such a segment may be released.
    pub sealed: bool,
}

/// The log.
pub struct Log<O: Observer> {
    pub(crate) shared: Arc<Shared<O>>,
}

impl<O: Observer> Log<O> {
    /// Takes the sole right to the directory, recovers, opens a new epoch behind a durable fence, and tells
    /// `replay` every frame that counts. Errors: `Conflict` when another process has the directory,
    /// `DiskFull`, `Corrupt` for another format, `Unavailable` when the disk fails.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options, replay: &mut dyn Replay) -> Result<Opened<O>> {
        crate::recover::open(disk, dir, options, replay)
    }

    /// Takes a frame to be committed. Does little under its lock; never blocks on the disk. After `Ok` the
    /// observer is told exactly once.
    pub fn submit(&self, draft: FrameDraft, context: O::Context) -> Result<(), (Refused, O::Context)> {
        let sum = BodySum::of(&draft.parts);
        self.submit_summed(draft, sum, context)
    }

    /// The same, for callers that took the body's check sum before they took a lock of their own. With a
    /// check sum of other parts the frame is damaged from the start.
    pub fn submit_summed(
        &self,
        draft: FrameDraft,
        BodySum(body_crc): BodySum,
        context: O::Context,
    ) -> Result<(), (Refused, O::Context)> {
        let bytes = draft.bytes();
        let options = &self.shared.options;
        if draft.kind >= KIND_RESERVED_FROM || !self.fits(bytes) {
            return Err((Refused::Invalid, context));
        }
        let urgent = draft.urgency == Urgency::Now;
        debug_assert_eq!(body_crc, crc_of_parts(&draft.parts), "the check sum is of these parts");
        let since = if urgent { None } else { Some(options.clock.monotonic()) };
        let mut queue = self.shared.queue.lock();
        let refused = match queue.state {
            _ if queue.closed => Some(Refused::Closed),
            State::Closed => Some(Refused::Closed),
            State::ReadOnly => Some(Refused::ReadOnly),
            State::DiskFull if urgent => Some(Refused::DiskFull),
            _ if !queue.waiting.is_empty() && queue.bytes + bytes > options.queue_bytes_max => Some(Refused::Full),
            _ => None,
        };
        if let Some(refused) = refused {
            return Err((refused, context));
        }
        queue.bytes += bytes + HEAD_BYTES;
        queue.urgent += usize::from(urgent);
        queue.waiting.push_back(Waiting { draft, bytes, body_crc, context });
        if urgent {
            if queue.sleeping {
                self.shared.wake.notify_one();
            }
        } else if queue.lazy_since.is_none() {
            queue.lazy_since = since;
            self.shared.nudge(&mut queue);
        }
        Ok(())
    }

    /// Whether a frame with a body of so many bytes fits a segment.
    pub fn fits(&self, bytes: usize) -> bool {
        frame_bytes(bytes) + ROW_BYTES <= commit_bytes_max(self.shared.options.segment_bytes)
    }

    /// Reads a frame and verifies head and body (I3). Errors: `Corrupt` (counted), `NotFound` when the
    /// segment is released, `Unavailable` when the disk fails.
    pub fn read(&self, place: Place) -> Result<(FrameHead, Bytes)> {
        let segment = self.shared.segments.read().get(&place.segment).cloned();
        let Some(segment) = segment else {
            return Err(Error::new(Kind::NotFound, "log.read", "the segment is not there any more")
                .with("segment", place.segment));
        };
        segment.read(place).map_err(|fault| {
            let detail = match fault {
                ReadFault::Disk(error) => {
                    return Error::new(Kind::Unavailable, "log.read", "the disk failed")
                        .with("file", &segment.name)
                        .source(error);
                }
                ReadFault::Head => "the head of a frame is damaged",
                ReadFault::Body => "the body of a frame is damaged",
            };
            self.shared.stats.lock().corrupt_frames += 1;
            Error::new(Kind::Corrupt, "log.read", detail)
                .with("file", &segment.name)
                .with("segment", place.segment)
                .with("position", place.position)
                .with("bytes", place.bytes)
                .with("log_sequence", place.log_sequence)
        })
    }

    /// Gives a sealed segment back. The caller says that every fact in it is safe elsewhere (I9). The
    /// release is itself a durable frame before the file is recycled or removed; when a crash comes first,
    /// the segment is replayed again. The active segment and unknown ones are ignored.
    pub fn release(&self, segment: u64) {
        let known = self.shared.segments.read().get(&segment).is_some_and(|s| s.range().sealed);
        let mut queue = self.shared.queue.lock();
        if known && !queue.closed && !queue.releases.contains(&segment) {
            queue.releases.push(segment);
            if queue.lazy_since.is_none() {
                queue.lazy_since = Some(self.shared.options.clock.monotonic());
                self.shared.nudge(&mut queue);
            }
        }
    }

    /// All segments that hold frames that count, in log order, the active one last.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.shared.segments.read();
        let about = segments.values().map(|segment| {
            let range = segment.range();
            SegmentInfo {
                segment: segment.id(),
                first: range.first,
                last: range.last,
                bytes: u64::from(segment.bytes),
                sealed: range.sealed,
            }
        });
        about.collect()
    }

    /// Asks for a rotation before the next commit; nothing happens when the active segment holds no frame.
    pub fn roll(&self) {
        let mut queue = self.shared.queue.lock();
        queue.roll = true;
        self.shared.nudge(&mut queue);
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        let mut stats = *self.shared.stats.lock();
        stats.queue_bytes = self.shared.queue.lock().bytes;
        let live: u64 = self.shared.segments.read().values().map(|s| u64::from(s.bytes)).sum();
        let pool = self.shared.pool.lock();
        stats.ready_segments = pool.ready.len();
        let ready: u64 = pool.ready.iter().map(|s| u64::from(s.bytes)).sum();
        stats.disk_bytes = live + ready + pool.spare.iter().map(|s| s.bytes).sum::<u64>();
        stats
    }

    /// How the log is.
    pub fn state(&self) -> State {
        self.shared.queue.lock().state
    }

    /// Commits what waits, proves it, stops the threads, and gives the directory back. Frames submitted
    /// after it are refused. In a simulation the committer is to be stepped until it says `Closed`. Not to
    /// be called by the observer.
    pub fn close(&self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            self.shared.nudge(&mut queue);
        }
        let threads = std::mem::take(&mut *self.shared.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the log ended by a panic");
            }
        }
    }
}

impl<O: Observer> Drop for Log<O> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        self.shared.nudge(&mut queue);
    }
}
