//! Handing out: which records are next for a target, read where they are, one lease each.
//!
//! In: a `LeaseRequest`. Out: `Lease`s that borrow from the frame. Frames are read without the lock.

use crate::extents::Extent;
use crate::frame::append::{Stored, sequence};
use crate::identity::Identity;
use crate::limits;
use crate::shared::Namespace;
use crate::view::View;
use bytes::Bytes;
use std::collections::HashMap;
use walhost_core::queue::{Lease, LeaseRequest, LeaseToken};
use walhost_core::random::mix;
use walhost_core::{Record, Result};

/// What one pass over a target found.
pub(crate) struct Pass {
    pub leases: Vec<Lease>,
    /// Nothing can be leased before these frames are read.
    pub missing: Vec<Extent>,
    /// It looked at as many records as it may, found none to lease, and is not at the end.
    pub more: bool,
    /// Records of a parked key: they follow it into the dead letters. With token, offset and epoch.
    pub parked: Vec<Parked>,
}

/// A record that follows its parked key.
pub(crate) struct Parked {
    pub offset: u64,
    pub epoch: u32,
    pub record: Record,
    pub hash: u64,
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

/// The record at an offset of a stored frame; none when the bytes do not fit.
pub(crate) fn record(view: &View, extent: &Extent, stored: &Stored, offset: u64) -> Option<Record> {
    let place = offset - extent.first_offset;
    let (key, headers, value) = stored.parts(place as u32)?;
    let (origin, sequence) = if extent.redriven {
        let redriven = crate::frame::redrive::decode(&stored.facts).ok()?;
        (redriven.origin, redriven.sequence)
    } else {
        let delay = view.extents.delay_of(extent);
        (offset, sequence(extent.first_sequence, place, delay, view.incarnation, offset))
    };
    Some(Record {
        id: Identity { incarnation: view.incarnation, epoch: stored.epoch, offset: origin }.record_id(),
        sequence,
        appended_at_ms: stored.appended_at_ms,
        attempt: 0,
        key: (!key.is_empty()).then_some(key),
        headers,
        value,
    })
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
    /// A record that waits for its retry: it is passed, but it holds its key.
    Waiting(u64),
}

impl Walk<'_> {
    /// Leases what can be leased now.
    pub(crate) fn run(mut self) -> Pass {
        let mut pass = Pass { leases: Vec::new(), missing: Vec::new(), more: false, parked: Vec::new() };
        let (mut bytes, mut looked_at) = (0, 0);
        let mut current: Option<(Extent, Stored)> = None;
        let ordered = self.view.policy.as_ref().is_some_and(|policy| policy.ordered);
        while pass.leases.len() < self.request.records_max.max(1) && pass.parked.len() < limits::PARKED_AT_ONCE_MAX {
            let Some(next) = self.next(ordered) else { break };
            if looked_at == limits::PASS_RECORDS_MAX {
                pass.more = pass.leases.is_empty();
                break;
            }
            looked_at += 1;
            let (Next::Ready(offset) | Next::Fresh(offset) | Next::Waiting(offset)) = next;
            if current.as_ref().is_none_or(|(extent, _)| offset < extent.first_offset || offset >= extent.end()) {
                let Some(extent) = self.view.extents.find(offset) else {
                    self.drop_offset(offset);
                    continue;
                };
                let cached = || self.namespace.shared.cached(self.namespace.number, extent.first_offset);
                match self.loaded.get(&extent.first_offset).cloned().or_else(cached) {
                    Some(stored) => current = Some((extent, stored)),
                    None => {
                        if pass.leases.is_empty() {
                            pass.missing = self.ahead(extent);
                        }
                        break;
                    }
                }
            }
            let (extent, stored) = current.as_ref().expect("set above");
            let Some(record) = record(self.view, extent, stored, offset) else {
                let extent = *extent;
                current = None;
                self.lose(&extent);
                continue;
            };
            if bytes + record.bytes() > self.request.bytes_max && !pass.leases.is_empty() {
                break;
            }
            let hash = record.key.as_ref().map(|key: &Bytes| key_hash(key));
            if ordered
                && !matches!(next, Next::Waiting(_))
                && let Some(hash) = hash
                && self.view.dead.is_parked(self.target, hash)
            {
                let epoch = stored.epoch;
                self.consume(next, None);
                self.lease(offset, record.clone(), Some(hash));
                pass.parked.push(Parked { offset, epoch, record, hash });
                continue;
            }
            if self.consume(next, ordered.then_some(hash).flatten()) {
                bytes += record.bytes();
                pass.leases.push(self.lease(offset, record, hash));
            }
        }
        pass
    }

    /// The next offset: what is ready again goes first.
    fn next(&mut self, ordered: bool) -> Option<Next> {
        let View { targets, extents, applied, .. } = &mut *self.view;
        let progress = targets.get_mut(usize::from(self.target)).filter(|progress| !progress.ended)?;
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
            let waits_to_retry =
                ordered && progress.tried.get(&offset).is_some_and(|tried| tried.waiting && !tried.by_time);
            if waits_to_retry {
                return Some(Next::Waiting(offset));
            }
            if let Some(extent) = extents.find(offset)
                && extents.delay_of(&extent).is_some()
            {
                // Delayed records come from the schedule; those that wait for a retry still hold their keys.
                let holder = |at: &u64| progress.tried.get(at).is_some_and(|tried| tried.waiting && !tried.by_time);
                let tried = ordered && !progress.tried.is_empty();
                let stop = if tried { (offset..extent.end()).find(holder) } else { None };
                progress.cursor = stop.unwrap_or(extent.end());
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
            Next::Fresh(offset) | Next::Waiting(offset) => {
                progress.cursor = offset + 1;
                offset
            }
        };
        if let Next::Waiting(_) = next {
            if let Some(hash) = key {
                progress.hold_key(hash, offset);
            }
            return false;
        }
        key.is_none_or(|hash| progress.take_key(hash, offset))
    }

    fn lease(&mut self, offset: u64, mut record: Record, hash: Option<u64>) -> Lease {
        let until_ms = self.monotonic_ms.saturating_add(self.request.visibility_ms);
        let progress = self.view.progress(self.target).expect("it was there when the walk began");
        let token = progress.lease(offset, until_ms, hash);
        let tried = progress.tried.get(&offset);
        record.attempt = tried.map_or(0, |tried| tried.number) + 1;
        Lease {
            token: LeaseToken(token),
            record,
            spent: tried.map_or(0, |tried| tried.spent),
            first_spent_at_ms: tried.and_then(|tried| tried.first_spent_at_ms),
        }
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
