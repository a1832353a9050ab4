//! What happens when frames are durable, or cannot be: on the commit thread, in one pass, in log order.
//!
//! In: tickets of the frames of one group commit. Out: changed views, woken targets, released waiters.

use crate::cleaner::Flight;
use crate::frame::again::{Again, Class, Instead};
use crate::frame::append::{Meta, Stored};
use crate::frame::dead::Letter;
use crate::frame::fact::Fact;
use crate::shared::Namespace;
use crate::view::{Landed, View};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use walhost_core::{Error, Kind};
use walhost_log::{Failure, FailureKind, Observer, Place};

/// Answers one request: durable, or why not.
pub(crate) type Waiter = oneshot::Sender<Result<(), Failure>>;

/// What a frame in the log's queue is about.
pub(crate) enum Ticket {
    /// Records.
    Append {
        namespace: Arc<Namespace>,
        landed: Landed,
        meta: Meta,
        stored: Stored,
        reserved_bytes: u64,
        waiter: Waiter,
    },
    /// Facts that were true from the moment they were submitted; when they cannot be written they wait.
    Applied { namespace: Arc<Namespace>, body: Bytes, waiter: Option<Waiter> },
    /// Facts that are true when they are durable.
    Facts { namespace: Arc<Namespace>, facts: Vec<Fact>, waiter: Waiter },
    /// Dead letters.
    Dead { namespace: Arc<Namespace>, first: u64, letters: Vec<Letter>, waiter: Waiter },
    /// Records again: moves, for which nobody waits, or dead letters.
    Again {
        namespace: Arc<Namespace>,
        landed: Landed,
        again: Box<Again>,
        /// For the tail cache; none when the records wait for long.
        stored: Option<Stored>,
        waiter: Option<Waiter>,
    },
    /// The cleaner's copy of a frame with records.
    Copied { namespace: Arc<Namespace>, first_offset: u64, from: Place, flight: Arc<Flight>, bytes: u64 },
    /// The cleaner's copy of dead letters that follow one another, each with where it was.
    CopiedLetters { namespace: Arc<Namespace>, first: u64, from: Vec<Place>, flight: Arc<Flight>, bytes: u64 },
}

impl Ticket {
    pub(crate) fn namespace(&self) -> &Arc<Namespace> {
        match self {
            Ticket::Append { namespace, .. }
            | Ticket::Applied { namespace, .. }
            | Ticket::Facts { namespace, .. }
            | Ticket::Dead { namespace, .. }
            | Ticket::Again { namespace, .. }
            | Ticket::Copied { namespace, .. }
            | Ticket::CopiedLetters { namespace, .. } => namespace,
        }
    }

    /// Makes it true; answers with the waiter and a frame for the tail cache.
    fn settle(self, view: &mut View, place: Place) -> (Option<Waiter>, Option<(u64, Stored)>) {
        match self {
            Ticket::Append { landed, meta, stored, reserved_bytes, waiter, .. } => {
                view.reserved_bytes = view.reserved_bytes.saturating_sub(reserved_bytes);
                view.append(Landed { place, ..landed }, &meta);
                (Some(waiter), Some((landed.first_offset, stored)))
            }
            Ticket::Applied { waiter, .. } => (waiter, None),
            Ticket::Facts { facts, waiter, .. } => {
                view.apply_all(&facts);
                (Some(waiter), None)
            }
            Ticket::Dead { first, letters, waiter, .. } => {
                view.bring_out(first, &letters, place);
                (Some(waiter), None)
            }
            Ticket::Again { landed, again, stored, waiter, .. } => {
                view.again(Landed { place, ..landed }, &again);
                arrived(view, &again);
                (waiter, stored.map(|stored| (landed.first_offset, stored)))
            }
            Ticket::Copied { first_offset, from, flight, bytes, .. } => {
                view.copied(first_offset, from, place);
                flight.end(bytes, true);
                (None, None)
            }
            Ticket::CopiedLetters { first, from, flight, bytes, .. } => {
                view.copied_letters(first, &from, place);
                flight.end(bytes, true);
                (None, None)
            }
        }
    }

