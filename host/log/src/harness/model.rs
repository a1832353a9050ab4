//! What was promised: which frames must be there, which must not, which may.
//!
//! In: what was submitted, what the log said. Out: the first promise broken by what a replay says.

use crate::{Damage, DamageKind, FrameDraft, FrameHead, Observer, Place, Replay, Urgency};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use walhost_core::Result;
use walhost_core::random::mix;

/// Takes in what the log says of the frames' numbers.
#[derive(Default)]
pub(super) struct Told {
    pub(super) committed: Mutex<Vec<(u64, Place)>>,
    pub(super) failed: Mutex<Vec<(u64, bool)>>,
}

impl Observer for Told {
    type Context = u64;

    fn committed(&self, frames: Vec<(u64, Place)>) {
        self.committed.lock().extend(frames);
    }

    fn failed(&self, frames: Vec<u64>, failure: &crate::Failure) {
        self.failed.lock().extend(frames.into_iter().map(|number| (number, failure.void)));
    }
}

/// Takes in a replay.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) frames: Vec<(FrameHead, Place, Option<Bytes>)>,
    pub(super) damage: Vec<Damage>,
}

impl Replay for Kept {
    fn head(&mut self, head: &FrameHead, place: Place) {
        self.frames.push((*head, place, None));
    }

    fn wants_body(&self, _head: &FrameHead) -> bool {
        true
    }

    fn body(&mut self, _head: &FrameHead, _place: Place, body: Bytes) -> Result<()> {
        self.frames.last_mut().expect("a body follows its head").2 = Some(body);
        Ok(())
    }

    fn lost(&mut self, damage: &Damage) {
        self.damage.push(damage.clone());
    }
}

/// What is known of every frame ever submitted.
#[derive(Clone, Default)]
pub(super) struct Model {
    seed: u64,
    next: u64,
    /// Must be there: acknowledged, or told by a replay. With its place as last told.
    must: BTreeMap<u64, Place>,
    /// Submitted, no answer so far, or an answer that leaves it open.
    open: BTreeSet<u64>,
    /// May be there or not: released.
    may: BTreeSet<u64>,
    /// Which frame a log sequence number was given to.
    given: BTreeMap<u64, u64>,
    /// A bit was flipped: one frame may be lost, and must be named.
    pub(super) flipped: bool,
    /// A bit of a header's copy was flipped: nothing may be lost, damage may be named.
    pub(super) header_flipped: bool,
}

impl Model {
    pub(super) fn new(seed: u64) -> Model {
        Model { seed, ..Model::default() }
    }

    /// The number of the next frame.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The next frame to be submitted.
    pub(super) fn draft(&mut self, urgency: Urgency) -> (u64, FrameDraft) {
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        let body = self.body(number);
        let cut = (mix(number ^ self.seed) % (body.len() as u64 + 1)) as usize;
        let draft = FrameDraft {
            kind: 1 + (number % 3) as u8,
            view: number as u32,
            first_offset: number,
            count: body.len() as u32,
            first_sequence: mix(number),
            parts: vec![body.slice(..cut), body.slice(cut..)],
            urgency,
        };
        (number, draft)
    }

    pub(super) fn body(&self, number: u64) -> Bytes {
        let die = mix(number.wrapping_mul(3) ^ self.seed);
        let bytes = match die % 20 {
            0 => 0,
            1 => 2_000 + die / 20 % 6_000,
            2..=5 => 500 + die / 20 % 1_000,
            _ => die / 20 % 300,
        };
        let mut body = Vec::with_capacity(bytes as usize + 8);
        body.extend_from_slice(&number.to_le_bytes());
        body.extend((0..bytes).map(|place| mix(number ^ place << 32) as u8));
        Bytes::from(body)
    }

    /// A number that depends on how far we are.
    pub(super) fn dice(&self) -> u64 {
        mix(self.next ^ self.seed << 20)
    }

    /// It was refused: it was never there.
    pub(super) fn refused(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// What the log said since the last call.
    pub(super) fn told(&mut self, told: &Told) -> Result<(u64, u64), String> {
        let committed = std::mem::take(&mut *told.committed.lock());
        let failed = std::mem::take(&mut *told.failed.lock());
        let counts = (committed.len() as u64, failed.len() as u64);
        for (number, place) in committed {
            if !self.open.remove(&number) {
                return Err(format!("frame {number} was told twice"));
            }
            self.give(place.log_sequence, number)?;
            self.must.insert(number, place);
        }
        for (number, void) in failed {
            // What is void must not come back; what is not stays open.
            if void && !self.open.remove(&number) {
                return Err(format!("frame {number} was told twice"));
            }
        }
        Ok(counts)
    }

    fn give(&mut self, log_sequence: u64, number: u64) -> Result<(), String> {
        match self.given.insert(log_sequence, number) {
            Some(other) if other != number => {
                Err(format!("log sequence number {log_sequence} was given to frame {other} and to {number}"))
            }
            _ => Ok(()),
        }
    }

    /// A segment is given back.
    pub(super) fn release(&mut self, segment: u64) {
        for (number, _) in self.must.extract_if(.., |_, place| place.segment == segment) {
            self.may.insert(number);
        }
    }

    /// Places of frames that must be there.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, Place)> {
        self.must.iter().map(|(number, place)| (*number, *place))
    }

    /// Judges a replay, and takes in what it decided.
    pub(super) fn judge(&mut self, kept: &Kept, torn: u64) -> Result<(), String> {
        let mut last = None;
        let mut seen = BTreeSet::new();
        for (head, place, body) in &kept.frames {
            let number = head.first_offset;
            if last >= Some(number) {
                return Err(format!("frame {number} comes after {last:?}"));
            }
            last = Some(number);
            // A copy of a copy still names the first one.
            self.give(head.log_sequence, number)?;
            self.give(head.origin, number)?;
            let Some(body) = body else { continue };
            if *body != self.body(number) || head.count as usize != body.len() || head.first_sequence != mix(number) {
                return Err(format!("frame {number} has other bytes"));
            }
            if !self.must.contains_key(&number) && !self.open.remove(&number) && !self.may.contains(&number) {
                return Err(format!("frame {number} is void or was never submitted, and is there"));
            }
            seen.insert(number);
            if !self.may.contains(&number) {
                self.must.insert(number, *place);
            }
        }
        // Behind a durable fence, what is not there will not come back.
        self.open.clear();
        let missing: Vec<u64> = self.must.keys().filter(|number| !seen.contains(number)).copied().collect();
        let allowed = usize::from(self.flipped);
        if missing.len() > allowed {
            return Err(format!("frames {missing:?} were acknowledged and are gone; damage {:?}", kept.damage));
        }
        if !missing.is_empty() && kept.damage.is_empty() && torn == 0 {
            let place = self.must.get(&missing[0]);
            let last = kept.frames.last().map(|(head, place, _)| (head, place));
            return Err(format!("frame {missing:?} is lost and not named: it was at {place:?}, the last is {last:?}"));
        }
        let only_header = kept.damage.iter().all(|damage| damage.kind == DamageKind::Header);
        let expected = self.flipped || kept.damage.is_empty() || (self.header_flipped && only_header);
        if !expected {
            return Err(format!("damage is reported and there is none: {:?}", kept.damage));
        }
        for number in missing {
            self.must.remove(&number);
        }
        Ok(())
    }
}
