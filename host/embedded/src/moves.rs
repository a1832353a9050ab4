//! Moves: records that wait for long are appended again, with all that they bring along, so that the floor goes on
//! and segments go; so are those that wait behind a key that is held for long, in the order of the key.
//!
//! In: a round of housekeeping. Out: frames of moves on their way to the log; what they change is in `view/again`.
//!
//! What a frame says may be old when it is durable: a fact about the record may have come in between. The log then
//! has both, in the order in which they were submitted, and facts name records by where they were first appended;
//! so memory and a replay come to the same end.

mod choose;

use crate::commit::Ticket;
use crate::extents::Extent;
use crate::frame;
use crate::frame::again::{self, Again, Class, Instead, Returned, Span};
use crate::frame::append::Stored;
use crate::lease::{Frame, lose};
use crate::limits;
use crate::shared::Namespace;
use crate::view::{Landed, View};
use std::collections::HashMap;
use std::sync::Arc;
use walhost_log::{FrameDraft, Place, Urgency};

/// A record that is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    offset: u64,
    class: Class,
    /// Of the key that it waits behind.
    hash: Option<u64>,
}

/// Moves what waits for long in a namespace. Reads the disk. Answers how many records are on their way.
pub(crate) fn round(namespace: &Arc<Namespace>) -> usize {
    let shared = &namespace.shared;
    let now_ms = shared.clock.now_ms();
    let monotonic_ms = u64::try_from(shared.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
    if shared.log.state() != walhost_log::State::Ok {
        return 0;
    }
    let active = shared.log.segments().last().map_or(0, |segment| segment.segment);
    let targets = {
        let view = namespace.view.lock();
        if view.removed || view.moves_coming > 0 {
            return 0;
        }
        view.targets.len() as u16
    };
    let mut moved = 0;
    for target in 0..targets {
        let wanted = choose::choose(&mut namespace.view.lock(), target, (now_ms, monotonic_ms), active);
        let mut left = limits::MOVE_ROUND_BYTES_MAX;
        let mut rest = wanted.as_slice();
        while !rest.is_empty() && left > 0 {
            let class = rest[0].class;
            let alike = rest.iter().take(limits::MOVE_RECORDS_MAX).take_while(|wanted| wanted.class == class).count();
            let Some((looked_at, bytes, submitted)) = one_frame(namespace, target, &rest[..alike]) else { break };
            moved += submitted;
            left = left.saturating_sub(bytes);
            rest = &rest[looked_at..];
        }
        if !rest.is_empty() {
            choose::again_later(&mut namespace.view.lock(), target, rest);
        }
    }
    moved
}

/// Moves as many of these, all of one class, as fit into a frame. Answers how many were looked at, how many bytes
/// those are, and how many are on their way; none when nothing can be read or written at the moment.
fn one_frame(namespace: &Arc<Namespace>, target: u16, wanted: &[Wanted]) -> Option<(usize, usize, usize)> {
    let class = wanted[0].class;
    let (frames, looked_at) = read(namespace, wanted)?;
    let mut records = Vec::with_capacity(looked_at);
    let mut spans = Vec::with_capacity(looked_at);
    let mut bytes = 0;
    {
        let mut view = namespace.view.lock();
        for wanted in &wanted[..looked_at] {
            let Some(extent) = view.extents.find(wanted.offset) else { continue };
            let Some(stored) = frames.get(&extent.first_offset) else { continue };
            if let Some((returned, span)) = returned(&view, target, wanted, extent, stored) {
                bytes += span.bytes.len();
                records.push(returned);
                spans.push(span);
            }
        }
        for returned in &mut records {
            returned.change = view.next_change;
            view.next_change += 1;
        }
    }
    if records.is_empty() {
        return Some((looked_at, 0, 0));
    }
    let count = records.len();
    let again = Again { target, class, records };
    let (parts, _) = again::encode(&again, &spans);
    let sum = walhost_log::BodySum::of(&parts);
    let mut view = namespace.view.lock();
    if namespace.is_ending(&view) {
        return Some((looked_at, bytes, 0));
    }
    let place = Place { segment: 0, position: 0, bytes: 0, log_sequence: 0 };
    let first_sequence = class.number();
    let landed = Landed { first_offset: view.next_offset, count: count as u32, first_sequence, place };
    let draft = FrameDraft {
        kind: frame::AGAIN,
        view: view.number,
        first_offset: landed.first_offset,
        count: landed.count,
        first_sequence,
        parts,
        urgency: Urgency::Lazy,
    };
    let again = Box::new(again);
    let ticket = Ticket::Again { namespace: Arc::clone(namespace), landed, again, stored: None, waiter: None };
    namespace.shared.log.submit_summed(draft, sum, ticket).ok()?;
    view.given(&landed, true);
    view.moves_coming += 1;
    Some((looked_at, bytes, count))
}

/// The frames that the first of these are in, as far as one frame of moves can hold them; and how many those are.
/// None when the disk fails: of a key nobody may be passed over.
fn read(namespace: &Arc<Namespace>, wanted: &[Wanted]) -> Option<(HashMap<u64, Stored>, usize)> {
    let shared = &namespace.shared;
    let mut frames: HashMap<u64, Stored> = HashMap::new();
    let (mut bytes, mut looked_at) = (0, 0);
    for wanted in wanted {
        let Some(extent) = namespace.view.lock().extents.find(wanted.offset) else {
            looked_at += 1;
            continue;
        };
        let known = frames.get(&extent.first_offset).cloned();
        let stored = match known.or_else(|| shared.cached(namespace.number, extent.first_offset)) {
            Some(stored) => Ok(stored),
            None => shared.log.read(extent.place).and_then(|(_, body)| Stored::decode(&body, extent.count)),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                if error.kind() != walhost_core::Kind::Corrupt {
                    tracing::warn!(%error, "a record could not be moved; it is tried again");
                    return None;
                }
                lose(&mut namespace.view.lock(), &extent, &error.to_string());
                looked_at += 1;
                continue;
            }
        };
        // A record whose bytes do not fit is met again by a lease, which says so.
        bytes += stored.record_bytes((wanted.offset - extent.first_offset) as u32).unwrap_or(0) + RECORD_FACTS_BYTES;
        if looked_at > 0 && (bytes > limits::MOVE_BYTES_MAX || !shared.log.fits(2 * bytes)) {
            break;
        }
        frames.insert(extent.first_offset, stored);
        looked_at += 1;
    }
    Some((frames, looked_at))
}

