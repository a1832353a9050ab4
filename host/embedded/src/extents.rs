//! Where a namespace's records are: one extent a frame, in order of offset, and what of each segment is
//! still needed.
//!
//! In: frames as they become durable or are replayed. Out: the extent of an offset; segments in use.

use crate::frame::ALL_TARGETS;
use crate::frame::append::Delay;
use std::collections::{BTreeMap, VecDeque};
use walhost_log::Place;

/// One frame with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub first_offset: u64,
    pub first_sequence: u64,
    pub place: Place,
    pub count: u32,
    /// Records that some target has not settled.
    pub live: u32,
    /// The only target it is meant for, or `ALL_TARGETS`.
    pub only: u16,
    /// A record that was appended again: its id and sequence are in the frame.
    pub redriven: bool,
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
    /// Frames that must be kept: with records that some target has not settled, or with dead letters.
    pub live: u64,
}

/// All extents of a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extents {
    all: VecDeque<Extent>,
    delays: BTreeMap<u64, Delay>,
    /// From the snapshot: to whom frames are meant whose heads come later.
    restricted: BTreeMap<u64, u16>,
    segments: BTreeMap<u64, SegmentUse>,
    live_bytes: u64,
}

impl Extents {
    /// Adds a frame; one that is known takes the new place: recovery copies frames.
    pub(crate) fn insert(&mut self, mut extent: Extent) {
        if let Some(only) = self.restricted.get(&extent.first_offset) {
            extent.only = *only;
        }
        let at = self.all.partition_point(|known| known.first_offset < extent.first_offset);
        match self.all.get_mut(at) {
            Some(known) if known.first_offset == extent.first_offset => {
                let before = *known;
                known.place = extent.place;
                let after = *known;
                self.uncount(&before);
                self.count(&after);
            }
            _ => {
                self.count(&extent);
                self.all.insert(at, extent);
            }
        }
    }

    /// Remembers when the records of a frame are due.
    pub(crate) fn delay(&mut self, first_offset: u64, delay: Delay) {
        self.delays.insert(first_offset, delay);
    }

    /// When the records of the frame are due; none: at once.
    pub(crate) fn delay_of(&self, extent: &Extent) -> Option<Delay> {
        if self.delays.is_empty() { None } else { self.delays.get(&extent.first_offset).copied() }
    }

    /// All that were appended with a due time.
    pub(crate) fn delays(&self) -> impl Iterator<Item = (u64, Delay)> {
        self.delays.iter().map(|(first, delay)| (*first, *delay))
    }

    /// Says to whom a frame is meant whose head is still to come.
    pub(crate) fn restrict(&mut self, first_offset: u64, only: u16) {
        self.restricted.insert(first_offset, only);
    }

    /// All frames that are meant for one target only.
    pub(crate) fn restricted(&self) -> impl Iterator<Item = (u64, u16)> {
        self.all.iter().filter(|extent| extent.only != ALL_TARGETS).map(|extent| (extent.first_offset, extent.only))
    }

    fn position(&self, offset: u64) -> Option<usize> {
        let at = self.all.partition_point(|extent| extent.first_offset <= offset).checked_sub(1)?;
        (offset < self.all[at].end()).then_some(at)
    }

    /// The extent that holds this offset.
    pub(crate) fn find(&self, offset: u64) -> Option<Extent> {
        self.position(offset).map(|at| self.all[at])
    }

    /// The first extent that ends after this offset.
    pub(crate) fn at_or_after(&self, offset: u64) -> Option<Extent> {
        self.from(offset).next()
    }

    /// All extents that end after this offset, in order.
    pub(crate) fn from(&self, offset: u64) -> impl Iterator<Item = Extent> {
        let at = self.all.partition_point(|extent| extent.end() <= offset);
        self.all.range(at..).copied()
    }

    /// One record of the extent is settled by everyone.
    pub(crate) fn settle_one(&mut self, offset: u64) {
        let Some(at) = self.position(offset) else { return };
        let live = self.all[at].live.saturating_sub(1);
        self.set_live_at(at, live);
    }

