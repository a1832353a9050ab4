//! Decides what the committer does next.
//!
//! In: the queue, the time. Out: one piece of work, or how long there is none.

use super::Committer;
use crate::format::{HEAD_BYTES, ROW_BYTES, commit_bytes_max, frame_bytes};
use crate::limits;
use crate::observe::{Observer, State};
use crate::shared::{Queue, Waiting};
use std::time::Duration;

/// Releases in one commit: they share the room of the last eighth of a segment's commit with nobody.
const RELEASES_MAX: usize = 16;
/// Bytes that a release takes: two frames without bodies, and their rows.
pub(super) const RELEASE_BYTES: usize = 2 * (HEAD_BYTES + ROW_BYTES);

/// What is to be done.
pub(super) enum Taken<C> {
    /// Commit these frames, and give these segments back.
    Frames(Vec<Waiting<C>>, Vec<u64>),
    /// Prove the last commit.
    Prove,
    /// Seal the active segment.
    Roll,
    /// The log is read-only: tell these so.
    Refused(Vec<Waiting<C>>),
    /// See whether there is room again.
    Room,
    Idle(Option<Duration>),
    Closed,
}

impl<O: Observer> Committer<O> {
    pub(super) fn take(&mut self, now: Duration) -> Taken<O::Context> {
        let shared = std::sync::Arc::clone(&self.shared);
        let lazy = Duration::from_millis(self.shared.options.lazy_ms);
        let mut queue = shared.queue.lock();
        queue.nudged = false;
        if matches!(queue.state, State::ReadOnly | State::Closed) {
            return self.take_read_only(&mut queue);
        }
        if queue.state == State::DiskFull && self.retry_at <= now {
            return Taken::Room;
        }
        let something = !queue.waiting.is_empty() || !queue.releases.is_empty();
        let lazy_due = queue.lazy_since.map(|since| since + lazy);
        if queue.urgent > 0 || (something && (queue.closed || lazy_due.is_some_and(|due| due <= now))) {
            return self.take_frames(&mut queue, now);
        }
        if std::mem::take(&mut queue.roll) && self.active.as_ref().is_some_and(|active| active.frames > 0) {
            return Taken::Roll;
        }
        let prove_due = self.unproven_since.map(|since| since + lazy);
        if queue.closed {
            return if prove_due.is_some() { Taken::Prove } else { Taken::Closed };
        }
        if prove_due.is_some_and(|due| due <= now) {
            return Taken::Prove;
        }
        let retry = (queue.state == State::DiskFull).then_some(self.retry_at);
        let next = [lazy_due.filter(|_| something), prove_due, retry].into_iter().flatten().min();
        Taken::Idle(next.map(|due| due.saturating_sub(now)))
    }

    fn take_read_only(&mut self, queue: &mut Queue<O::Context>) -> Taken<O::Context> {
        self.unproven_since = None;
        queue.releases.clear();
        queue.lazy_since = None;
        queue.roll = false;
        if !queue.waiting.is_empty() {
            let mut frames = Vec::with_capacity(queue.waiting.len());
            frames.extend(std::iter::from_fn(|| queue.pop()));
            return Taken::Refused(frames);
        }
        if queue.closed { Taken::Closed } else { Taken::Idle(None) }
    }

    fn take_frames(&mut self, queue: &mut Queue<O::Context>, now: Duration) -> Taken<O::Context> {
        let cap = commit_bytes_max(self.shared.options.segment_bytes);
        let soft = cap.min(limits::COMMIT_BYTES_MAX);
        let count = queue.releases.len().min(RELEASES_MAX).min(cap / RELEASE_BYTES);
        let mut bytes = count * RELEASE_BYTES;
        let mut frames = Vec::with_capacity(queue.waiting.len().min(limits::COMMIT_FRAMES_MAX));
        while let Some(first) = queue.waiting.front() {
            let cost = frame_bytes(first.bytes) + ROW_BYTES;
            // A frame larger than the cap commits alone, without releases.
            let fits = bytes + cost <= soft || (frames.is_empty() && count == 0);
            if !fits || frames.len() == limits::COMMIT_FRAMES_MAX {
                break;
            }
            bytes += cost;
            frames.extend(queue.pop());
        }
        // What is left of the lazy ones waits for its own deadline, counted anew.
        let rest = queue.waiting.len() > queue.urgent || queue.releases.len() > count;
        queue.lazy_since = if rest { Some(now) } else { None };
        let releases = queue.releases.drain(..count).collect();
        Taken::Frames(frames, releases)
    }
}
