//! Extents as they lie in memory: 32 bytes a frame, in chunks that know where they begin.
//!
//! In: extents. Out: the same, unpacked. Offsets, sequences and log sequence numbers are kept as distances
//! from the chunk's; one that is too far away begins a chunk of its own.

use super::Extent;
use crate::frame::ALL_TARGETS;
use walhost_log::Place;

/// Frames of one chunk: inserting in the middle moves at most 8 KiB.
pub(super) const CHUNK_FRAMES_MAX: usize = 256;
/// Log sequence numbers below a chunk's first that it can still hold: a frame in the middle may be older.
const LOG_BELOW: u64 = 1 << 31;
/// Milliseconds before the time that the first delayed frame of a chunk is due at which others may be: 24 days, and as
/// long after it.
const DUE_BELOW: u64 = 1 << 31;
/// Stands for a time that is further away than that: it is kept elsewhere.
const DUE_FAR: u32 = u32::MAX;
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;
const REDRIVEN: u32 = 1 << 24;
const RESTRICTED: u32 = 1 << 25;
const DELAYED: u32 = 1 << 26;

/// One frame with records.
#[derive(Clone, Copy, Debug)]
struct Packed {
    offset: u32,
    sequence: u32,
    log: u32,
    segment: u32,
    position: u32,
    bytes: u32,
    /// Records, and flags above them.
    count: u32,
    live: u32,
}

const _: () = assert!(size_of::<Packed>() == 32);

/// Stands for a time that an extent has no room for.
pub(super) const FAR: u64 = u64::MAX;

/// Some frames that follow one another.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    offset: u64,
    /// None: no frame in it needs one so far.
    sequence: Option<u64>,
    log: u64,
    /// None: no frame in it is delayed so far.
    due_ms: Option<u64>,
    /// The least and the greatest segment that any of them is in, or was.
    segments: (u32, u32),
    all: Vec<Packed>,
}

/// Numbers of segments grow by one a segment: 2^32 of the smallest ones are more than any disk will see.
fn short(segment: u64) -> u32 {
    u32::try_from(segment).unwrap_or(u32::MAX)
}

impl Chunk {
    pub(super) fn new(extent: &Extent) -> Chunk {
        let log = extent.place.log_sequence.saturating_sub(LOG_BELOW);
        let segment = short(extent.place.segment);
        let mut chunk = Chunk {
            offset: extent.first_offset,
            sequence: (!is_odd(extent)).then_some(extent.first_sequence),
            log,
            due_ms: due_base(extent),
            segments: (segment, segment),
            all: Vec::new(),
        };
        let packed = chunk.pack(extent).expect("distances from itself fit");
        chunk.all.push(packed);
        chunk
    }

