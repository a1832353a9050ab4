//! The words of the log: what a caller hands in, and what it gets back to find it again.
//!
//! In: a caller's kind, numbers and body. Out: `FrameDraft`, `FrameHead`, `Place`.

use bytes::Bytes;

/// First kind that belongs to the log itself; a draft with such a kind is refused.
pub const KIND_RESERVED_FROM: u8 = 0xF0;

/// How soon a frame must be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It starts a commit the moment the last one has returned.
    Now,
    /// It rides the next commit, or one of its own after `Options::lazy_ms`.
    Lazy,
}

/// One frame to be: one append request, or one fact. All or nothing, under one check sum.
#[derive(Clone, Debug)]
pub struct FrameDraft {
    /// The caller's; below [`KIND_RESERVED_FROM`].
    pub kind: u8,
    /// The caller's: number of the namespace incarnation; 0 is nobody's.
    pub view: u32,
    /// The caller's, kept in the head and in the footer.
    pub first_offset: u64,
    /// The caller's, kept in the head and in the footer.
    pub count: u32,
    /// The caller's, kept in the head and in the footer.
    pub first_sequence: u64,
    /// The frame's body: these bytes one after another, written from where they are.
    pub parts: Vec<Bytes>,
    /// How soon it must be durable.
    pub urgency: Urgency,
}

/// The check sum of a draft's body, to be taken before a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySum(pub(crate) u32);

impl BodySum {
    /// Of these parts one after another.
    pub fn of(parts: &[Bytes]) -> BodySum {
        BodySum(crate::format::crc_of_parts(parts))
    }
}

impl FrameDraft {
    /// Bytes of the body.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// What is known of a frame without reading its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The caller's, or one of the log's own from [`KIND_RESERVED_FROM`] on.
    pub kind: u8,
    /// The caller's.
    pub view: u32,
    /// The caller's.
    pub first_offset: u64,
    /// The caller's.
    pub count: u32,
    /// The caller's.
    pub first_sequence: u64,
    /// Its number in the log; never given twice. The log's own frames take numbers too.
    pub log_sequence: u64,
    /// The number under which it was first committed: less than `log_sequence` for a copy that recovery
    /// made, else the same. A fact is in a snapshot "as of s" when its origin is at most s.
    pub origin: u64,
    /// The group commit that it belongs to; grows within an epoch.
    pub commit: u64,
    /// Grows with every open and with every file that is given up.
    pub epoch: u32,
    /// Bytes of the body.
    pub bytes: u32,
}

/// Where a durable frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// Byte in the segment's file at which the frame's head begins.
    pub position: u32,
    /// Bytes of the body.
    pub bytes: u32,
    /// The frame's number in the log.
    pub log_sequence: u64,
}
