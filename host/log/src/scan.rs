//! Finds frames in a segment's bytes, also behind damage, and says what is missing between them.
//!
//! In: bytes, a salt. Out: frames in order; gaps with the log sequence numbers that are missing.

use crate::format::{
    ALIGN_BYTES, DATA_START, HEAD_BYTES, KIND_FOOTER, KIND_TRAILER, ReadHead, Row, SECTOR_BYTES, TRAILER_CLOSING,
    align_commit, align_frame,
};
use crate::frame::{FrameHead, KIND_RESERVED_FROM, Place};
use crate::segment::{ReadFault, Segment};
use std::io;

/// A frame whose head is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) head: FrameHead,
    pub(crate) position: u32,
    /// Whether its body is intact too.
    pub(crate) intact: bool,
}

impl Found {
    pub(crate) fn place(&self, segment: u64) -> Place {
        Place { segment, position: self.position, bytes: self.head.bytes, log_sequence: self.head.log_sequence }
    }

    /// The byte after its body.
    pub(crate) fn end(&self) -> u32 {
        self.position + HEAD_BYTES as u32 + self.head.bytes
    }

    /// Where the next frame of an undamaged segment begins.
    fn next(&self) -> usize {
        let end = align_frame(self.end() as usize);
        if self.head.kind == KIND_TRAILER { align_commit(end) } else { end }
    }
}

/// All frames of a segment's bytes, in order. Heads behind damage are found at any place where a frame may
/// begin; what a value holds is never taken for one, because a head's check sum depends on the segment's
/// salt and on its place.
pub(crate) fn scan(bytes: &[u8], salt: u64) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut position = DATA_START as usize;
    while position + HEAD_BYTES <= bytes.len() {
        match head_at(bytes, salt, position).filter(|read| follows(&read.head, found.last())) {
            Some(read) => {
                let body = &bytes[position + HEAD_BYTES..][..read.head.bytes as usize];
                let intact = read.is_body(body, salt);
                let frame = Found { head: read.head, position: position as u32, intact };
                position = frame.next();
                found.push(frame);
            }
            None => position = skip(bytes, position),
        }
    }
    found
}

/// The first head in some bytes of a segment, which begin at `from`; its body may end behind them.
pub(crate) fn first_head(bytes: &[u8], salt: u64, from: u32, segment_bytes: u32) -> Option<Found> {
    let mut place = 0;
    while place + HEAD_BYTES <= bytes.len() {
        let position = from + place as u32;
        if let Some(read) = ReadHead::decode(&bytes[place..], salt, position)
            && u64::from(position) + HEAD_BYTES as u64 + u64::from(read.head.bytes) <= u64::from(segment_bytes)
        {
            // Whether its body is intact is looked at when that matters.
            return Some(Found { head: read.head, position, intact: true });
        }
        place = skip(bytes, place);
    }
    None
}

/// The head at a position, when its body fits the segment.
fn head_at(bytes: &[u8], salt: u64, position: usize) -> Option<ReadHead> {
    let read = ReadHead::decode(&bytes[position..], salt, u32::try_from(position).ok()?)?;
    (position + HEAD_BYTES + read.head.bytes as usize <= bytes.len()).then_some(read)
}

/// Whether a head can come after another: all frames of a segment are of one epoch.
fn follows(head: &FrameHead, last: Option<&Found>) -> bool {
    last.is_none_or(|last| {
        head.epoch == last.head.epoch && head.log_sequence > last.head.log_sequence && head.commit >= last.head.commit
    })
}

/// The next place worth a look: no frame begins in a sector of zeros.
fn skip(bytes: &[u8], position: usize) -> usize {
    let next = position + ALIGN_BYTES;
    if !next.is_multiple_of(SECTOR_BYTES) {
        return next;
    }
    let mut sectors = bytes[next.min(bytes.len())..].chunks(SECTOR_BYTES);
    next + SECTOR_BYTES * sectors.by_ref().take_while(|sector| is_zero(sector)).count()
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word)) == 0 && rest.iter().all(|byte| *byte == 0)
}

/// Log sequence numbers that are missing, or whose bodies are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: u32,
    pub(crate) until: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// True when all of them are known to be the log's own.
    pub(crate) own: bool,
    /// The head, when that is intact.
    pub(crate) head: Option<FrameHead>,
    /// Whether the frame before them ended its commit.
    pub(crate) ended: bool,
    /// The first commit that they may belong to.
    pub(crate) commit_min: u64,
}

