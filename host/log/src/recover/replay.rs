//! Tells the caller of an open every frame that counts, and everything that is lost.
//!
//! In: segments with their ranges. Out: calls of `Replay`.

use super::place;
use crate::frame::{FrameHead, KIND_RESERVED_FROM, Place};
use crate::replay::{Damage, DamageKind, Replay};
use crate::scan::{Gap, gaps, read_footer, scan};
use crate::segment::{ReadFault, Segment};
use bytes::Bytes;
use walhost_core::Result;

/// Calls the caller, and keeps what was lost.
pub(crate) struct Teller<'a> {
    caller: &'a mut dyn Replay,
    pub(crate) damage: Vec<Damage>,
}

impl<'a> Teller<'a> {
    pub(crate) fn new<'d>(caller: &'a mut dyn Replay, known: impl Iterator<Item = &'d Damage>) -> Teller<'a> {
        let damage: Vec<Damage> = known.cloned().collect();
        damage.iter().for_each(|region| caller.lost(region));
        Teller { caller, damage }
    }

    /// All frames of a segment that count, by its footer when it has one.
    pub(crate) fn segment(&mut self, segment: &Segment) -> Result<()> {
        let failed = |error| super::failed(error, "a segment cannot be read").with("file", &segment.name);
        let range = segment.range();
        if let Some(footer) = read_footer(segment).map_err(failed)? {
            for row in footer.rows.iter().filter(|row| row.head.log_sequence <= range.last) {
                if row.head.kind < KIND_RESERVED_FROM {
                    let place = place(segment.id(), &row.head, row.position);
                    self.frame(&row.head, place, || read_body(segment, place, &row.head))?;
                }
            }
            return Ok(());
        }
        let bytes = Bytes::from(segment.read_up_to(range.end).map_err(failed)?);
        let found = scan(&bytes, segment.header.salt);
        for gap in gaps(&found, Some(range.first), Some(range.last), range.end) {
            if gap.first <= range.last {
                self.lost(damage_of(segment, &gap, range.last));
            }
        }
        for frame in found.iter().filter(|frame| frame.intact && frame.head.log_sequence <= range.last) {
            if frame.head.kind < KIND_RESERVED_FROM {
                let body = bytes.slice(frame.end() as usize - frame.head.bytes as usize..frame.end() as usize);
                self.frame(&frame.head, frame.place(segment.id()), || Ok(body))?;
            }
        }
        Ok(())
    }

    /// One frame, and its body when it is wanted.
    pub(crate) fn frame(
        &mut self,
        head: &FrameHead,
        place: Place,
        body: impl FnOnce() -> Result<Bytes, BodyFault>,
    ) -> Result<()> {
        self.caller.head(head, place);
        if !self.caller.wants_body(head) {
            return Ok(());
        }
        match body() {
            Ok(body) => self.caller.body(head, place, body),
            Err(BodyFault::Lost(damage)) => {
                self.lost(damage);
                Ok(())
            }
            Err(BodyFault::Disk(error)) => Err(super::failed(error, "a frame cannot be read")),
        }
    }

    fn lost(&mut self, damage: Damage) {
        self.caller.lost(&damage);
        self.damage.push(damage);
    }
}

/// Why a body was not read.
pub(crate) enum BodyFault {
    Lost(Damage),
    Disk(std::io::Error),
}

fn read_body(segment: &Segment, place: Place, head: &FrameHead) -> Result<Bytes, BodyFault> {
    segment.read(place).map(|(_, body)| body).map_err(|fault| match fault {
        ReadFault::Disk(error) => BodyFault::Disk(error),
        ReadFault::Head | ReadFault::Body => BodyFault::Lost(frame_damage(segment, place, *head)),
    })
}

/// One frame whose head is known from a footer and that cannot be read.
pub(crate) fn frame_damage(segment: &Segment, place: Place, head: FrameHead) -> Damage {
    let own = head.kind >= KIND_RESERVED_FROM;
    Damage {
        kind: if own { DamageKind::Bookkeeping } else { DamageKind::Frames },
        segment: segment.id(),
        file: segment.name.clone(),
        from: u64::from(place.position),
        until: u64::from(place.position) + crate::format::HEAD_BYTES as u64 + u64::from(place.bytes),
        first: head.log_sequence,
        last: head.log_sequence,
        heads: vec![head],
    }
}

/// A gap of a segment, as far as it counts.
pub(crate) fn damage_of(segment: &Segment, gap: &Gap, last: u64) -> Damage {
    Damage {
        kind: if gap.own { DamageKind::Bookkeeping } else { DamageKind::Frames },
        segment: segment.id(),
        file: segment.name.clone(),
        from: u64::from(gap.from),
        until: u64::from(gap.until),
        first: gap.first,
        last: gap.last.min(last),
        heads: gap.head.into_iter().collect(),
    }
}
