//! One group commit, from frames to the observer.
//!
//! In: frames and releases taken from the queue. Out: one synced write, one call of the observer.

use super::group::{CommitHead, OwnFields};
use super::take::RELEASE_BYTES;
use super::{Active, Committer};
use crate::format::{
    HEAD_BYTES, KIND_RELEASE, KIND_ROSTER, KIND_TRAILER, ROSTER_ROW_BYTES, ROW_BYTES, Roster, RosterRow, SECTOR_BYTES,
    align_commit, footer_bytes, frame_bytes,
};
use crate::frame::{FrameHead, Place, Urgency};
use crate::observe::{Failure, FailureKind, Observer, State};
use crate::shared::Waiting;
use std::io;

impl<O: Observer> Committer<O> {
    /// Commits frames and releases together.
    pub(super) fn commit(&mut self, mut frames: Vec<Waiting<O::Context>>, releases: Vec<u64>) {
        if !self.make_room(&mut frames, releases.len()) {
            self.release_later(releases);
            return;
        }
        if frames.is_empty() && releases.is_empty() {
            return;
        }
        let places = self.lay_out(&frames, &releases);
        match self.write() {
            Ok(()) => {
                self.unproven_since = Some(self.shared.options.clock.monotonic());
                self.give_back(&releases);
                {
                    let mut stats = self.shared.stats.lock();
                    stats.frames += frames.len() as u64;
                    stats.bytes += places.iter().map(|place| u64::from(place.bytes)).sum::<u64>();
                }
                let told = frames.into_iter().zip(places).map(|(frame, place)| (frame.context, place)).collect();
                self.observer().committed(told);
            }
            Err(error) => {
                self.release_later(releases);
                self.give_up(frames, &error);
            }
        }
    }

    /// A commit of a trailer alone: it names the commit before it as proven.
    pub(super) fn prove(&mut self) {
        self.unproven_since = None;
        let Some(active) = &self.active else { return };
        if self.free_bytes(active) < SECTOR_BYTES + ROW_BYTES {
            // The footer's trailer proves as well.
            if let Err(error) = self.seal() {
                self.give_up(Vec::new(), &error);
            }
            return;
        }
        self.begin_group();
        self.group.end(self.durable);
        match self.write() {
            Ok(()) => self.shared.stats.lock().commits_idle += 1,
            Err(error) => self.give_up(Vec::new(), &error),
        }
    }

    /// Bytes that a commit and its rows may take in the active segment, so that the footer still fits.
    fn free_bytes(&self, active: &Active) -> usize {
        let taken = active.position as usize + footer_bytes(active.frames + 1);
        (active.segment.bytes as usize).saturating_sub(taken)
    }

    /// Whether so much fits the active segment as one commit.
    fn fits(&self, frames: &[Waiting<O::Context>], releases: usize) -> bool {
        let Some(active) = &self.active else { return false };
        let bytes: usize = frames.iter().map(|frame| frame_bytes(frame.bytes) + ROW_BYTES).sum();
        let lists = if active.frames == 0 { 2 * (self.roster_bytes() + ROW_BYTES) } else { 0 };
        // The trailer, padded; and the footer's padding may grow by a sector with the rows.
        let rest = align_commit(HEAD_BYTES) + SECTOR_BYTES + ROW_BYTES;
        bytes + releases * RELEASE_BYTES + lists + rest <= self.free_bytes(active)
    }

    fn roster_bytes(&self) -> usize {
        frame_bytes(self.shared.segments.read().len() * ROSTER_ROW_BYTES)
    }

    /// Makes the active segment one that takes all of it. Where there is no room on the disk the urgent
    /// frames are told, then the lazy ones; false when nothing is left to be done.
    fn make_room(&mut self, frames: &mut Vec<Waiting<O::Context>>, releases: usize) -> bool {
        while !self.fits(frames, releases) {
            let urgent = frames.iter().any(|frame| frame.draft.urgency == Urgency::Now);
            match self.rotate(!urgent) {
                Ok(()) => {}
                Err(super::rotate::Fault::NoRoom(detail)) => {
                    self.no_room();
                    let all = std::mem::take(frames);
                    let (told, kept): (Vec<_>, Vec<_>) =
                        all.into_iter().partition(|frame| !urgent || frame.draft.urgency == Urgency::Now);
                    *frames = kept;
                    let failure = Failure { kind: FailureKind::DiskFull, void: true, detail };
                    self.tell_failed(told, &failure);
                    if frames.is_empty() && (releases == 0 || !urgent) {
                        return false;
                    }
                }
                Err(super::rotate::Fault::Disk(error)) => {
                    // Nothing of this group was written: it goes into the new epoch.
                    self.give_up(Vec::new(), &error);
                    if self.shared.queue.lock().state == State::ReadOnly {
                        let all = std::mem::take(frames);
                        self.refuse(all);
                        return false;
                    }
                }
            }
        }
        true
    }

    pub(super) fn begin_group(&mut self) {
        let active = self.active.as_ref().expect("room was made");
        self.group.begin(CommitHead {
            segment: active.segment.id(),
            salt: active.segment.header.salt,
            epoch: self.epoch,
            commit: self.commit,
            position: active.position,
            first: self.next,
            first_commit: active.first_commit,
        });
    }

