//! Handing out: which records are next for a target, read where they are, one lease each.
//!
//! In: a `LeaseRequest`. Out: `Lease`s that borrow from the frame. Frames are read without the lock, and
//! records are made of them without it.

mod follow;

use crate::extents::Extent;
use crate::frame::again::{self, Class, Instead, Returned};
use crate::frame::append::{Delay, Stored, sequence};
use crate::identity::Identity;
use crate::limits;
use crate::shared::Namespace;
use crate::view::View;
use std::collections::HashMap;
use walhost_core::queue::{Lease, LeaseRequest, LeaseToken};
use walhost_core::random::mix;
use walhost_core::{Record, Result};

/// What one pass over a target found.
pub(crate) struct Pass {
    /// What was leased, to be made of the frames.
    pub picked: Vec<Picked>,
    frames: Vec<Frame>,
    incarnation: u32,
    /// Nothing can be leased before these frames are read.
    pub missing: Vec<Extent>,
    /// It looked at as many records as it may, found none to lease, and is not at the end.
    pub more: bool,
    /// Records of a parked key: they follow it into the dead letters.
    pub parked: Vec<Parked>,
}

/// A record that is leased.
pub(crate) struct Picked {
    pub offset: u64,
    token: u64,
    /// Which of the pass's frames.
    frame: usize,
    returned: Option<Box<Returned>>,
    number: u32,
    spent: u32,
    first_spent_at_ms: Option<u64>,
    suspect: bool,
    crashes: u32,
}

/// A frame in memory, with what is needed to make records of it.
pub(crate) struct Frame {
    pub extent: Extent,
    pub stored: Stored,
    pub delay: Option<Delay>,
}

/// A record that follows its parked key.
pub(crate) struct Parked {
    pub offset: u64,
    pub found: Found,
    pub hash: u64,
}

/// A record as it is in its frame.
pub(crate) struct Found {
    pub record: Record,
    /// Of the log, when the record was first appended.
    pub epoch: u32,
    /// Where it was first appended.
    pub origin: u64,
    /// What it brings along, when it was appended again, and what it waits for.
    pub returned: Option<(Class, Returned)>,
}

/// Frames that this call has read.
pub(crate) type Loaded = HashMap<u64, Stored>;

/// A number for an ordering key.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ key.len() as u64;
    for part in key.chunks(8) {
        let mut word = [0_u8; 8];
        word[..part.len()].copy_from_slice(part);
        hash = mix(hash ^ u64::from_le_bytes(word));
    }
    // The lowest bit is left out, so that "none" has a place on disk.
    hash & !1
}

impl Frame {
    pub(crate) fn new(view: &View, extent: Extent, stored: Stored) -> Frame {
        Frame { extent, stored, delay: view.extents.delay_of(&extent) }
    }

    fn place(&self, offset: u64) -> u32 {
        (offset - self.extent.first_offset) as u32
    }

    fn holds(&self, offset: u64) -> bool {
        self.extent.first_offset <= offset && offset < self.extent.end()
    }

    /// What the record brings along; none when it was appended only once.
    fn returned(&self, offset: u64) -> Result<Option<Box<Returned>>> {
        if !self.extent.redriven {
            return Ok(None);
        }
        again::one(&self.stored, self.place(offset), self.extent.count).map(|returned| Some(Box::new(returned)))
    }

    /// The record at an offset; none when the bytes do not fit.
    fn record(&self, incarnation: u32, offset: u64, returned: Option<&Returned>) -> Option<Record> {
        let place = self.place(offset);
        let (key, headers, value) = self.stored.parts(place)?;
        let (origin, epoch, sequence, appended_at_ms) = match returned {
            Some(it) => (it.origin, it.epoch, it.sequence, it.appended_at_ms),
            None => {
                let first = self.extent.first_sequence;
                let sequence = sequence(first, u64::from(place), self.delay, incarnation, offset);
                (offset, self.stored.epoch, sequence, self.stored.appended_at_ms)
            }
        };
        Some(Record {
            id: Identity { incarnation, epoch, offset: origin }.record_id(),
            sequence,
            appended_at_ms,
            attempt: 0,
            key: (!key.is_empty()).then_some(key),
            headers,
            value,
        })
    }

