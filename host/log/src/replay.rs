//! What an open tells its caller: every frame that counts, in log order, and what is lost, by name.
//!
//! In: what recovery found. Out: `Replay`, `Damage`.

use crate::frame::{FrameHead, Place};
use bytes::Bytes;
use std::fmt;
use walhost_core::Result;

/// Takes in the log's frames at open.
pub trait Replay {
    /// One frame of the caller's kinds. Called in log order, from footers where there are some: that the
    /// body is intact is then known only when it is read.
    fn head(&mut self, head: &FrameHead, place: Place);

    /// Whether `body` shall be called for the frame that `head` was just called for.
    fn wants_body(&self, head: &FrameHead) -> bool;

    /// The body, verified. An error ends the open.
    fn body(&mut self, head: &FrameHead, place: Place, body: Bytes) -> Result<()>;

    /// Something is lost. Called for every region, when recovery comes to it, between the heads
    /// of the frames that are not.
    fn lost(&mut self, damage: &Damage);
}

/// A region that is damaged, and what was in it as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is damaged.
    pub kind: DamageKind,
    /// Number of the segment; 0 when its header is unreadable.
    pub segment: u64,
    /// Name of the file in the log's directory; empty when the file is missing.
    pub file: String,
    /// First damaged byte.
    pub from: u64,
    /// The byte after the last damaged one.
    pub until: u64,
    /// First log sequence number that is lost; 0 with `last` 0 when no frame is lost.
    pub first: u64,
    /// Last log sequence number that is lost.
    pub last: u64,
    /// Heads of lost frames that are known from a footer or from an intact head.
    pub heads: Vec<FrameHead>,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Frames that were proven durable are not readable.
    Frames,
    /// Only the log's own bookkeeping: no frame of the caller's is lost.
    Bookkeeping,
    /// One of the two copies of a segment's header; the other one serves.
    Header,
    /// A segment that must be there is missing, or neither copy of its header can be read.
    Segment,
}

impl Damage {
    /// How many frames of the caller's are lost, or may be.
    pub fn frames(&self) -> u64 {
        match self.kind {
            DamageKind::Frames | DamageKind::Segment if self.last != 0 => self.last - self.first + 1,
            _ => 0,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DamageKind::Frames => "frames lost",
            DamageKind::Bookkeeping => "bookkeeping damaged, nothing lost",
            DamageKind::Header => "one copy of the header damaged, nothing lost",
            DamageKind::Segment => "segment missing or unreadable",
        };
        write!(
            formatter,
            "{what}: segment {} ({}), bytes {}..{}",
            self.segment,
            if self.file.is_empty() { "no file" } else { &self.file },
            self.from,
            self.until
        )?;
        if self.last != 0 {
            write!(formatter, ", log sequence {}..={}", self.first, self.last)?;
        }
        for head in &self.heads {
            write!(
                formatter,
                "; view {} kind {} offsets {}+{} ({} bytes)",
                head.view, head.kind, head.first_offset, head.count, head.bytes
            )?;
        }
        Ok(())
    }
}
