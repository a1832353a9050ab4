//! Where a namespace's records are: one extent a frame, in order of offset, and what of each segment is
//! still needed.
//!
//! In: frames as they become durable, are copied or are replayed. Out: the extent of an offset; segments in
//! use, and how much of each.

mod packed;

use crate::frame::ALL_TARGETS;
use crate::frame::append::Delay;
use crate::limits::PLACE_BYTES;
use imbl::OrdMap;
use packed::{CHUNK_FRAMES_MAX, Chunk, Unpacked};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use walhost_log::Place;

/// Bytes of a frame's head in the log, and the multiple that frames begin at.
const HEAD_BYTES: u64 = 64;

/// Bytes that an extent takes in memory.
const EXTENT_BYTES: u64 = 33;

/// One frame with records, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub first_offset: u64,
    /// Of a delayed frame it is when it is due, in microseconds, or `FAR`. Of records that were appended again it says what they
    /// wait for; their sequences are in their frame.
    pub first_sequence: u64,
    pub place: Place,
    pub count: u32,
    /// Records that some target has not settled.
    pub live: u32,
    /// The only target it is meant for, or `ALL_TARGETS`.
    pub only: u16,
    /// Records that were appended again: their ids and sequences are in the frame.
    pub redriven: bool,
    /// It has a due time of its own.
    pub delayed: bool,
}

impl Extent {
    /// The offset after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }

    /// True when it is meant for this target.
    pub(crate) fn meant_for(&self, target: u16) -> bool {
        self.only == ALL_TARGETS || self.only == target
    }
}

/// What of one segment a namespace needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// Frames with records.
    pub extents: u64,
    /// What must be kept: frames with records that some target has not settled, and dead letters.
    pub live: u64,
    /// Bytes that these take in the log.
    pub live_bytes: u64,
}

/// Bytes that a frame with such a body takes in the log.
pub(crate) fn log_bytes(body_bytes: u64) -> u64 {
    (HEAD_BYTES + body_bytes).next_multiple_of(8)
}

/// All extents of a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extents {
    /// None is empty.
    chunks: VecDeque<Chunk>,
    count: u64,
    /// Delays of which a frame's head, or the room in an extent, does not tell all.
    delays: OrdMap<u64, Delay>,
    /// Frames that are meant for one target only; from a snapshot also those whose heads come later.
    restricted: OrdMap<u64, u16>,
    segments: BTreeMap<u64, SegmentUse>,
    live_bytes: u64,
    held_bytes: u64,
    /// Of all segments together.
    needed_bytes: u64,
}

impl Extents {
    /// Adds a frame; one that is known takes the new place: recovery and the cleaner copy frames.
    pub(crate) fn insert(&mut self, mut extent: Extent) {
        match self.restricted.get(&extent.first_offset) {
            Some(only) => extent.only = *only,
            None if extent.only != ALL_TARGETS => drop(self.restricted.insert(extent.first_offset, extent.only)),
            None => {}
        }
        // Nearly every frame comes behind all others: then there is nothing to look for.
        let known = if self.begins_before(extent.first_offset) { None } else { self.exact(extent.first_offset) };
        if let Some((chunk, at, known)) = known {
            self.put(chunk, at, &known, Extent { place: extent.place, ..known });
        } else {
            self.count(&extent);
            self.add(&extent);
        }
    }

    fn last(&self) -> Option<Unpacked> {
        self.chunks.back().and_then(|chunk| chunk.get(chunk.len().checked_sub(1)?))
    }

    /// Whether all frames begin before this offset.
    fn begins_before(&self, offset: u64) -> bool {
        self.last().is_none_or(|last| last.extent.first_offset < offset)
    }

    /// The offset after the last record; 0 without any.
    pub(crate) fn end(&self) -> u64 {
        self.last().map_or(0, |last| last.extent.end())
    }

