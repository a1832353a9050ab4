//! The cleaner: copies what is still needed out of segments that are mostly not, so that one namespace which
//! stands still cannot pin the disk (I9).
//!
//! In: how much of each segment is needed. Out: frames appended again, unchanged but for their place.
//!
//! It goes in rounds. A round chooses segments, copies all that is needed of them, a slice at a time, and then
//! waits until they are given back: two snapshots after the copies are durable, as every segment. Nothing else
//! says that a copy was made: until the source is gone both are there, and the one with the higher log sequence
//! number wins. A crash leaves segments of which less is needed; another round takes them up again.

mod choose;
mod copy;

use crate::limits;
use crate::shared::{Namespace, Shared};
use choose::choose;
use copy::Sliced;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use walhost_core::Result;

/// What one step of the cleaner did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// Nothing is to be cleaned, or what was is waiting to be given back: ask again in a second.
    Idle,
    /// The last slice is on its way to the disk, or the log has enough to do: ask again soon.
    Waits,
    /// A slice was looked at, and so many bytes were handed to the log.
    Worked(u64),
}

/// Copies that are on their way to the disk, and those that have arrived.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    waiting: AtomicU64,
    copied: AtomicU64,
    failed: AtomicBool,
}

impl Flight {
    fn begin(&self, bytes: u64) {
        self.waiting.fetch_add(bytes, Ordering::AcqRel);
    }

    /// The log did not take it.
    fn take_back(&self, bytes: u64) {
        self.waiting.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// A copy is durable, or could not be written.
    pub(crate) fn end(&self, bytes: u64, durable: bool) {
        if durable {
            self.copied.fetch_add(bytes, Ordering::AcqRel);
        } else {
            self.failed.store(true, Ordering::Release);
        }
        self.waiting.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Where a round stands.
#[derive(Debug)]
struct Round {
    segments: BTreeSet<u64>,
    /// The namespace that is next, or the one after it.
    view: u32,
    /// What of it is next: records from an offset on, then dead letters from a number on.
    next: Next,
}

/// What of a namespace comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Records(u64),
    Letters(u64),
}

/// The cleaner's own state. One a log.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    round: Option<Round>,
    /// Segments that nobody needs since the last round, and that are not given back so far.
    emptied: BTreeSet<u64>,
    flight: Arc<Flight>,
    segments: u64,
}

impl Cleaner {
    /// Bytes that were copied since the open.
    pub(crate) fn bytes(&self) -> u64 {
        self.flight.copied.load(Ordering::Acquire)
    }

    /// Segments that were emptied since the open.
    pub(crate) fn segments(&self) -> u64 {
        self.segments
    }

    /// True when segments wait for the snapshots after which they can be given back.
    pub(crate) fn awaits_release(&mut self, shared: &Shared, namespaces: &[Arc<Namespace>]) -> bool {
        if !self.emptied.is_empty() {
            let there: BTreeSet<u64> = shared.log.segments().iter().map(|segment| segment.segment).collect();
            self.emptied.retain(|segment| there.contains(segment));
            // A target that has begun with the earliest record may need some of them again.
            retain_unneeded(&mut self.emptied, namespaces);
        }
        !self.emptied.is_empty()
    }

    /// One slice of work at most. `settled`: up to this log sequence number two snapshots hold all facts.
    pub(crate) fn step(
        &mut self,
        shared: &Arc<Shared>,
        namespaces: &[Arc<Namespace>],
        settled: Option<u64>,
    ) -> Result<Cleaned> {
        if self.flight.waiting.load(Ordering::Acquire) > 0 {
            return Ok(Cleaned::Waits);
        }
        if self.flight.failed.swap(false, Ordering::AcqRel) {
            // What was copied stays copied; the rest is for another round.
            self.round = None;
            return Ok(Cleaned::Idle);
        }
        if self.round.is_none() {
            if self.awaits_release(shared, namespaces) {
                return Ok(Cleaned::Idle);
            }
            let Some(segments) = settled.and_then(|settled| choose(shared, namespaces, settled, self.bytes())) else {
                return Ok(Cleaned::Idle);
            };
            tracing::debug!(?segments, "cleaning begins");
            self.round = Some(Round { segments, view: 0, next: Next::Records(0) });
        }
        if shared.log.stats().queue_bytes > limits::CLEAN_QUEUE_BYTES_MAX {
            return Ok(Cleaned::Waits);
        }
        let Some(round) = &mut self.round else { return Ok(Cleaned::Idle) };
        let sliced = round.slice(shared, namespaces, &self.flight);
        #[cfg(any(test, feature = "planted"))]
        if shared.planted == Some(crate::Planted::ReleasedBeforeCopied) {
            round.segments.iter().for_each(|segment| shared.log.release(*segment));
        }
        match sliced {
            Ok(Slice::Worked(bytes)) => Ok(Cleaned::Worked(bytes)),
            Ok(Slice::NoRoom) => Ok(Cleaned::Waits),
            Ok(Slice::End) => {
                self.end(namespaces);
                Ok(Cleaned::Worked(0))
            }
            Err(error) => {
                self.round = None;
                Err(error)
            }
        }
    }

    /// Everything was gone over and is durable.
    fn end(&mut self, namespaces: &[Arc<Namespace>]) {
        let Some(round) = self.round.take() else { return };
        let mut emptied = round.segments;
        retain_unneeded(&mut emptied, namespaces);
        self.segments += emptied.len() as u64;
        self.emptied = emptied;
    }
}

/// Lets go of the segments that some namespace needs.
fn retain_unneeded(segments: &mut BTreeSet<u64>, namespaces: &[Arc<Namespace>]) {
    for namespace in namespaces {
        let view = namespace.view.lock();
        segments.retain(|segment| view.removed || view.extents.usage(*segment).live == 0);
    }
}

/// What one slice did.
enum Slice {
    /// So many bytes were handed to the log.
    Worked(u64),
    /// The log has enough to do: the same again later.
    NoRoom,
    /// Everything was gone over.
    End,
}

impl Round {
    /// Copies the next slice.
    fn slice(&mut self, shared: &Arc<Shared>, namespaces: &[Arc<Namespace>], flight: &Arc<Flight>) -> Result<Slice> {
        let from = namespaces.partition_point(|namespace| namespace.number < self.view);
        for namespace in &namespaces[from..] {
            if namespace.number != self.view {
                (self.view, self.next) = (namespace.number, Next::Records(0));
            }
            while namespace.needs(&self.segments) {
                let Sliced { bytes, next, no_room } = match self.next {
                    Next::Records(offset) => copy::records(shared, namespace, &self.segments, offset, flight)?,
                    Next::Letters(number) => copy::letters(shared, namespace, &self.segments, number, flight)?,
                };
                match next {
                    Some(next) => self.next = next,
                    None => break,
                }
                if bytes > 0 {
                    return Ok(Slice::Worked(bytes));
                }
                if no_room {
                    return Ok(Slice::NoRoom);
                }
            }
            (self.view, self.next) = (namespace.number.saturating_add(1), Next::Records(0));
            if flight.waiting.load(Ordering::Acquire) > 0 {
                return Ok(Slice::Worked(0));
            }
        }
        Ok(Slice::End)
    }
}

impl Namespace {
    /// Whether anything of these segments is needed, as far as this namespace is concerned.
    fn needs(&self, segments: &BTreeSet<u64>) -> bool {
        let view = self.view.lock();
        !view.removed && segments.iter().any(|segment| view.extents.usage(*segment).live > 0)
    }
}