    /// The offset with which it begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn pack(&self, extent: &Extent) -> Option<Packed> {
        let distance = |number: u64, from: u64| number.checked_sub(from).and_then(|far| u32::try_from(far).ok());
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        Some(Packed {
            offset: distance(extent.first_offset, self.offset)?,
            // The sequences of delayed records, and of those that were appended again, are told elsewhere: this says
            // when the former are due, and what the latter wait for.
            sequence: match is_odd(extent) {
                true if extent.redriven => u32::try_from(extent.first_sequence).unwrap_or(u32::MAX),
                true => distance(extent.first_sequence / 1_000, self.due_ms?).unwrap_or(DUE_FAR),
                false => distance(extent.first_sequence, self.sequence?)?,
            },
            log: distance(extent.place.log_sequence, self.log)?,
            segment: short(extent.place.segment),
            position: extent.place.position,
            bytes: extent.place.bytes,
            count: extent.count.min(COUNT_MAX)
                | flag(extent.redriven, REDRIVEN)
                | flag(extent.only != ALL_TARGETS, RESTRICTED)
                | flag(extent.delayed, DELAYED),
            live: extent.live,
        })
    }

    /// The extent at a place of the chunk; to whom a restricted one is meant is not known here.
    pub(super) fn get(&self, at: usize) -> Option<Unpacked> {
        let packed = self.all.get(at)?;
        let extent = Extent {
            first_offset: self.offset + u64::from(packed.offset),
            first_sequence: match packed.count & (REDRIVEN | DELAYED) {
                0 => self.sequence.unwrap_or_default() + u64::from(packed.sequence),
                DELAYED if packed.sequence == DUE_FAR => FAR,
                DELAYED => (self.due_ms.unwrap_or_default() + u64::from(packed.sequence)).saturating_mul(1_000),
                _ => u64::from(packed.sequence),
            },
            place: Place {
                segment: u64::from(packed.segment),
                position: packed.position,
                bytes: packed.bytes,
                log_sequence: self.log + u64::from(packed.log),
            },
            count: packed.count & COUNT_MAX,
            live: packed.live,
            only: ALL_TARGETS,
            redriven: packed.count & REDRIVEN != 0,
            delayed: packed.count & DELAYED != 0,
        };
        Some(Unpacked { extent, restricted: packed.count & RESTRICTED != 0 })
    }

    /// Place of the first frame that begins after this offset.
    pub(super) fn after(&self, offset: u64) -> usize {
        self.all.partition_point(|packed| self.offset + u64::from(packed.offset) <= offset)
    }

    /// Puts one in at a place; false: it does not fit.
    pub(super) fn insert(&mut self, at: usize, extent: &Extent) -> bool {
        if !is_odd(extent) {
            self.sequence.get_or_insert(extent.first_sequence);
        }
        self.due_ms = self.due_ms.or_else(|| due_base(extent));
        let Some(packed) = self.pack(extent).filter(|_| self.all.len() < CHUNK_FRAMES_MAX) else { return false };
        self.widen(packed.segment);
        self.all.insert(at, packed);
        true
    }

    /// Writes one anew; false: it does not fit.
    pub(super) fn replace(&mut self, at: usize, extent: &Extent) -> bool {
        let Some(packed) = self.pack(extent) else { return false };
        self.widen(packed.segment);
        self.all[at] = packed;
        true
    }

    fn widen(&mut self, segment: u32) {
        self.segments = (self.segments.0.min(segment), self.segments.1.max(segment));
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.all.remove(at);
    }

    /// Everything from a place on, as a chunk of its own; none when nothing is there.
    pub(super) fn split_off(&mut self, at: usize) -> Option<Chunk> {
        let mut all = self.all.split_off(at);
        let first = all.first()?.offset;
        all.iter_mut().for_each(|packed| packed.offset -= first);
        let (sequence, log, due_ms, segments) = (self.sequence, self.log, self.due_ms, self.segments);
        Some(Chunk { offset: self.offset + u64::from(first), sequence, log, due_ms, segments, all })
    }

    /// Whether any of its frames may be in one of these segments.
    pub(super) fn touches(&self, segment: u64) -> bool {
        (self.segments.0..=self.segments.1).contains(&short(segment))
    }

    /// Takes out those of a segment, and names those that have more than fits in here; answers how many.
    pub(super) fn drop_segment(&mut self, segment: u64, mut odd: impl FnMut(u64)) -> u64 {
        let (segment, offset, before) = (short(segment), self.offset, self.all.len());
        self.all.retain(|packed| {
            if packed.segment == segment && packed.count & (RESTRICTED | DELAYED) != 0 {
                odd(offset + u64::from(packed.offset));
            }
            packed.segment != segment
        });
        let mut segments = self.all.iter().map(|packed| packed.segment);
        if let Some(first) = segments.next() {
            self.segments = segments.fold((first, first), |(least, most), one| (least.min(one), most.max(one)));
        }
        (before - self.all.len()) as u64
    }
}

/// From where the due times of a chunk are counted that begins with this one.
fn due_base(extent: &Extent) -> Option<u64> {
    extent.delayed.then_some((extent.first_sequence / 1_000).saturating_sub(DUE_BELOW))
}

/// Whether what it is due or was appended at says nothing about its neighbours.
fn is_odd(extent: &Extent) -> bool {
    extent.redriven || extent.delayed
}

/// An extent that may be meant for one target only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unpacked {
    pub(super) extent: Extent,
    pub(super) restricted: bool,
}