    /// Sets anew, for all extents in order, how many of their records some target has not settled.
    pub(crate) fn set_all_live(&mut self, mut live: impl FnMut(&Extent) -> u32) {
        for chunk in 0..self.chunks.len() {
            for at in 0..self.chunks[chunk].len() {
                let Some(before) = self.chunks[chunk].get(at).map(|unpacked| self.whole(unpacked)) else { break };
                let after = Extent { live: live(&before), ..before };
                if after.live == before.live {
                    continue;
                }
                if (before.live == 0) != (after.live == 0) {
                    self.uncount(&before);
                    self.count(&after);
                }
                // It was packed there before, and only this number is another one.
                self.chunks[chunk].replace(at, &after);
            }
        }
    }

    /// Puts a frame in that is not there. When it is due is kept beside it where the extent has no room for it.
    fn add(&mut self, extent: &Extent) {
        self.add_to_chunk(extent);
        if extent.delayed && !self.delays.contains_key(&extent.first_offset) {
            self.delay(extent.first_offset, Delay { due_ms: extent.first_sequence / 1_000, jitter_ms: 0 });
        }
    }

    fn add_to_chunk(&mut self, extent: &Extent) {
        self.count += 1;
        let before = match self.chunks.back() {
            Some(last) if last.offset() <= extent.first_offset => self.chunks.len(),
            _ => self.chunks.partition_point(|chunk| chunk.offset() <= extent.first_offset),
        };
        let Some(at) = before.checked_sub(1) else {
            self.chunks.push_front(Chunk::new(extent));
            return;
        };
        let chunk = &mut self.chunks[at];
        let place = chunk.after(extent.first_offset);
        if chunk.insert(place, extent) {
            return;
        }
        if let Some(rest) = chunk.split_off(place) {
            self.chunks.insert(before, rest);
            if self.chunks[at].insert(place, extent) {
                return;
            }
            if self.chunks[at].len() == 0 {
                self.chunks[at] = Chunk::new(extent);
                return;
            }
        }
        self.chunks.insert(before, Chunk::new(extent));
    }

    /// Writes a frame anew.
    fn put(&mut self, chunk: usize, at: usize, before: &Extent, after: Extent) {
        self.uncount(before);
        self.count(&after);
        if !self.chunks[chunk].replace(at, &after) {
            self.chunks[chunk].remove(at);
            if self.chunks[chunk].len() == 0 {
                self.chunks.remove(chunk);
            }
            self.count -= 1;
            self.add(&after);
        }
    }

    fn whole(&self, unpacked: Unpacked) -> Extent {
        let mut extent = unpacked.extent;
        if unpacked.restricted {
            extent.only = self.restricted.get(&extent.first_offset).copied().unwrap_or(ALL_TARGETS);
        }
        extent
    }

    /// The frame that begins at this offset, and where it is.
    fn exact(&self, first_offset: u64) -> Option<(usize, usize, Extent)> {
        self.position(first_offset).filter(|(.., extent)| extent.first_offset == first_offset)
    }

    fn position(&self, offset: u64) -> Option<(usize, usize, Extent)> {
        let chunk = self.chunks.partition_point(|chunk| chunk.offset() <= offset).checked_sub(1)?;
        let at = self.chunks[chunk].after(offset).checked_sub(1)?;
        let extent = self.whole(self.chunks[chunk].get(at)?);
        (offset < extent.end()).then_some((chunk, at, extent))
    }

    /// Remembers when the records of a delayed frame are due, where its extent does not say it.
    pub(crate) fn delay(&mut self, first_offset: u64, delay: Delay) {
        let known = self.exact(first_offset).map(|(.., extent)| extent.first_sequence);
        if delay.jitter_ms == 0 && known.is_some_and(|sequence| Some(sequence) == delay.due_ms.checked_mul(1_000)) {
            self.delays.remove(&first_offset);
        } else {
            self.delays.insert(first_offset, delay);
        }
    }

