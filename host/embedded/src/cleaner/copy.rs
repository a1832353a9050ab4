//! Copies a slice of what a namespace needs of some segments: records, dead letters.
//!
//! In: the segments, where to go on. Out: frames for the log, whose tickets move the places when they are
//! durable. What cannot be read is lost, and said so by name (I6).

use super::{Flight, Next};
use crate::commit::Ticket;
use crate::extents::{Extent, log_bytes};
use crate::frame;
use crate::frame::dead::{self, Letter};
use crate::lease::lose;
use crate::limits::{CLEAN_SLICE_BYTES, SLICE_FRAMES_MAX};
use crate::shared::{Namespace, Shared};
use std::collections::BTreeSet;
use std::sync::Arc;
use walhost_core::{Error, Kind, Result};
use walhost_log::{BodySum, FrameDraft, Place, Refused, Urgency};

/// What became of a slice.
pub(super) struct Sliced {
    /// Bytes that were handed over.
    pub bytes: u64,
    /// What comes next; none: nothing more of this namespace.
    pub next: Option<Next>,
    /// It ended because the log has enough to do.
    pub no_room: bool,
}

impl Sliced {
    fn new(bytes: u64, next: Option<Next>) -> Sliced {
        Sliced { bytes, next, no_room: false }
    }

    fn no_room(bytes: u64, next: Next) -> Sliced {
        Sliced { bytes, next: Some(next), no_room: true }
    }
}

fn is_loss(error: &Error) -> bool {
    matches!(error.kind(), Kind::Corrupt | Kind::NotFound)
}

