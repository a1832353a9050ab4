//! A new epoch: after an open, and after a file that was given up (I4).
//!
//! In: what counts so far, frames to be copied. Out: a durable fence; or a read-only log.

use super::Committer;
use super::group::OwnFields;
use crate::format::{KIND_FENCE, crc};
use crate::frame::{FrameHead, Place};
use crate::observe::{Failure, FailureKind, Observer, State};
use crate::segment::Range;
use crate::shared::Waiting;
use bytes::Bytes;
use std::io;

impl<O: Observer> Committer<O> {
    /// Begins the committer's epoch in a ready segment: the fence, copies of frames that are not proven,
    /// the fence again, the trailer; one commit. On an error the segment is given up.
    pub(crate) fn begin_epoch(&mut self, copies: &[(FrameHead, Bytes)]) -> io::Result<Vec<Place>> {
        let segment = self.next_segment(true).map_err(|detail| io::Error::new(io::ErrorKind::StorageFull, detail))?;
        self.commit = 1;
        self.activate(segment);
        let roster = self.roster();
        self.begin_group();
        let fields = OwnFields {
            view: 1,
            first_offset: self.durable,
            count: u32::try_from(copies.len()).expect("one commit's frames"),
            first_sequence: self.next,
        };
        self.group.add_own(KIND_FENCE, fields, roster.encode(), false);
        let mut places = Vec::with_capacity(copies.len());
        for (head, body) in copies {
            // The number grows; the origin stays.
            places.push(self.group.add(*head, true, crc(body), std::slice::from_ref(body)));
        }
        self.group.add_own(KIND_FENCE, OwnFields { view: 2, ..fields }, roster.encode(), true);
        self.group.end(self.durable);
        let active = self.active.as_ref().expect("activated above");
        if active.position as usize + self.group.bytes() > active.segment.bytes as usize {
            self.abandon();
            return Err(io::Error::other("the frames to be copied do not fit a segment"));
        }
        match self.write() {
            Ok(()) => {
                self.unproven_since = Some(self.shared.options.clock.monotonic());
                Ok(places)
            }
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Lets go of the active segment: never synced or appended to again. What counts in it stays.
    fn abandon(&mut self) {
        let Some(active) = self.active.take() else { return };
        let range = active.segment.range();
        active.segment.set_range(Range { sealed: true, given_up: true, ..range });
        if active.frames == 0 {
            self.shared.segments.write().remove(&active.segment.id());
            self.shared.spare(&active.segment, false);
        }
    }

    /// A write or a sync failed: the file is given up, and one fresh segment is tried with a fence that
    /// voids the group; else the log is read-only. Then the group is told.
    pub(super) fn give_up(&mut self, frames: Vec<Waiting<O::Context>>, error: &io::Error) {
        tracing::error!(%error, epoch = self.epoch, "a commit failed: its file is given up");
        self.unproven_since = None;
        self.abandon();
        self.epoch += 1;
        self.shared.pool.lock().epoch = self.epoch;
        let fence = self.begin_epoch(&[]);
        let detail = error.to_string();
        let failure = match fence {
            Ok(_) => Failure { kind: FailureKind::Sync, void: true, detail },
            Err(second) => {
                tracing::error!(error = %second, "the log is read-only until it is opened again");
                self.set_state(State::ReadOnly);
                Failure { kind: FailureKind::Sync, void: false, detail }
            }
        };
        self.tell_failed(frames, &failure);
    }
}