    /// When the records of the frame are due; none: at once.
    pub(crate) fn delay_of(&self, extent: &Extent) -> Option<Delay> {
        if !extent.delayed {
            return None;
        }
        let known = if self.delays.is_empty() { None } else { self.delays.get(&extent.first_offset).copied() };
        Some(known.unwrap_or(Delay { due_ms: extent.first_sequence / 1_000, jitter_ms: 0 }))
    }

    /// Says to whom a frame is meant whose head is still to come.
    pub(crate) fn restrict(&mut self, first_offset: u64, only: u16) {
        self.restricted.insert(first_offset, only);
    }

    /// What the heads of frames do not say, by first offset: to whom those for one target only are meant, and
    /// when those are due of which neither the head nor the extent tells it. As of now, at no cost.
    pub(crate) fn besides(&self) -> (OrdMap<u64, u16>, OrdMap<u64, Delay>) {
        (self.restricted.clone(), self.delays.clone())
    }

    /// The extent that holds this offset.
    pub(crate) fn find(&self, offset: u64) -> Option<Extent> {
        self.position(offset).map(|(.., extent)| extent)
    }

    /// The first extent that ends after this offset.
    pub(crate) fn at_or_after(&self, offset: u64) -> Option<Extent> {
        self.from(offset).next()
    }

    /// All extents that end after this offset, in order.
    pub(crate) fn from(&self, offset: u64) -> impl Iterator<Item = Extent> {
        let first = self.chunks.partition_point(|chunk| chunk.offset() <= offset).saturating_sub(1);
        let all = self.chunks.range(first.min(self.chunks.len())..);
        let all = all.flat_map(|chunk| (0..chunk.len()).filter_map(|at| chunk.get(at)));
        let skipped = self.chunks.get(first).map_or(0, |chunk| chunk.after(offset).saturating_sub(1));
        all.skip(skipped).map(|unpacked| self.whole(unpacked)).skip_while(move |extent| extent.end() <= offset)
    }

    /// Frames in these segments that must be kept, from an offset on: those found, and where to go on; none
    /// at the end. Looks at so many frames at most, those that cannot be meant left out.
    pub(crate) fn live_in(
        &self,
        segments: &BTreeSet<u64>,
        offset: u64,
        looked_at_max: usize,
    ) -> (Vec<Extent>, Option<u64>) {
        let mut found = Vec::new();
        let mut looked_at = 0;
        let first = self.chunks.partition_point(|chunk| chunk.offset() <= offset).saturating_sub(1);
        for chunk in self.chunks.range(first.min(self.chunks.len())..) {
            looked_at += 1;
            if looked_at > looked_at_max {
                return (found, Some(chunk.offset()));
            }
            if !segments.iter().any(|segment| chunk.touches(*segment)) {
                continue;
            }
            looked_at += chunk.len();
            let all = (0..chunk.len()).filter_map(|at| chunk.get(at));
            let wanted = all.filter(|one| one.extent.live > 0 && segments.contains(&one.extent.place.segment));
            found.extend(wanted.map(|one| self.whole(one)).filter(|extent| extent.first_offset >= offset));
        }
        (found, None)
    }

    /// A frame was copied: it is at the new place, unless it has left the old one.
    pub(crate) fn relocate(&mut self, first_offset: u64, from: Place, to: Place) {
        if let Some((chunk, at, extent)) = self.exact(first_offset).filter(|(.., extent)| extent.place == from) {
            self.put(chunk, at, &extent, Extent { place: to, ..extent });
        }
    }