    /// The record at an offset, with all that its frame says; none when the bytes do not fit.
    pub(crate) fn find(&self, incarnation: u32, offset: u64) -> Option<Found> {
        let returned = self.returned(offset).ok()?;
        let record = self.record(incarnation, offset, returned.as_deref())?;
        let (epoch, origin) =
            returned.as_ref().map_or((self.stored.epoch, offset), |returned| (returned.epoch, returned.origin));
        let class = Class::of(self.extent.first_sequence).unwrap_or(Class::Ready);
        Some(Found { record, epoch, origin, returned: returned.map(|returned| (class, *returned)) })
    }
}

impl Pass {
    /// The leases, and the frames that turned out to be damaged: their records are not among them.
    pub(crate) fn leases(&mut self) -> (Vec<Lease>, Vec<Extent>) {
        let mut leases = Vec::with_capacity(self.picked.len());
        let mut damaged = Vec::new();
        for picked in &self.picked {
            let frame = &self.frames[picked.frame];
            let Some(mut record) = frame.record(self.incarnation, picked.offset, picked.returned.as_deref()) else {
                damaged.push(frame.extent);
                continue;
            };
            record.attempt = picked.number + 1;
            leases.push(Lease {
                token: LeaseToken(picked.token),
                record,
                spent: picked.spent,
                first_spent_at_ms: picked.first_spent_at_ms,
                suspect: picked.suspect,
                crashes: picked.crashes,
            });
        }
        (leases, damaged)
    }
}

/// Walks over what is ready for a target.
pub(crate) struct Walk<'a> {
    pub namespace: &'a Namespace,
    pub view: &'a mut View,
    pub target: u16,
    pub request: LeaseRequest,
    pub monotonic_ms: u64,
    pub loaded: &'a Loaded,
}

/// Which offset is next, and where it comes from.
#[derive(Clone, Copy)]
enum Next {
    Ready(u64),
    Fresh(u64),
    /// A record that had started before a restart: it takes its key and is not handed out now.
    Started(u64),
}