    /// Takes back what was promised when it was submitted.
    fn fail(self, view: &mut View) -> (Option<Waiter>, Option<Bytes>) {
        match self {
            Ticket::Append { landed, meta, reserved_bytes, waiter, .. } => {
                view.reserved_bytes = view.reserved_bytes.saturating_sub(reserved_bytes);
                view.skip(landed.first_offset, landed.count);
                if let Some(mark) = &meta.idempotency {
                    view.keys.give_up(&mark.key);
                }
                (Some(waiter), None)
            }
            Ticket::Applied { body, waiter, .. } => (waiter, Some(body)),
            Ticket::Facts { waiter, .. } => (Some(waiter), None),
            Ticket::Dead { letters, waiter, .. } => {
                view.unclaim(&letters);
                (Some(waiter), None)
            }
            Ticket::Again { landed, again, waiter, .. } => {
                view.skip(landed.first_offset, landed.count);
                for returned in &again.records {
                    match returned.instead {
                        Instead::Letter(letter) => view.dead.set_moving(letter, false),
                        Instead::Offset(offset) => {
                            if let Some(progress) = view.progress(again.target) {
                                progress.was_not_moved(offset, returned.hash.filter(|_| again.class == Class::Behind));
                            }
                        }
                    }
                }
                arrived(view, &again);
                (waiter, None)
            }
            Ticket::Copied { flight, bytes, .. } | Ticket::CopiedLetters { flight, bytes, .. } => {
                flight.end(bytes, false);
                (None, None)
            }
        }
    }
}

/// The frame is not on its way any more.
fn arrived(view: &mut View, again: &Again) {
    let moves = again.records.iter().any(|returned| matches!(returned.instead, Instead::Offset(_)));
    view.moves_coming = view.moves_coming.saturating_sub(usize::from(moves));
    if moves || again.class != Class::Behind {
        return;
    }
    if let Some(progress) = view.progress(again.target) {
        for hash in again.records.iter().filter_map(|returned| returned.hash) {
            progress.came_back(hash, 1, None);
        }
    }
}

/// Sees the log's commits.
#[derive(Debug)]
pub(crate) struct Keeper;

impl Observer for Keeper {
    type Context = Ticket;

    fn committed(&self, frames: Vec<(Ticket, Place)>) {
        let mut waiters = Vec::with_capacity(frames.len());
        let mut recent = Vec::with_capacity(frames.len());
        let mut frames = frames.into_iter().peekable();
        while let Some((ticket, place)) = frames.next() {
            let namespace = Arc::clone(ticket.namespace());
            let mut view = namespace.view.lock();
            // Who settled has woken others by itself.
            let mut news = false;
            let mut take = |ticket: Ticket, place: Place, view: &mut View| {
                let quiet =
                    matches!(ticket, Ticket::Applied { .. } | Ticket::Copied { .. } | Ticket::CopiedLetters { .. });
                news |= !quiet;
                let (waiter, stored) = ticket.settle(view, place);
                waiters.extend(waiter);
                recent.extend(stored.map(|(first, stored)| (namespace.number, first, stored)));
            };
            take(ticket, place, &mut view);
            let mut last = place.log_sequence;
            while let Some((ticket, place)) = frames.next_if(|(next, _)| Arc::ptr_eq(next.namespace(), &namespace)) {
                last = place.log_sequence;
                take(ticket, place, &mut view);
            }
            drop(view);
            let shared = &namespace.shared;
            if !recent.is_empty() {
                let mut cache = shared.tail.lock();
                recent.drain(..).for_each(|(view, first, stored)| cache.insert(view, first, stored));
            }
            shared.applied.fetch_max(last, Ordering::AcqRel);
            if news {
                namespace.wake();
            }
        }
        for waiter in waiters {
            // Who does not wait any more has lost nothing: the record is there.
            drop(waiter.send(Ok(())));
        }
    }

    fn failed(&self, frames: Vec<Ticket>, failure: &Failure) {
        tracing::error!(frames = frames.len(), %failure, "frames could not be made durable");
        for ticket in frames {
            let namespace = Arc::clone(ticket.namespace());
            let (waiter, unsaved) = ticket.fail(&mut namespace.view.lock());
            if let Some(body) = unsaved {
                namespace.shared.unsaved.lock().add(&namespace, body);
            }
            namespace.wake();
            if let Some(waiter) = waiter {
                drop(waiter.send(Err(failure.clone())));
            }
        }
    }
}

/// What a failed group means to who waits for it.
pub(crate) fn classify(operation: &'static str, failure: &Failure) -> Error {
    let (kind, detail) = match (failure.kind, failure.void) {
        (FailureKind::Sync, _) | (_, false) => {
            (Kind::OutcomeUnknown, "the disk did not confirm the write: it may or may not have happened")
        }
        (FailureKind::DiskFull, true) => (Kind::DiskFull, "the disk is full: nothing was written"),
        (FailureKind::ReadOnly, true) => {
            (Kind::Unavailable, "the log is read-only after a failed sync: nothing was written")
        }
        (FailureKind::Closed, true) => (Kind::Closed, "the queue is closing: nothing was written"),
    };
    Error::new(kind, operation, detail).with("failure", failure)
}