    /// Records that follow one another are settled by everyone.
    pub(crate) fn settle_range(&mut self, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let Some((chunk, place, extent)) = self.position(at) else {
                at += 1;
                continue;
            };
            let count = extent.end().min(end) - at;
            at += count;
            self.set_live_at(chunk, place, extent, extent.live.saturating_sub(count as u32));
        }
    }

    /// How many records of the extent some target has not settled.
    pub(crate) fn set_live(&mut self, first_offset: u64, live: u32) {
        if let Some((chunk, at, extent)) = self.position(first_offset) {
            self.set_live_at(chunk, at, extent, live);
        }
    }

    fn set_live_at(&mut self, chunk: usize, at: usize, before: Extent, live: u32) {
        let after = Extent { live, ..before };
        if (before.live == 0) != (live == 0) {
            self.put(chunk, at, &before, after);
        } else {
            self.chunks[chunk].replace(at, &after);
        }
    }

    fn count(&mut self, extent: &Extent) {
        let segment = self.segments.entry(extent.place.segment).or_default();
        segment.extents += 1;
        if extent.live > 0 {
            let bytes = log_bytes(u64::from(extent.place.bytes));
            segment.live += 1;
            segment.live_bytes += bytes;
            self.needed_bytes += bytes;
            self.live_bytes += u64::from(extent.place.bytes);
        }
    }

    fn uncount(&mut self, extent: &Extent) {
        if let Some(segment) = self.segments.get_mut(&extent.place.segment) {
            segment.extents -= 1;
            if extent.live > 0 {
                let bytes = log_bytes(u64::from(extent.place.bytes));
                segment.live -= 1;
                segment.live_bytes -= bytes;
                self.needed_bytes -= bytes;
                self.live_bytes -= u64::from(extent.place.bytes);
            }
        }
    }

    /// A dead letter must be kept, which takes so many bytes of the segment.
    pub(crate) fn hold(&mut self, segment: u64, bytes: u64) {
        let segment = self.segments.entry(segment).or_default();
        segment.live += 1;
        segment.live_bytes += bytes;
        self.needed_bytes += bytes;
        self.held_bytes += bytes;
    }

    /// It need not be kept any more.
    pub(crate) fn unhold(&mut self, segment: u64, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&segment).filter(|segment| segment.live > 0) {
            segment.live -= 1;
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
            self.needed_bytes = self.needed_bytes.saturating_sub(bytes);
            self.held_bytes = self.held_bytes.saturating_sub(bytes);
        }
    }

    /// Bytes of frames that some target needs.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes of dead letters.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Bytes that everything that must be kept takes in the log.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.needed_bytes
    }

    /// Segments that must be kept.
    pub(crate) fn live_segments(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().filter(|(_, segment)| segment.live > 0).map(|(id, _)| *id)
    }

    /// What of a segment is needed.
    pub(crate) fn usage(&self, segment: u64) -> SegmentUse {
        self.segments.get(&segment).copied().unwrap_or_default()
    }

    /// Forgets frames of a segment that is given back: some of them, from a chunk on. Answers from which
    /// chunk to go on; none when the segment is forgotten.
    pub(crate) fn release(&mut self, segment: u64, from: usize, chunks_max: usize) -> Option<usize> {
        let mut left = self.usage(segment).extents;
        let (mut at, mut looked_at) = (from, 0);
        while left > 0 && at < self.chunks.len() {
            if looked_at == chunks_max {
                return Some(at);
            }
            looked_at += 1;
            if !self.chunks[at].touches(segment) {
                at += 1;
                continue;
            }
            let (delays, restricted) = (&mut self.delays, &mut self.restricted);
            let dropped = self.chunks[at].drop_segment(segment, |first_offset| {
                delays.remove(&first_offset);
                restricted.remove(&first_offset);
            });
            left -= dropped.min(left);
            self.count -= dropped;
            if let Some(usage) = self.segments.get_mut(&segment) {
                usage.extents = left;
            }
            if self.chunks[at].len() == 0 {
                self.chunks.remove(at);
            } else {
                at += 1;
            }
        }
        self.segments.remove(&segment);
        None
    }

    /// Bytes that they take in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.count * EXTENT_BYTES + (self.delays.len() + self.restricted.len()) as u64 * PLACE_BYTES
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.count
    }
}

/// Frames that one slice looks at where it goes by chunks.
pub(crate) const SLICE_CHUNKS: usize = crate::limits::SLICE_FRAMES_MAX / CHUNK_FRAMES_MAX;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