/// Records from an offset on.
pub(super) fn records(
    shared: &Arc<Shared>,
    namespace: &Arc<Namespace>,
    segments: &BTreeSet<u64>,
    offset: u64,
    flight: &Arc<Flight>,
) -> Result<Sliced> {
    let (mut found, mut next) = namespace.view.lock().extents.live_in(segments, offset, SLICE_FRAMES_MAX);
    let mut bytes = 0;
    let mut fits = |extent: &Extent| {
        let first = bytes == 0;
        bytes += log_bytes(u64::from(extent.place.bytes));
        first || bytes <= CLEAN_SLICE_BYTES
    };
    let taken = found.iter().take_while(|extent| fits(extent)).count();
    if let Some(left) = found.get(taken) {
        next = Some(left.first_offset);
        found.truncate(taken);
    }
    let next = next.map_or(Next::Letters(0), Next::Records);
    let mut copied = 0;
    for extent in found {
        let bytes = log_bytes(u64::from(extent.place.bytes));
        let (head, body) = match shared.log.read(extent.place) {
            Ok(read) => read,
            Err(error) if is_loss(&error) => {
                lose(&mut namespace.view.lock(), &extent, &error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let draft = FrameDraft {
            kind: head.kind,
            view: head.view,
            first_offset: head.first_offset,
            count: head.count,
            first_sequence: head.first_sequence,
            parts: vec![body],
            urgency: Urgency::Now,
        };
        let (first_offset, from) = (extent.first_offset, extent.place);
        let ticket =
            Ticket::Copied { namespace: Arc::clone(namespace), first_offset, from, flight: Arc::clone(flight), bytes };
        let is_wanted = |view: &crate::view::View| {
            view.extents.find(first_offset).is_some_and(|now| now.live > 0 && now.place == from)
        };
        match submit(shared, namespace, draft, ticket, is_wanted, flight, bytes)? {
            Submitted::Yes => copied += bytes,
            Submitted::NotWanted => {}
            Submitted::NoRoom => return Ok(Sliced::no_room(copied, Next::Records(first_offset))),
        }
    }
    Ok(Sliced::new(copied, Some(next)))
}

/// Dead letters from a number on. Those whose numbers follow one another share a frame, whatever they were in.
pub(super) fn letters(
    shared: &Arc<Shared>,
    namespace: &Arc<Namespace>,
    segments: &BTreeSet<u64>,
    number: u64,
    flight: &Arc<Flight>,
) -> Result<Sliced> {
    let (found, mut next) =
        namespace.view.lock().dead.in_segments(segments, number, SLICE_FRAMES_MAX, CLEAN_SLICE_BYTES);
    // Numbers follow their frames: one frame at a time is in memory, and what the letters of a run hold of others.
    let mut frame: Option<(u64, Vec<Letter>)> = None;
    let mut bytes_read = 0;
    let mut run: Option<Run> = None;
    let mut copied = 0;
    for (number, place, of, index) in found {
        if frame.as_ref().is_none_or(|(known, _)| *known != place.log_sequence) {
            if bytes_read > CLEAN_SLICE_BYTES {
                next = Some(number);
                break;
            }
            bytes_read += u64::from(place.bytes);
            let letters = match shared.log.read(place).and_then(|(_, body)| dead::decode(&body, of)) {
                Ok(letters) => letters,
                Err(error) if is_loss(&error) => Vec::new(),
                Err(error) => return Err(error),
            };
            frame = Some((place.log_sequence, letters));
        }
        let Some(letter) = frame.as_ref().and_then(|(_, letters)| letters.get(index as usize)) else {
            namespace.view.lock().lose_letter(number, place);
            continue;
        };
        if run.as_ref().is_none_or(|run| run.end() != number)
            && let Some(run) = run.take()
        {
            match run.submit(shared, namespace, flight)? {
                (Submitted::NoRoom, first, _) => return Ok(Sliced::no_room(copied, Next::Letters(first))),
                (Submitted::Yes, _, bytes) => copied += bytes,
                (Submitted::NotWanted, ..) => {}
            }
        }
        let run = run.get_or_insert_with(|| Run { first: number, letters: Vec::new(), from: Vec::new() });
        run.letters.push(letter.clone());
        run.from.push(place);
    }
    if let Some(run) = run {
        match run.submit(shared, namespace, flight)? {
            (Submitted::NoRoom, first, _) => return Ok(Sliced::no_room(copied, Next::Letters(first))),
            (Submitted::Yes, _, bytes) => copied += bytes,
            (Submitted::NotWanted, ..) => {}
        }
    }
    Ok(Sliced::new(copied, next.map(Next::Letters)))
}

/// Letters with numbers that follow one another, and where they were.
struct Run {
    first: u64,
    letters: Vec<Letter>,
    from: Vec<Place>,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.letters.len() as u64
    }

    fn submit(
        self,
        shared: &Arc<Shared>,
        namespace: &Arc<Namespace>,
        flight: &Arc<Flight>,
    ) -> Result<(Submitted, u64, u64)> {
        let (first, end) = (self.first, self.end());
        let draft = FrameDraft {
            kind: frame::DEAD,
            view: namespace.number,
            first_offset: first,
            count: self.letters.len() as u32,
            first_sequence: 0,
            parts: dead::encode(&self.letters),
            urgency: Urgency::Now,
        };
        let bytes = log_bytes(draft.bytes() as u64);
        let (namespace_, flight_) = (Arc::clone(namespace), Arc::clone(flight));
        let ticket = Ticket::CopiedLetters { namespace: namespace_, first, from: self.from, flight: flight_, bytes };
        // A letter that has gone meanwhile is copied with the others, and nobody is told of it: the copy settles
        // a record that is settled.
        let is_wanted = |view: &crate::view::View| view.dead.from(first).next().is_some_and(|(next, _)| next < end);
        let submitted = submit(shared, namespace, draft, ticket, is_wanted, flight, bytes)?;
        Ok((submitted, first, bytes))
    }
}

/// What became of a copy.
enum Submitted {
    Yes,
    /// It is not needed any more.
    NotWanted,
    /// The log has enough to do: the same again later.
    NoRoom,
}

fn submit(
    shared: &Arc<Shared>,
    namespace: &Arc<Namespace>,
    draft: FrameDraft,
    ticket: Ticket,
    is_wanted: impl Fn(&crate::view::View) -> bool,
    flight: &Flight,
    bytes: u64,
) -> Result<Submitted> {
    let sum = BodySum::of(&draft.parts);
    let lazy = FrameDraft { urgency: Urgency::Lazy, ..draft.clone() };
    let view = namespace.view.lock();
    // After the frame that removes a namespace nothing of it may come: a restart would make it anew.
    if namespace.is_ending(&view) || !is_wanted(&view) {
        return Ok(Submitted::NotWanted);
    }
    flight.begin(bytes);
    let submitted = match shared.log.submit_summed(draft, sum, ticket) {
        Err((Refused::DiskFull, ticket)) => shared.log.submit_summed(lazy, sum, ticket),
        other => other,
    };
    drop(view);
    match submitted {
        Ok(()) => Ok(Submitted::Yes),
        Err((why, _)) => {
            flight.take_back(bytes);
            match why {
                Refused::Full => Ok(Submitted::NoRoom),
                other => Err(crate::shared::refused("embedded.clean", other)),
            }
        }
    }
}
