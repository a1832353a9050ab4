//! The log: one a data directory, shared by everyone in the process.
//!
//! In: drafts, places, releases. Out: durable frames, told to the observer; verified bodies.

use crate::committer::Committer;
use crate::frame::{FrameDraft, FrameHead, Place};
use crate::observe::{Observer, Refused, State};
use crate::options::Options;
use crate::preparer::Preparer;
use crate::replay::{Damage, Replay};
use crate::stats::Stats;
use bytes::Bytes;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use walhost_core::Result;
use walhost_core::disk::Disk;

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
pub struct Log<O: Observer>(PhantomData<fn(O)>);

impl<O: Observer> Log<O> {
    /// Takes the sole right to the directory, recovers, opens a new epoch behind a durable fence, and tells
    /// `replay` every frame that counts. Errors: `Conflict` when another process has the directory,
    /// `DiskFull`, `Corrupt` for another format, `Unavailable` when the disk fails.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options, replay: &mut dyn Replay) -> Result<Opened<O>> {
        unimplemented!("{:?}{:?}{:?}{:p}", dir, disk.list(dir), options.segment_bytes, replay)
    }

    /// Takes a frame to be committed. Does little under its lock; never blocks on the disk. After `Ok` the
    /// observer is told exactly once.
    pub fn submit(&self, draft: FrameDraft, context: O::Context) -> Result<(), (Refused, O::Context)> {
        unimplemented!("{:?}{:?}", draft, std::mem::size_of_val(&context))
    }

    /// Reads a frame and verifies head and body (I3). Errors: `Corrupt` (counted), `NotFound` when the
    /// segment is released, `Unavailable` when the disk fails.
    pub fn read(&self, place: Place) -> Result<(FrameHead, Bytes)> {
        unimplemented!("{:?}", place)
    }

    /// Gives a sealed segment back. The caller says that every fact in it is safe elsewhere (I9). The
    /// release is itself a durable frame before the file is recycled or removed; when a crash comes first,
    /// the segment is replayed again. The active segment and unknown ones are ignored.
    pub fn release(&self, segment: u64) {
        unimplemented!("{segment}")
    }

    /// All segments that hold frames that count, in log order, the active one last.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        unimplemented!()
    }

    /// Asks for a rotation before the next commit; nothing happens when the active segment holds no frame.
    pub fn roll(&self) {
        unimplemented!()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// How the log is.
    pub fn state(&self) -> State {
        unimplemented!()
    }

    /// Commits what waits, proves it, stops the threads, and gives the directory back. Frames submitted
    /// after it are refused. Not to be called by the observer.
    pub fn close(&self) {
        unimplemented!()
    }
}