    pub(super) fn lay_out(&mut self, frames: &[Waiting<O::Context>], releases: &[u64]) -> Vec<Place> {
        let list = self.active.as_ref().is_some_and(|active| active.frames == 0).then(|| self.roster());
        self.begin_group();
        if let Some(roster) = &list {
            let fields = OwnFields { view: 1, first_sequence: self.next, ..OwnFields::default() };
            self.group.add_own(KIND_ROSTER, fields, roster.encode(), false);
        }
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            places.push(self.group.add(head_of(frame), false, frame.body_crc, &frame.draft.parts));
        }
        for release in releases {
            let fields = OwnFields { first_offset: *release, ..OwnFields::default() };
            self.group.add_own(KIND_RELEASE, fields, Vec::new(), true);
            self.group.add_own(KIND_RELEASE, OwnFields { view: 2, ..fields }, Vec::new(), true);
        }
        if let Some(roster) = list {
            let fields = OwnFields { view: 2, first_sequence: self.next, ..OwnFields::default() };
            self.group.add_own(KIND_ROSTER, fields, roster.encode(), true);
        }
        self.group.end(self.durable);
        places
    }

    /// All segments that count but the active one.
    pub(super) fn roster(&self) -> Roster {
        let segments = self.shared.segments.read();
        let active = self.active.as_ref().map(|active| active.segment.id());
        let row = |segment: &std::sync::Arc<crate::segment::Segment>| {
            let range = segment.range();
            RosterRow { segment: segment.id(), first: range.first, last: range.last, end: range.end }
        };
        let counting = segments.values().filter(|s| Some(s.id()) != active && s.range().last >= s.range().first);
        Roster(counting.map(row).collect())
    }

    /// Writes the group that is laid out, synced, and takes it into account.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let active = self.active.as_mut().expect("room was made");
        let clock = &self.shared.options.clock;
        // These numbers are used, whatever comes of the write.
        let first = self.next;
        self.next = self.group.next();
        let started = clock.monotonic();
        let slices = self.group.slices(active.segment.bytes);
        let outcome = write_synced(&self.shared.options, &active.segment, &slices, active.position);
        let took = clock.monotonic().saturating_sub(started);
        self.group.clear();
        let mut stats = self.shared.stats.lock();
        stats.fsync.add(took);
        if let Err(error) = outcome {
            stats.commits_failed += 1;
            return Err(error);
        }
        stats.commits += 1;
        drop(stats);
        if active.frames == 0 {
            active.first = first;
        }
        active.position += self.group.bytes() as u32;
        active.frames += self.group.frames();
        active.rows.extend_from_slice(self.group.rows());
        self.commit += 1;
        self.durable = self.next - 1;
        let mut range = active.segment.range();
        (range.first, range.last, range.end) = (active.first, self.durable, active.position);
        active.segment.set_range(range);
        Ok(())
    }

    /// Forgets segments whose release is durable; their files may be overwritten.
    fn give_back(&self, releases: &[u64]) {
        for id in releases {
            let segment = self.shared.segments.write().remove(id);
            if let Some(segment) = segment {
                self.shared.spare(&segment, !segment.range().given_up);
            }
        }
    }

    /// Keeps releases for another try; a log that is being closed has none: its next open tells these
    /// segments again.
    fn release_later(&self, releases: Vec<u64>) {
        let mut queue = self.shared.queue.lock();
        if !releases.is_empty() && !queue.closed {
            queue.releases.extend(releases);
            queue.lazy_since.get_or_insert(self.shared.options.clock.monotonic());
        }
    }

    /// Tells those that came too late for a log that is read-only.
    pub(super) fn refuse(&mut self, frames: Vec<Waiting<O::Context>>) {
        let detail = "an earlier sync failed".to_owned();
        self.tell_failed(frames, &Failure { kind: FailureKind::ReadOnly, void: true, detail });
    }

    pub(super) fn tell_failed(&self, frames: Vec<Waiting<O::Context>>, failure: &Failure) {
        if !frames.is_empty() {
            self.observer().failed(frames.into_iter().map(|frame| frame.context).collect(), failure);
        }
    }
}

fn head_of<C>(frame: &Waiting<C>) -> FrameHead {
    let draft = &frame.draft;
    debug_assert!(draft.kind < KIND_TRAILER, "refused at submit");
    FrameHead {
        kind: draft.kind,
        view: draft.view,
        first_offset: draft.first_offset,
        count: draft.count,
        first_sequence: draft.first_sequence,
        log_sequence: 0,
        origin: 0,
        commit: 0,
        epoch: 0,
        bytes: u32::try_from(frame.bytes).expect("a frame fits a segment"),
    }
}

/// One synced write; with the bugs on purpose of the harness.
fn write_synced(
    options: &crate::options::Options,
    segment: &crate::segment::Segment,
    slices: &[&[u8]],
    position: u32,
) -> io::Result<()> {
    #[cfg(any(test, feature = "planted"))]
    match options.planted {
        Some(crate::options::Planted::AcknowledgeBeforeSync) => return segment.file.write_at(slices, position.into()),
        Some(crate::options::Planted::RetryFailedSync) => {
            return segment.file.write_synced_at(slices, position.into()).or_else(|_| segment.file.sync());
        }
        _ => {}
    }
    let _ = options;
    segment.file.write_synced_at(slices, u64::from(position))
}