    /// How many records of the extent some target has not settled.
    pub(crate) fn set_live(&mut self, first_offset: u64, live: u32) {
        if let Some(at) = self.position(first_offset) {
            self.set_live_at(at, live);
        }
    }

    fn set_live_at(&mut self, at: usize, live: u32) {
        let before = self.all[at];
        if (before.live == 0) != (live == 0) {
            self.uncount(&before);
            self.all[at].live = live;
            let after = self.all[at];
            self.count(&after);
        } else {
            self.all[at].live = live;
        }
    }

    fn count(&mut self, extent: &Extent) {
        let segment = self.segments.entry(extent.place.segment).or_default();
        segment.extents += 1;
        if extent.live > 0 {
            segment.live += 1;
            self.live_bytes += u64::from(extent.place.bytes);
        }
    }

    fn uncount(&mut self, extent: &Extent) {
        if let Some(segment) = self.segments.get_mut(&extent.place.segment) {
            segment.extents -= 1;
            if extent.live > 0 {
                segment.live -= 1;
                self.live_bytes -= u64::from(extent.place.bytes);
            }
        }
    }

    /// A frame with dead letters must be kept.
    pub(crate) fn hold(&mut self, segment: u64) {
        self.segments.entry(segment).or_default().live += 1;
    }

    /// It need not be kept any more.
    pub(crate) fn unhold(&mut self, segment: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live = segment.live.saturating_sub(1);
        }
    }

    /// Bytes of frames that some target needs.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Segments that must be kept.
    pub(crate) fn live_segments(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().filter(|(_, segment)| segment.live > 0).map(|(id, _)| *id)
    }

    /// Forgets the frames of a segment that is given back.
    pub(crate) fn release(&mut self, segment: u64) {
        let Some(mut left) = self.segments.remove(&segment).map(|segment| segment.extents) else { return };
        while left > 0 && self.all.front().is_some_and(|extent| extent.place.segment == segment) {
            self.all.pop_front();
            left -= 1;
        }
        if left > 0 {
            self.all.retain(|extent| extent.place.segment != segment);
        }
        let first = self.all.front().map_or(u64::MAX, |extent| extent.first_offset);
        self.delays.retain(|first_offset, _| *first_offset >= first);
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn extent(first_offset: u64, count: u32, segment: u64) -> Extent {
        let place = Place { segment, position: 0, bytes: 10, log_sequence: first_offset };
        Extent { first_offset, first_sequence: 0, place, count, live: count, only: ALL_TARGETS, redriven: false }
    }

    #[test]
    fn an_offset_is_found_and_a_hole_is_none() {
        let mut extents = Extents::default();
        for (first, count) in [(0, 5), (5, 1), (10, 3)] {
            extents.insert(extent(first, count, 1));
        }
        assert_eq!(extents.find(4).unwrap().first_offset, 0);
        assert_eq!(extents.find(5).unwrap().first_offset, 5);
        assert!(extents.find(6).is_none() && extents.find(13).is_none());
        assert_eq!(extents.at_or_after(6).unwrap().first_offset, 10);
        assert_eq!(extents.from(5).count(), 2);
    }

    #[test]
    fn i09_a_segment_is_in_use_until_the_last_record_is_settled_and_no_dead_letter_is_in_it() {
        let mut extents = Extents::default();
        extents.insert(extent(0, 2, 1));
        extents.insert(extent(2, 1, 2));
        extents.hold(1);
        assert_eq!(extents.live_bytes(), 20);
        extents.settle_one(0);
        extents.settle_one(1);
        assert_eq!((extents.live_bytes(), extents.live_segments().collect::<Vec<_>>()), (10, vec![1, 2]));
        extents.unhold(1);
        assert_eq!(extents.live_segments().collect::<Vec<_>>(), vec![2]);
        extents.insert(Extent { place: extent(2, 1, 3).place, ..extent(2, 1, 3) });
        assert_eq!((extents.live_segments().collect::<Vec<_>>(), extents.len()), (vec![3], 2));
        extents.release(1);
        assert!(extents.find(0).is_none());
        assert_eq!((extents.find(2).unwrap().place.segment, extents.len()), (3, 1));
    }
}
