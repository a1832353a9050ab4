//! Lays out one commit: heads and paddings in one scratch buffer, bodies from where they are.
//!
//! In: heads and parts in order. Out: the slices of one write, and the rows of its frames.

use crate::format::{
    HEAD_BYTES, KIND_TRAILER, Row, SECTOR_BYTES, TRAILER_CLOSING, align_commit, align_frame, crc_of_parts, encode_head,
};
use crate::frame::{FrameHead, Place};
use crate::limits;
use bytes::Bytes;

/// What all frames of a commit have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitHead {
    pub(crate) segment: u64,
    pub(crate) salt: u64,
    pub(crate) epoch: u32,
    pub(crate) commit: u64,
    /// Where it begins.
    pub(crate) position: u32,
    /// Log sequence number of its first frame.
    pub(crate) first: u64,
    /// Commit number of the segment's first commit, for the rows.
    pub(crate) first_commit: u64,
}

/// What the kernel keeps and writes as a whole, in bytes.
const PAGE_BYTES: usize = 4_096;
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

enum Piece {
    Scratch(usize, usize),
    Part(Bytes),
}

/// A commit being laid out. Kept by the committer, so that its buffers are allocated once.
#[derive(Default)]
pub(crate) struct Group {
    about: Option<CommitHead>,
    scratch: Vec<u8>,
    /// Where the scratch begins that no piece holds so far.
    scratch_from: usize,
    pieces: Vec<Piece>,
    bytes: usize,
    next: u64,
    /// Frames of the log's own right before the trailer.
    own: u32,
    rows: Vec<u8>,
    frames: usize,
}

impl Group {
    /// Begins a commit; what was laid out before is forgotten.
    pub(crate) fn begin(&mut self, about: CommitHead) {
        self.about = Some(about);
        self.scratch.clear();
        self.scratch_from = 0;
        self.pieces.clear();
        self.bytes = 0;
        self.next = about.first;
        self.own = 0;
        self.rows.clear();
        self.frames = 0;
    }

    fn about(&self) -> &CommitHead {
        self.about.as_ref().expect("a commit was begun")
    }

    /// Log sequence number of the next frame.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a frame. Log sequence number, commit and epoch of `head` are given here; its origin too, unless
    /// it is a copy.
    pub(crate) fn add(&mut self, mut head: FrameHead, copy: bool, body_crc: u32, parts: &[Bytes]) -> Place {
        let about = *self.about();
        head.log_sequence = self.next;
        head.commit = about.commit;
        head.epoch = about.epoch;
        if !copy {
            head.origin = head.log_sequence;
        }
        self.pad_to(align_frame(self.bytes));
        let position = about.position + self.bytes as u32;
        self.put(&encode_head(&head, body_crc, about.salt, position));
        for part in parts {
            if part.len() <= limits::INLINE_BYTES_MAX || self.pieces.len() >= limits::SLICES_MAX {
                self.put(part);
            } else {
                self.flush();
                self.bytes += part.len();
                self.pieces.push(Piece::Part(part.clone()));
            }
        }
        Row::encode(&head, position, about.first_commit, &mut self.rows);
        self.frames += 1;
        self.next += 1;
        Place { segment: about.segment, position, bytes: head.bytes, log_sequence: head.log_sequence }
    }

    /// Adds a frame of the log's own that comes right before the trailer, or before any of the caller's.
    pub(crate) fn add_own(&mut self, kind: u8, fields: OwnFields, body: Vec<u8>, before_trailer: bool) -> Place {
        let head = FrameHead {
            kind,
            view: fields.view,
            first_offset: fields.first_offset,
            count: fields.count,
            first_sequence: fields.first_sequence,
            log_sequence: 0,
            origin: 0,
            commit: 0,
            epoch: 0,
            bytes: u32::try_from(body.len()).expect("lists are bounded by the segment"),
        };
        self.own += u32::from(before_trailer);
        let parts = [Bytes::from(body)];
        self.add(head, false, crc_of_parts(&parts), &parts)
    }

    /// Fills the last sector but one, so that the trailer begins a sector.
    pub(crate) fn pad_to_sector(&mut self) {
        self.pad_to(align_commit(self.bytes));
    }

    /// Ends the commit with its trailer: `proven` is durable.
    pub(crate) fn end(&mut self, proven: u64) {
        self.end_sealed(proven, 0, false);
    }

    /// The same, of the commit of the segment's footer, which begins at `footer`; `closing`: and of the log.
    pub(crate) fn end_sealed(&mut self, proven: u64, footer: u32, closing: bool) {
        let view = if closing { TRAILER_CLOSING } else { 0 };
        let fields = OwnFields { view, first_offset: proven, count: self.own, first_sequence: u64::from(footer) };
        self.add_own(KIND_TRAILER, fields, Vec::new(), false);
        self.pad_to_sector();
        self.flush();
    }

    /// Bytes of the whole commit.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its frames as a footer lists them.
    pub(crate) fn rows(&self) -> &[u8] {
        &self.rows
    }

    /// How many frames it has, its own included.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// What is to be written, in order; then zeros to the end of the last page when `until` leaves room: a
    /// page written as a whole need not be read first, and the next commit finds it in memory.
    pub(crate) fn slices(&self, until: u32) -> Vec<&[u8]> {
        let mut slices: Vec<&[u8]> = Vec::with_capacity(self.pieces.len() + 1);
        for piece in &self.pieces {
            slices.push(match piece {
                Piece::Scratch(from, until) => &self.scratch[*from..*until],
                Piece::Part(part) => part,
            });
        }
        let end = self.about().position as usize + self.bytes;
        let rest = end.next_multiple_of(PAGE_BYTES).min(until as usize).saturating_sub(end);
        if rest > 0 {
            slices.push(&ZEROS[..rest]);
        }
        slices
    }

    /// Lets go of the bodies.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        if self.scratch.capacity() > limits::SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.scratch.extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    fn pad_to(&mut self, bytes: usize) {
        debug_assert!(bytes - self.bytes < SECTOR_BYTES.max(HEAD_BYTES));
        self.scratch.resize(self.scratch.len() + bytes - self.bytes, 0);
        self.bytes = bytes;
    }

    fn flush(&mut self) {
        if self.scratch_from < self.scratch.len() {
            self.pieces.push(Piece::Scratch(self.scratch_from, self.scratch.len()));
            self.scratch_from = self.scratch.len();
        }
    }
}

/// The fields of a head that mean something in the log's own frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnFields {
    pub(crate) view: u32,
    pub(crate) first_offset: u64,
    pub(crate) count: u32,
    pub(crate) first_sequence: u64,
}