impl Walk<'_> {
    /// Leases what can be leased now.
    pub(crate) fn run(mut self) -> Pass {
        let mut pass = Pass {
            picked: Vec::new(),
            frames: Vec::new(),
            incarnation: self.view.incarnation,
            missing: Vec::new(),
            more: false,
            parked: Vec::new(),
        };
        let (mut bytes, mut looked_at) = (0, 0);
        // The frame that the last record was in, with its number among those of the pass.
        let mut current: Option<usize> = None;
        let ordered = self.view.policy.as_ref().is_some_and(|policy| policy.ordered);
        if self.view.targets[usize::from(self.target)].waits_for_suspect() {
            return pass;
        }
        while pass.picked.len() < self.request.records_max.max(1) {
            let Some(next) = self.next(ordered, current.map(|at| &pass.frames[at].extent)) else { break };
            if looked_at == limits::PASS_RECORDS_MAX {
                pass.more = pass.picked.is_empty();
                break;
            }
            looked_at += 1;
            let (Next::Ready(offset) | Next::Fresh(offset) | Next::Started(offset)) = next;
            let alone = self.goes_alone(next);
            if alone && self.view.targets[usize::from(self.target)].is_leased() {
                break;
            }
            let at = match current.filter(|at| pass.frames[*at].holds(offset)) {
                Some(at) => at,
                None => {
                    let Some(extent) = self.view.extents.find(offset) else {
                        self.drop_offset(offset);
                        continue;
                    };
                    let Some(stored) = self.stored(&extent) else {
                        if pass.picked.is_empty() {
                            pass.missing = self.ahead(extent);
                        }
                        break;
                    };
                    pass.frames.push(Frame::new(self.view, extent, stored));
                    pass.frames.len() - 1
                }
            };
            current = Some(at);
            let frame = &pass.frames[at];
            let place = frame.place(offset);
            let known = frame.stored.record_bytes(place).zip(frame.returned(offset).ok());
            let Some((record_bytes, returned)) = known else {
                let extent = frame.extent;
                current = None;
                self.lose(&extent);
                continue;
            };
            if bytes + record_bytes > self.request.bytes_max && !pass.picked.is_empty() {
                break;
            }
            let key = frame.stored.key(place).unwrap_or_default();
            let hash = (!key.is_empty()).then(|| key_hash(key));
            let redriven = returned.as_ref().is_some_and(|one| matches!(one.instead, Instead::Letter(_)));
            if ordered
                && !matches!(next, Next::Started(_))
                && let Some(hash) = hash
                && self.must_follow(hash, redriven.then_some(offset))
            {
                self.consume(next, None);
                if let Some(progress) = self.view.progress(self.target) {
                    progress.follows(hash, offset);
                }
                continue;
            }
            if self.consume(next, ordered.then_some(hash).flatten()) {
                bytes += record_bytes;
                let class = Class::of(frame.extent.first_sequence);
                let mut picked = self.lease(offset, at, returned, class, hash);
                if alone {
                    self.mark_alone(&mut picked);
                    pass.picked.push(picked);
                    break;
                }
                pass.picked.push(picked);
            }
        }
        self.follow(&mut pass);
        pass
    }

    /// Whether a record follows its parked key into the dead letters. One that came back from there, to this
    /// offset, does only when another of its key has died since (I19).
    fn must_follow(&self, hash: u64, came_back: Option<u64>) -> bool {
        match came_back {
            None => self.view.dead.is_parked(self.target, hash),
            Some(offset) => self.view.dead.is_parked_since(self.target, hash, offset),
        }
    }

    /// A frame that is in memory.
    fn stored(&self, extent: &Extent) -> Option<Stored> {
        let loaded = if self.loaded.is_empty() { None } else { self.loaded.get(&extent.first_offset).cloned() };
        loaded.or_else(|| self.namespace.shared.cached(self.namespace.number, extent.first_offset))
    }

    /// The next offset: what is ready again goes first. `current` is the extent of the one before.
    fn next(&mut self, ordered: bool, current: Option<&Extent>) -> Option<Next> {
        let View { targets, extents, applied, .. } = &mut *self.view;
        let progress = targets.get_mut(usize::from(self.target)).filter(|progress| !progress.ended)?;
        #[cfg(any(test, feature = "planted"))]
        let ordered = ordered && self.namespace.shared.planted != Some(crate::Planted::HeldKeyForgotten);
        if ordered && let Some(offset) = progress.next_started() {
            return Some(Next::Started(offset));
        }
        if let Some(offset) = progress.ready.first() {
            return Some(Next::Ready(*offset));
        }
        if progress.held() >= limits::HELD_MAX {
            return None;
        }
        loop {
            progress.cursor = progress.settled.first_missing(progress.cursor);
            let offset = progress.cursor;
            if offset >= *applied {
                return None;
            }
            let known = current.filter(|extent| extent.first_offset <= offset && offset < extent.end()).copied();
            let extent = known.or_else(|| extents.find(offset));
            if let Some(extent) = extent.filter(|extent| extent.redriven)
                && extent.first_sequence != Class::Ready.number()
            {
                // Those that were moved come from the schedule, or from behind their keys.
                progress.cursor = extent.end();
                continue;
            }
            if let Some(extent) = extent
                && extents.delay_of(&extent).is_some()
            {
                // Delayed records come from the schedule.
                progress.cursor = extent.end();
            } else if progress.passed_over(offset) {
                progress.cursor += 1;
            } else {
                return Some(Next::Fresh(offset));
            }
        }
    }

    /// Takes the offset from where it came. False: it is not to be leased now.
    fn consume(&mut self, next: Next, key: Option<u64>) -> bool {
        let Some(progress) = self.view.progress(self.target) else { return false };
        let offset = match next {
            Next::Ready(offset) => {
                progress.ready.remove(&offset);
                offset
            }
            Next::Fresh(offset) => {
                progress.cursor = offset + 1;
                offset
            }
            Next::Started(offset) => {
                progress.started.pop();
                offset
            }
        };
        if let Next::Started(_) = next {
            if let Some(hash) = key {
                progress.hold_key(hash, offset);
            }
            return false;
        }
        key.is_none_or(|hash| progress.take_key(hash, offset))
    }

    fn lease(
        &mut self,
        offset: u64,
        frame: usize,
        returned: Option<Box<Returned>>,
        class: Option<Class>,
        hash: Option<u64>,
    ) -> Picked {
        let until_ms = self.monotonic_ms.saturating_add(self.request.visibility_ms);
        let progress = self.view.progress(self.target).expect("it was there when the walk began");
        let origin = returned.as_ref().map_or(offset, |returned| returned.origin);
        if let Some(returned) = &returned {
            progress.merge(offset, returned, class.unwrap_or(Class::Ready));
        }
        let token = progress.lease((offset, origin), until_ms, hash);
        let tried = if progress.tried.is_empty() { None } else { progress.tried.get(&offset) };
        Picked {
            offset,
            token,
            frame,
            returned,
            number: tried.map_or(0, |tried| tried.number),
            spent: tried.map_or(0, |tried| tried.spent),
            first_spent_at_ms: tried.and_then(|tried| tried.first_spent_at_ms),
            suspect: false,
            crashes: 0,
        }
    }

    /// Whether the next record is handed out alone (I15).
    fn goes_alone(&mut self, next: Next) -> bool {
        let Some(progress) = self.view.progress(self.target).filter(|one| !one.suspects.is_quiet()) else {
            return false;
        };
        match next {
            Next::Started(_) => false,
            Next::Ready(offset) => progress.suspects.goes_alone(offset, false),
            Next::Fresh(offset) => progress.suspects.goes_alone(offset, true),
        }
    }

    fn mark_alone(&mut self, picked: &mut Picked) {
        let progress = self.view.progress(self.target).expect("it was there when the walk began");
        if let Some(leased) = progress.leases.get_mut(&picked.token) {
            leased.alone = true;
            progress.alone = Some(picked.token);
        }
        let suspicion = progress.suspects.suspicion(picked.offset);
        (picked.suspect, picked.crashes) = (suspicion.is_some(), suspicion.unwrap_or(0));
    }

    /// An offset without a frame: nothing will ever be there.
    fn drop_offset(&mut self, offset: u64) {
        if let Some(progress) = self.view.progress(self.target) {
            progress.ready.remove(&offset);
            progress.exclude(offset, offset + 1);
        }
    }

    fn lose(&mut self, extent: &Extent) {
        lose(self.view, extent, "its bytes do not mean what they must");
    }

    /// The frame that is needed, and those after it that will be.
    fn ahead(&self, first: Extent) -> Vec<Extent> {
        let mut bytes = 0;
        let mut wanted = Vec::new();
        let ready =
            self.view.targets[usize::from(self.target)].ready.iter().filter_map(|at| self.view.extents.find(*at));
        for extent in std::iter::once(first).chain(ready).chain(self.view.extents.from(first.end())) {
            let known = wanted.iter().rev().take(4).any(|known: &Extent| known.first_offset == extent.first_offset);
            if known || extent.live == 0 || !extent.meant_for(self.target) {
                continue;
            }
            bytes += extent.place.bytes as usize;
            let enough = bytes > self.request.bytes_max.min(limits::COLD_BYTES_MAX / 2);
            if !wanted.is_empty()
                && (enough || wanted.len() >= self.request.records_max.min(limits::READ_AHEAD_FRAMES_MAX))
            {
                break;
            }
            wanted.push(extent);
        }
        if wanted.is_empty() { vec![first] } else { wanted }
    }
}

/// Takes a frame that cannot be read out of everyone's way, and says so by name (I6).
///
/// A frame that was copied while somebody read it where it had been is not lost: it is read again.
pub(crate) fn lose(view: &mut View, extent: &Extent, why: &str) {
    if view.extents.find(extent.first_offset).is_some_and(|now| now.place != extent.place) {
        return;
    }
    let lost = view.lose(extent);
    tracing::error!(
        namespace = view.name.as_ref().map_or("?", |name| name.as_str()),
        first_offset = extent.first_offset,
        count = extent.count,
        segment = extent.place.segment,
        position = extent.place.position,
        lost,
        why,
        "records are lost"
    );
}

/// Reads frames away from the runtime's workers.
pub(crate) async fn load(
    namespace: &std::sync::Arc<Namespace>,
    missing: Vec<Extent>,
) -> Result<Vec<(Extent, Result<Stored>)>> {
    let (shared, number) = (std::sync::Arc::clone(&namespace.shared), namespace.number);
    walhost_core::exec::blocking(move || shared.read(number, &missing)).await.map_err(|error| {
        walhost_core::Error::new(walhost_core::Kind::Unavailable, "queue.read", "the read was given up").source(error)
    })
}
