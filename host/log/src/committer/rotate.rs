//! From one segment to the next.
//!
//! In: a segment that is full, ready ones. Out: a footer, and the next segment; or that there is no room.

use super::group::OwnFields;
use super::{Active, Committer};
use crate::format::{DATA_START, KIND_FOOTER, footer_bytes, segments_max};
use crate::limits;
use crate::observe::{Observer, State};
use crate::preparer::{Haste, prepare_one};
use crate::segment::{Range, Segment};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why there is no next segment.
pub(super) enum Fault {
    /// Nothing is wrong with the active segment, but there is no other.
    NoRoom(String),
    /// The active segment could not be sealed.
    Disk(io::Error),
}

impl<O: Observer> Committer<O> {
    /// Seals the active segment and makes the next one active. `reserve`: also the last ready one may be
    /// taken.
    pub(super) fn rotate(&mut self, reserve: bool) -> Result<(), Fault> {
        // First the next one: where there is none, what is left of this one still serves lazy frames.
        let next = self.next_segment(reserve).map_err(Fault::NoRoom)?;
        let sealed = match &self.active {
            Some(active) if active.frames > 0 => self.seal(),
            _ => Ok(()),
        };
        if let Err(error) = sealed {
            // It was not used: the fence of the next epoch goes into it.
            self.shared.pool.lock().ready.push_front(next);
            return Err(Fault::Disk(error));
        }
        self.activate(next);
        Ok(())
    }

    /// Takes a ready segment, making some ready here and now when the preparing thread is behind.
    pub(super) fn next_segment(&mut self, reserve: bool) -> Result<Arc<Segment>, String> {
        let shared = &self.shared;
        if shared.segments.read().len() >= segments_max(shared.options.segment_bytes) {
            return Err("the log has as many segments as it may have".to_owned());
        }
        let enough = if reserve { 1 } else { 2 };
        shared.pool.lock().awaited = true;
        shared.wake_preparer.notify_one();
        // When one is about to be ready this waits for it.
        while let Ok(true) = prepare_one(shared, enough, Haste::Now) {}
        let mut pool = shared.pool.lock();
        pool.awaited = false;
        if pool.ready.len() < enough {
            let trouble = pool.trouble.clone();
            return Err(trouble.unwrap_or_else(|| "no segment is ready".to_owned()));
        }
        let next = pool.ready.pop_front().expect("counted");
        pool.taken = [Some(shared.options.clock.monotonic()), pool.taken[0]];
        shared.wake_preparer.notify_one();
        Ok(next)
    }

    /// Makes a ready segment the active one.
    pub(super) fn activate(&mut self, segment: Arc<Segment>) {
        let range = Range { first: self.next, last: self.next - 1, end: DATA_START, sealed: false, given_up: false };
        segment.set_range(range);
        self.shared.segments.write().insert(segment.id(), Arc::clone(&segment));
        self.active = Some(Active {
            segment,
            position: DATA_START,
            rows: Vec::new(),
            frames: 0,
            first: self.next,
            first_commit: self.commit,
        });
    }

    /// Ends the active segment with its footer; there is no active one then. After an error it is still
    /// active, to be given up.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        let active = self.active.as_mut().expect("the caller saw it");
        let bytes = active.segment.bytes;
        let footer = bytes - footer_bytes(active.frames) as u32;
        assert!(footer >= active.position, "room for the footer was kept");
        let fields = OwnFields {
            view: 0,
            first_offset: active.first,
            count: u32::try_from(active.frames).expect("a frame takes 64 bytes"),
            first_sequence: active.first_commit,
        };
        let rows = active.rows.clone();
        let data_end = std::mem::replace(&mut active.position, footer);
        self.begin_group();
        self.group.add_own(KIND_FOOTER, fields, rows, true);
        self.group.pad_to_sector();
        self.group.end_sealed(self.durable, footer, self.closing);
        let written = self.write();
        let active = self.active.as_mut().expect("still there");
        if let Err(error) = written {
            active.position = data_end;
            return Err(error);
        }
        let range = active.segment.range();
        active.segment.set_range(Range { sealed: true, ..range });
        self.active = None;
        self.unproven_since = None;
        self.shared.stats.lock().rotations += 1;
        Ok(())
    }

    /// A rotation that was asked for.
    pub(super) fn roll(&mut self) {
        if let Err(error) = self.seal() {
            self.give_up(Vec::new(), &error);
        }
    }

    pub(super) fn no_room(&mut self) {
        let mut queue = self.shared.queue.lock();
        if queue.state == State::Ok {
            tracing::warn!("the disk is full: only lazy frames are taken");
            queue.state = State::DiskFull;
        }
        self.retry_at = self.shared.options.clock.monotonic() + Duration::from_millis(limits::FULL_RETRY_MS);
    }

    /// Whether there is room again; the log takes urgent frames when the reserve and one more are ready.
    pub(super) fn look_for_room(&mut self, now: Duration) {
        while let Ok(true) = prepare_one(&self.shared, 2, Haste::Now) {}
        let enough = self.shared.pool.lock().ready.len() >= 2
            && self.shared.segments.read().len() < segments_max(self.shared.options.segment_bytes);
        let mut queue = self.shared.queue.lock();
        if enough {
            tracing::info!("there is room again");
            queue.state = State::Ok;
        } else {
            self.retry_at = now + Duration::from_millis(limits::FULL_RETRY_MS);
        }
    }
}