/// Bytes of what a record brings along, as far as it is known before it is written.
const RECORD_FACTS_BYTES: usize = 256;

/// What the record brings along, and its bytes; none when it does not wait any more.
fn returned(view: &View, target: u16, wanted: &Wanted, extent: Extent, stored: &Stored) -> Option<(Returned, Span)> {
    let progress = view.targets.get(usize::from(target)).filter(|progress| !progress.ended)?;
    if !choose::still(progress, wanted) {
        return None;
    }
    let frame = Frame::new(view, extent, stored.clone());
    let found = frame.find(view.incarnation, wanted.offset)?;
    let span = stored.span((wanted.offset - extent.first_offset) as u32)?;
    let mut known = progress.tried.get(&wanted.offset).cloned().unwrap_or_default();
    if let Some((class, returned)) = &found.returned {
        known.complete(returned, *class);
    }
    let key = found.record.key.as_ref().map(|key| crate::lease::key_hash(key));
    // Only who is in order holds its key, or waits for it.
    let hash = match wanted.class {
        Class::Behind => wanted.hash,
        Class::Retry => key.filter(|hash| progress.holds.holder(*hash) == Some(wanted.offset)),
        _ => None,
    };
    let holder = hash
        .filter(|_| wanted.class == Class::Behind)
        .and_then(|hash| progress.holds.holder(hash))
        .filter(|holder| *holder != walhost_core::schedule::keys::NOBODY);
    let returned = Returned {
        instead: Instead::Offset(wanted.offset),
        origin: found.origin,
        epoch: found.epoch,
        sequence: found.record.sequence,
        appended_at_ms: found.record.appended_at_ms,
        number: known.number,
        spent: known.spent,
        first_spent_at_ms: known.first_spent_at_ms,
        due_ms: known.due_ms,
        change: 0,
        hash,
        holder,
        attempts: known.attempts,
    };
    Some((returned, span))
}