/// What is missing among the frames found, where they must be `first..=last`; `end` is the byte after the
/// last one. Without `first` nothing is missing before the first one found.
pub(crate) fn gaps(found: &[Found], first: Option<u64>, last: Option<u64>, end: u32) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut expected = first.or(found.first().map(|frame| frame.head.log_sequence));
    for (at, frame) in found.iter().enumerate() {
        if let Some(expected) = expected.filter(|expected| *expected < frame.head.log_sequence) {
            gaps.push(gap(found, at, expected, frame.head.log_sequence - 1, end));
        }
        if !frame.intact {
            gaps.push(Gap {
                from: frame.position,
                until: frame.end(),
                first: frame.head.log_sequence,
                last: frame.head.log_sequence,
                own: frame.head.kind >= KIND_RESERVED_FROM,
                head: Some(frame.head),
                ended: false,
                commit_min: frame.head.commit,
            });
        }
        expected = Some(frame.head.log_sequence + 1);
    }
    if let (Some(expected), Some(last)) = (expected, last)
        && expected <= last
    {
        gaps.push(gap(found, found.len(), expected, last, end));
    }
    gaps
}

fn gap(found: &[Found], at: usize, first: u64, last: u64, end: u32) -> Gap {
    let before = at.checked_sub(1).map(|place| &found[place]);
    let after = found.get(at);
    Gap {
        from: before.map_or(DATA_START, Found::end),
        until: after.map_or(end, |frame| frame.position),
        first,
        last,
        own: is_own(before, &found[at..], first, last),
        head: None,
        ended: before.is_none_or(ended),
        commit_min: before.map_or(0, |b| b.head.commit),
    }
}

/// Whether what is missing can only be the log's own: the list that every segment begins with, a commit's
/// trailer or what it says to be its own right before it, a commit of a trailer alone.
fn is_own(before: Option<&Found>, after: &[Found], first: u64, last: u64) -> bool {
    match (before, after.first()) {
        (None, Some(_)) => first == last,
        (Some(before), Some(next)) if next.head.commit > before.head.commit + u64::from(ended(before)) => {
            // The trailer that ends a commit, or a commit of a trailer alone.
            first == last && next.head.commit == before.head.commit + 1 + u64::from(ended(before))
        }
        (Some(_), Some(next)) => {
            let mut commit = after.iter().take_while(|frame| frame.head.commit == next.head.commit);
            commit.find(|frame| frame.head.kind == KIND_TRAILER).is_some_and(|trailer| {
                let own_from = trailer.head.log_sequence - u64::from(trailer.head.count);
                (own_from..trailer.head.log_sequence).contains(&first)
            })
        }
        // What counts ends with a trailer.
        (Some(before), None) => first == last && !ended(before),
        (None, None) => false,
    }
}

fn ended(frame: &Found) -> bool {
    frame.head.kind == KIND_TRAILER
}

/// What a segment's footer says.
pub(crate) struct Footer {
    pub(crate) rows: Vec<Row>,
    /// True when the log was closed with it: nothing came after.
    pub(crate) closing: bool,
}

/// A segment's footer; `Ok(None)` when it has none that can be believed.
pub(crate) fn read_footer(segment: &Segment) -> io::Result<Option<Footer>> {
    let Some(last_sector) = segment.bytes.checked_sub(SECTOR_BYTES as u32) else {
        return Ok(None);
    };
    let trailer = Place { segment: segment.id(), position: last_sector, bytes: 0, log_sequence: 0 };
    let Some(trailer) = read_any(segment, trailer.position)?.filter(|read| read.head.kind == KIND_TRAILER) else {
        return Ok(None);
    };
    let Ok(position) = u32::try_from(trailer.head.first_sequence) else {
        return Ok(None);
    };
    let Some(footer) = read_any(segment, position)?.filter(|read| read.head.kind == KIND_FOOTER) else {
        return Ok(None);
    };
    let place =
        Place { segment: segment.id(), position, bytes: footer.head.bytes, log_sequence: footer.head.log_sequence };
    match segment.read(place) {
        Ok((head, body)) => {
            let rows = Row::decode_all(&head, &body, segment.bytes);
            Ok(rows.map(|rows| Footer { rows, closing: trailer.head.view == TRAILER_CLOSING }))
        }
        Err(ReadFault::Disk(error)) => Err(error),
        Err(ReadFault::Head | ReadFault::Body) => Ok(None),
    }
}

/// The head at a position, whatever it is.
fn read_any(segment: &Segment, position: u32) -> io::Result<Option<ReadHead>> {
    let mut bytes = [0; HEAD_BYTES];
    let read = crate::segment::read_full(&*segment.file, &mut bytes, u64::from(position))?;
    Ok(ReadHead::decode(&bytes[..read], segment.header.salt, position))
}
