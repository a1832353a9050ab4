//! Housekeeping: snapshots, segments given back (I9), dead letters, keys and history whose time has ended,
//! settlements that wait for the disk.
//!
//! In: the state of all namespaces, now and then. Out: snapshot files, released segments.

use crate::commit::Ticket;
use crate::extents::SLICE_CHUNKS;
use crate::idempotency::tend::tend;
use crate::letters::expire;
use crate::limits;
use crate::shared::{Namespace, Shared};
use crate::snapshot::{put_head, take};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use walhost_core::Result;
use walhost_log::{FrameDraft, Urgency, snapshot};

/// What the last snapshots said.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    /// As of which log sequence number the last snapshot is, and which sealed segments nobody needed then.
    last: Option<(u64, BTreeSet<u64>)>,
    /// And the one before it.
    before: Option<(u64, BTreeSet<u64>)>,
    /// The newest segment when the last snapshot was taken.
    segment: u64,
    /// Bytes of the last snapshot, and what the log had written by then.
    written: (u64, u64),
    /// Bytes of all of them.
    bytes: u64,
}

impl Generations {
    /// Takes a snapshot of all namespaces and gives back the segments that two snapshots do not need.
    ///
    /// Every fact up to `as_of` is in it: facts are applied when they are submitted or when they are
    /// durable, and `applied` is read before any view is, and before `namespaces` is asked which there are and
    /// which number the next one gets. Facts after it may be in it too; they are applied again at a replay, and
    /// change nothing then.
    pub(crate) fn snapshot(
        &mut self,
        shared: &Arc<Shared>,
        namespaces: impl FnOnce() -> (Vec<Arc<Namespace>>, u32),
    ) -> Result<()> {
        let as_of = shared.applied.load(Ordering::Acquire);
        let (namespaces, next_view) = namespaces();
        #[cfg(any(test, feature = "planted"))]
        let as_of = as_of + if shared.planted == Some(crate::Planted::SnapshotAsOfTooHigh) { 2 } else { 0 };
        let segments = shared.log.segments();
        let mut parts = vec![put_head(next_view)];
        let mut live = BTreeSet::new();
        for namespace in &namespaces {
            let view = namespace.view.lock();
            if view.removed {
                continue;
            }
            let still = take(&view);
            live.extend(view.extents.live_segments());
            drop(view);
            parts.push(still.put());
        }
        snapshot::write(&*shared.disk, &shared.snapshots, as_of, &parts)?;
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        (self.written, self.bytes) = ((bytes, shared.log.stats().bytes), self.bytes + bytes);
        let clear = segments.iter().filter(|s| s.sealed && s.last <= as_of && !live.contains(&s.segment));
        let clear = clear.map(|segment| segment.segment).collect();
        let again = self.last.as_ref().is_some_and(|(last, _)| *last == as_of);
        if again {
            // It has replaced the file of the last one: on disk these are one generation, not two (I9).
            self.last = Some((as_of, clear));
        } else {
            self.before = self.last.replace((as_of, clear));
        }
        if !again {
            shared.run_files.snapshot_written(&*shared.disk);
        }
        self.segment = segments.last().map_or(0, |segment| segment.segment);
        let files_wait = shared.run_files.waits(shared.clock.now_ms());
        if (again || self.before.is_none()) && (files_wait || segments.iter().any(|segment| segment.sealed)) {
            move_on(shared, &namespaces);
        }
        Ok(())
    }

    /// True when a segment was finished since the last snapshot, which was not written just now; or when
    /// segments of the process before wait for a second one.
    pub(crate) fn is_due(&self, shared: &Shared) -> bool {
        let segments = shared.log.segments();
        let waits = self.before.is_none() && segments.iter().any(|segment| segment.sealed);
        let finished = segments.last().is_some_and(|segment| segment.segment != self.segment);
        let since = shared.log.stats().bytes.saturating_sub(self.written.1);
        let waits = waits || shared.run_files.waits(shared.clock.now_ms());
        self.last.is_none() || waits || finished && since >= limits::SNAPSHOT_SPACING * self.written.0
    }

    /// Bytes of all snapshots since the open.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Up to this log sequence number two snapshots hold all facts.
    pub(crate) fn settled(&self) -> Option<u64> {
        self.before.as_ref().map(|(as_of, _)| *as_of)
    }

    /// Gives back the segments that neither of the last two snapshots needs, nor anyone now. Answers which.
    pub(crate) fn release(&mut self, shared: &Shared, namespaces: &[Arc<Namespace>]) -> Vec<u64> {
        #[cfg(any(test, feature = "planted"))]
        if shared.planted == Some(crate::Planted::ReleasedAfterOneSnapshot) {
            self.before = self.last.clone();
        }
        let (Some((_, last)), Some((before_as_of, before))) = (&self.last, &self.before) else { return Vec::new() };
        let mut free: BTreeSet<u64> = last.intersection(before).copied().collect();
        free.retain(|free| {
            shared.log.segments().iter().any(|s| s.segment == *free && s.sealed && s.last <= *before_as_of)
        });
        for namespace in namespaces {
            free.retain(|segment| forget(namespace, *segment));
        }
        free.iter().for_each(|segment| shared.log.release(*segment));
        free.into_iter().collect()
    }
}

/// Forgets what a namespace has in a segment, a slice under each lock; false when it needs something of it.
///
/// Nobody can need again what is forgotten: a target that begins with the earliest record finds what is left,
/// and then the segment stays.
fn forget(namespace: &Namespace, segment: u64) -> bool {
    let mut from = Some(0);
    while let Some(at) = from {
        let mut view = namespace.view.lock();
        if view.extents.usage(segment).live > 0 {
            return false;
        }
        from = view.extents.release(segment, at, SLICE_CHUNKS);
        parking_lot::MutexGuard::unlock_fair(view);
    }
    true
}

/// Writes a frame that says nothing, so that the next snapshot is as of a later one: where nobody appends,
/// also because the disk is full, two generations would never come about.
fn move_on(shared: &Shared, namespaces: &[Arc<Namespace>]) {
    let Some(namespace) = namespaces.first() else { return };
    let draft = FrameDraft { view: 0, ..namespace.facts_frame(Bytes::new(), 0, Urgency::Lazy) };
    let ticket = Ticket::Applied { namespace: Arc::clone(namespace), body: Bytes::new(), waiter: None };
    // Refused: the next round asks again.
    drop(shared.log.submit(draft, ticket));
}

/// Lets go of what has outlived its time.
pub(crate) fn tidy(shared: &Shared, namespaces: &[Arc<Namespace>]) {
    tend(shared, namespaces);
    let now_ms = shared.clock.now_ms();
    let mut index_bytes = 0;
    for namespace in namespaces {
        if let Err(error) = expire(namespace, now_ms) {
            tracing::warn!(%error, "dead letters could not be expired");
        }
        crate::moves::round(namespace);
        let mut view = namespace.view.lock();
        if let Some(policy) = view.policy.clone() {
            view.history.expire(now_ms.saturating_sub(policy.history_ms));
        }
        index_bytes += view.memory_bytes();
    }
    shared.index.bytes.store(index_bytes, Ordering::Relaxed);
}
