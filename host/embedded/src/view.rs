//! One namespace on the shared log: its records, targets, dead letters, keys and history in memory, and
//! what each frame changes in them. No disk, no clock, no lock.
//!
//! In: frames that are durable, facts. Out: the state that leases, settlements and questions work on.
//! Everything here can be applied twice: replay goes over what a snapshot already knows.

mod copied;
mod memory;

use crate::dead_letters::{Dead, DeadLetters};
mod again;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::extents::{Extent, Extents};
use crate::frame;
use crate::frame::again::Class;
use crate::frame::append::Meta;
use crate::frame::attempt::Attempts;
use crate::frame::dead::Letter;
use crate::frame::fact::Fact;
use crate::history::{Finished, History};
use crate::idempotency::{First, Keys};
use crate::progress::{Kept, Progress, present};
use std::collections::BTreeMap;
use walhost_core::queue::{Done, QueuePolicy};
use walhost_core::{NamespaceName, TargetName};
use walhost_log::Place;

/// The state of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Its number in the log.
    pub number: u32,
    /// None: the frame that made it is lost; its records are kept.
    pub name: Option<NamespaceName>,
    /// Part of the ids of its records.
    pub incarnation: u32,
    /// The next offset that is given.
    pub next_offset: u64,
    /// Everything below is durable, or will never be.
    pub applied: u64,
    /// Offsets above that will never hold a record, while something before them is on its way: start to end.
    skipped: BTreeMap<u64, u64>,
    /// The last sequence that was given to a record without a due time.
    pub last_sequence: u64,
    /// The next number that is given to a dead letter.
    pub next_dead: u64,
    /// The next number of a fact about when a record is due.
    pub next_change: u64,
    pub extents: Extents,
    /// By number; numbers are never given twice.
    pub targets: Vec<Progress>,
    pub dead: DeadLetters,
    pub keys: Keys,
    pub history: History,
    /// Frames of moved records on their way.
    pub moves_coming: usize,
    /// Start and end of what was settled by everyone and is not counted in the extents.
    settled_run: (u64, u64),
    /// Bytes of appends that are on their way.
    pub reserved_bytes: u64,
    /// Records that some target has not settled.
    pub backlog_records: u64,
    /// Records that damage has taken, over all targets.
    pub lost: u64,
    /// None until the catalogue has opened it.
    pub policy: Option<QueuePolicy>,
    pub removed: bool,
    /// A replay is going on: what is not durable is made at its end.
    pub replaying: bool,
}

/// An append that is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landed {
    pub first_offset: u64,
    pub count: u32,
    pub first_sequence: u64,
    pub place: Place,
}

impl View {
    pub(crate) fn new(number: u32, name: Option<NamespaceName>, incarnation: u32) -> View {
        View {
            number,
            name,
            incarnation,
            next_offset: 0,
            applied: 0,
            skipped: BTreeMap::new(),
            last_sequence: 0,
            next_dead: 0,
            next_change: 1,
            extents: Extents::default(),
            targets: Vec::new(),
            dead: DeadLetters::default(),
            keys: Keys::default(),
            history: History::default(),
            moves_coming: 0,
            settled_run: (0, 0),
            reserved_bytes: 0,
            backlog_records: 0,
            lost: 0,
            policy: None,
            removed: false,
            replaying: false,
        }
    }

    /// The number of a subscribed target.
    pub(crate) fn target(&self, name: &TargetName) -> Option<u16> {
        self.targets.iter().position(|target| !target.ended && target.name == *name).map(|at| at as u16)
    }

    pub(crate) fn progress(&mut self, target: u16) -> Option<&mut Progress> {
        self.targets.get_mut(usize::from(target))
    }

    /// The records of a frame are durable.
    pub(crate) fn append(&mut self, landed: Landed, meta: &Meta) {
        let mut extent = Extent {
            first_offset: landed.first_offset,
            first_sequence: landed.first_sequence,
            place: landed.place,
            count: landed.count,
            live: 0,
            only: meta.only,
            redriven: false,
            delayed: meta.delay.is_some(),
        };
        self.given(&landed, meta.delay.is_some());
        if landed.first_offset < self.applied {
            self.extents.insert(extent);
            return;
        }
        for (number, target) in self.targets.iter_mut().enumerate() {
            if target.ended {
                continue;
            }
            if extent.meant_for(number as u16) {
                let delay = meta.delay.filter(|_| !self.replaying);
                if target.accept(&extent, delay, self.incarnation) > 0 {
                    extent.live = extent.count;
                }
            } else {
                target.exclude(extent.first_offset, extent.end());
            }
        }
        self.applied = extent.end();
        self.pass_skipped();
        self.backlog_records += u64::from(extent.live);
        self.extents.insert(extent);
        if let Some(delay) = meta.delay {
            self.extents.delay(landed.first_offset, delay);
        }
        if let Some(mark) = &meta.idempotency {
            let first = First { first_offset: landed.first_offset, count: landed.count, epoch: meta.epoch };
            self.keys.settle(mark, first, meta.appended_at_ms);
        }
    }

    /// Offsets and sequences up to here are given.
    pub(crate) fn given(&mut self, landed: &Landed, delayed: bool) {
        self.next_offset = self.next_offset.max(landed.first_offset + u64::from(landed.count));
        if !delayed {
            self.last_sequence =
                self.last_sequence.max(landed.first_sequence + u64::from(landed.count).saturating_sub(1));
        }
    }

    /// Offsets that were given and will never hold a record: their append failed.
    pub(crate) fn skip(&mut self, first_offset: u64, count: u32) {
        let end = first_offset + u64::from(count);
        if first_offset >= self.applied {
            self.targets.iter_mut().for_each(|target| target.exclude(first_offset, end));
            self.skipped.insert(first_offset, end);
            self.pass_skipped();
        }
    }

    /// What failed counts as applied when everything before it does: a lazy redrive may still be on its way.
    fn pass_skipped(&mut self) {
        while let Some(end) = self.skipped.remove(&self.applied) {
            self.applied = end;
        }
    }

    /// What its frame says of the record at an offset.
    pub(crate) fn kept(&self, offset: u64) -> Kept {
        kept_in(&self.extents, offset)
    }

    /// What the record at an offset waits for, when it was appended again.
    pub(crate) fn class_of(&self, offset: u64) -> Option<Class> {
        self.extents.find(offset).filter(|extent| extent.redriven).and_then(|extent| Class::of(extent.first_sequence))
    }

    /// Whether the record at an offset was moved: nobody meets it in the order of offsets.
    pub(crate) fn is_moved(&self, offset: u64) -> bool {
        !matches!(self.class_of(offset), None | Some(Class::Ready))
    }

    /// When the record at an offset is due by its own time.
    pub(crate) fn due_ms(&self, offset: u64) -> Option<u64> {
        let delay = self.extents.find(offset).and_then(|extent| self.extents.delay_of(&extent))?;
        Some(delay.due_ms(self.incarnation, offset))
    }

    /// Where a record is for a target.
    pub(crate) fn present(&self, origin: u64, target: u16) -> u64 {
        self.targets.get(usize::from(target)).map_or(origin, |progress| present(&progress.moved, origin))
    }

    /// Ends a record for a target; none when it was ended before.
    fn end(&mut self, target: u16, offset: u64, parks: Option<u64>) -> Option<Attempts> {
        let View { targets, extents, replaying, .. } = self;
        let kept = || if *replaying { Kept::Fresh } else { kept_in(extents, offset) };
        let attempts = targets.get_mut(usize::from(target))?.settle(offset, kept, parks)?;
        self.settled(offset);
        Some(attempts)
    }

    /// A target has settled what is at an offset. Offsets that follow one another are counted together.
    fn settled(&mut self, offset: u64) {
        if self.replaying || !self.targets.iter().all(|target| target.ended || target.settled.contains(offset)) {
            return;
        }
        self.backlog_records = self.backlog_records.saturating_sub(1);
        if self.settled_run.1 != offset {
            self.count_settled();
            self.settled_run.0 = offset;
        }
        self.settled_run.1 = offset + 1;
    }

    /// Takes what was settled by everyone out of what is live of its frames.
    fn count_settled(&mut self) {
        let (start, end) = std::mem::take(&mut self.settled_run);
        if start < end {
            self.extents.settle_range(start, end);
        }
    }

    fn forget_move(&mut self, target: u16, origin: u64) {
        if let Some(progress) = self.progress(target)
            && !progress.moved.is_empty()
        {
            progress.moved.remove(&origin);
        }
    }

    /// Numbers the facts that a later one of their kind may overrule.
    pub(crate) fn number(&mut self, facts: &mut [Fact]) {
        for fact in facts {
            if let Fact::Later { change, .. } | Fact::Rescheduled { change, .. } = fact {
                *change = self.next_change;
                self.next_change += 1;
            }
        }
    }

    /// Makes facts true, one after another.
    pub(crate) fn apply_all(&mut self, facts: &[Fact]) {
        facts.iter().for_each(|fact| self.apply_one(fact));
        self.count_settled();
    }

    /// Makes a fact true. Facts about targets or records that are not there change nothing.
    pub(crate) fn apply(&mut self, fact: &Fact) {
        self.apply_one(fact);
        self.count_settled();
    }

    fn apply_one(&mut self, fact: &Fact) {
        match fact {
            Fact::Made { .. } => {}
            Fact::Removed => self.removed = true,
            Fact::Subscribed { target, name, from } => self.subscribe(*target, name, *from),
            Fact::Unsubscribed { target } => self.unsubscribe(*target),
            Fact::Done { target, offset, outcome, at_ms, attempt } => {
                let at = self.present(*offset, *target);
                let Some(mut attempts) = self.end(*target, at, None) else { return };
                if let Some(attempt) = attempt {
                    attempts.add(attempt);
                }
                let counters = &mut self.targets[usize::from(*target)].counters;
                match outcome {
                    Done::Delivered => counters.delivered += 1,
                    Done::Filtered => counters.filtered += 1,
                    Done::Cancelled => counters.cancelled += 1,
                }
                self.history.add((*offset, *target), Finished { outcome: *outcome, at_ms: *at_ms, attempts });
                self.forget_move(*target, *offset);
            }
            Fact::Later { target, offset, due_ms, change, spent } => {
                self.next_change = self.next_change.max(change.saturating_add(1));
                let at = self.present(*offset, *target);
                let View { targets, extents, replaying, .. } = self;
                let kept = || if *replaying { Kept::Fresh } else { kept_in(extents, at) };
                if let Some(progress) = targets.get_mut(usize::from(*target)) {
                    progress.later(at, (*due_ms, *change), spent.as_ref(), kept);
                }
            }
            Fact::Rescheduled { target, offset, due_ms, change } => {
                self.next_change = self.next_change.max(change.saturating_add(1));
                let at = self.present(*offset, *target);
                let View { targets, extents, replaying, .. } = self;
                let kept = || if *replaying { Kept::Fresh } else { kept_in(extents, at) };
                if let Some(progress) = targets.get_mut(usize::from(*target)) {
                    progress.reschedule(at, (*due_ms, *change), kept);
                }
            }
            Fact::Purged { dead } => self.bury(*dead, false),
            Fact::Expired { dead } => self.bury(*dead, true),
            Fact::Started { target, offset, start } => {
                if let Some(progress) = self.progress(*target).filter(|one| !one.settled.contains(*offset)) {
                    progress.suspects.start(*offset, *start);
                }
            }
            Fact::Crashed { target, offset, crashes } => {
                if let Some(progress) = self.progress(*target).filter(|one| !one.settled.contains(*offset)) {
                    progress.suspects.count(*offset, *crashes);
                }
            }
        }
    }

    fn subscribe(&mut self, target: u16, name: &str, from: u64) {
        let Ok(name) = TargetName::new(name) else { return };
        if usize::from(target) != self.targets.len() {
            return;
        }
        let mut progress = Progress::new(name, from.min(self.applied));
        // What was appended after `from` and before now is there already; the rest is accepted as it comes.
        let mut at = progress.settled.floor();
        for extent in self.extents.from(at).collect::<Vec<_>>() {
            progress.exclude(at, extent.first_offset);
            if extent.meant_for(target) {
                let delay = self.extents.delay_of(&extent).filter(|_| !self.replaying);
                progress.accept(&extent, delay, self.incarnation);
            } else {
                progress.exclude(extent.first_offset, extent.end());
            }
            at = extent.end();
        }
        progress.exclude(at, self.applied);
        progress.exclude(0, from);
        progress.cursor = progress.settled.floor();
        self.targets.push(progress);
        if !self.replaying {
            self.recount();
        }
    }

    fn unsubscribe(&mut self, target: u16) {
        let Some(progress) = self.progress(target) else { return };
        if progress.ended {
            return;
        }
        let counters = &mut progress.counters;
        counters.cancelled += counters.pending;
        counters.pending = 0;
        let (name, counters) = (progress.name.clone(), *counters);
        *progress = Progress::new(name, u64::MAX);
        (progress.ended, progress.counters) = (true, counters);
        if !self.replaying {
            self.recount();
        }
    }

    /// A dead letter is removed for good.
    fn bury(&mut self, number: u64, expired: bool) {
        let Some(dead) = self.take_dead(number) else { return };
        let counters = &mut self.targets[usize::from(dead.target)].counters;
        *(if expired { &mut counters.expired } else { &mut counters.purged }) += 1;
    }

    fn take_dead(&mut self, number: u64) -> Option<Dead> {
        let dead = self.dead.get(number)?;
        if usize::from(dead.target) >= self.targets.len() {
            return None;
        }
        let dead = self.dead.remove(number)?;
        let counters = &mut self.targets[usize::from(dead.target)].counters;
        counters.dead = counters.dead.saturating_sub(1);
        if let Some(place) = dead.place
            && !self.replaying
        {
            self.extents.unhold(place.segment, dead.log_bytes());
        }
        Some(dead)
    }

    /// Dead letters are durable; their records are settled by that.
    pub(crate) fn bring_out(&mut self, first: u64, letters: &[Letter], place: Place) {
        for (index, letter) in letters.iter().enumerate() {
            let number = first + index as u64;
            self.next_dead = self.next_dead.max(number + 1);
            if self.dead.get(number).is_some() {
                self.dead.place(number, place, index as u32, letters.len() as u32);
                continue;
            }
            let at = self.present(letter.origin, letter.target);
            if at >= letter.below || self.end(letter.target, at, letter.parks).is_none() {
                continue;
            }
            self.forget_move(letter.target, letter.origin);
            self.targets[usize::from(letter.target)].counters.dead += 1;
            let dead = Dead::new(letter, place, index as u32, letters.len() as u32);
            if !self.replaying {
                self.extents.hold(place.segment, dead.log_bytes());
            }
            self.dead.insert(number, dead);
        }
        self.count_settled();
    }

    /// Letters could not be written, or not be submitted: their leases go on, and those that were to follow
    /// their key wait again.
    pub(crate) fn unclaim(&mut self, letters: &[Letter]) {
        for letter in letters {
            let at = self.present(letter.origin, letter.target);
            if let Some(progress) = self.progress(letter.target) {
                progress.claim(at, false);
            }
        }
        let Some(target) = letters.first().map(|letter| letter.target) else { return };
        let offsets: Vec<u64> = letters.iter().map(|letter| self.present(letter.origin, target)).collect();
        if let Some(progress) = self.progress(target) {
            progress.give_back(&offsets);
        }
    }

    /// A frame that the snapshot knows is at this place.
    pub(crate) fn place(&mut self, landed: Landed, kind: u8) {
        let Landed { first_offset, count, first_sequence, place } = landed;
        self.next_offset = self.next_offset.max(first_offset + u64::from(count));
        let only = frame::ALL_TARGETS;
        let (redriven, delayed) = (kind == frame::AGAIN, kind == frame::APPEND_DELAYED);
        let extent = Extent { first_offset, first_sequence, place, count, live: 0, only, redriven, delayed };
        self.extents.insert(extent);
    }

    /// All frames were replayed: what is not durable is made anew, holes are closed, and the counters are
    /// held against what is there. Answers how many records damage has taken.
    pub(crate) fn finish_replay(&mut self) -> u64 {
        self.replaying = false;
        self.applied = self.applied.max(self.extents.end());
        self.next_offset = self.next_offset.max(self.applied);
        let mut lost = 0;
        for (number, target) in self.targets.iter_mut().enumerate().filter(|(_, target)| !target.ended) {
            let mut at = 0;
            let mut open = 0;
            for extent in self.extents.from(0) {
                target.exclude(at, extent.first_offset);
                if extent.meant_for(number as u16) {
                    open += target.settled.missing(extent.first_offset, extent.end());
                } else {
                    target.exclude(extent.first_offset, extent.end());
                }
                at = extent.end();
            }
            target.exclude(at, self.applied);
            let missing = target.counters.pending.saturating_sub(open);
            target.counters.accepted -= missing;
            // The frame itself was lost to damage, its copy was not, and nobody had counted it.
            target.counters.accepted += open.saturating_sub(target.counters.pending);
            target.counters.pending = open;
            lost += missing;
            let extents = &self.extents;
            target.rebuild(|offset| {
                let extent = extents.find(offset).filter(|extent| extent.redriven)?;
                Class::of(extent.first_sequence)
            });
            for extent in self.extents.from(0).filter(|extent| extent.delayed && extent.meant_for(number as u16)) {
                if let Some(delay) = self.extents.delay_of(&extent) {
                    target.schedule_all(&extent, delay, self.incarnation);
                }
            }
        }
        let letters: Vec<(u64, u16, Option<Place>, u64)> =
            self.dead.from(0).map(|(n, dead)| (n, dead.target, dead.place, dead.log_bytes())).collect();
        for (number, target, place, bytes) in letters {
            match place {
                Some(place) => self.extents.hold(place.segment, bytes),
                None => {
                    self.dead.remove(number);
                    if let Some(progress) = self.progress(target) {
                        progress.counters.dead = progress.counters.dead.saturating_sub(1);
                        progress.counters.accepted = progress.counters.accepted.saturating_sub(1);
                    }
                    lost += 1;
                }
            }
        }
        self.lost += lost;
        self.recount();
        lost
    }

    /// Counts anew which records some target has not settled.
    pub(crate) fn recount(&mut self) {
        let targets: Vec<&Progress> = self.targets.iter().filter(|target| !target.ended).collect();
        let mut records = 0;
        self.extents.set_all_live(|extent| {
            let mut live = 0;
            if let [target] = targets[..] {
                live = target.settled.missing(extent.first_offset, extent.end());
            } else {
                let mut open = extent.first_offset;
                while open < extent.end() {
                    let next = targets.iter().map(|target| target.settled.first_missing(open)).min();
                    let Some(next) = next.filter(|next| *next < extent.end()) else { break };
                    live += 1;
                    open = next + 1;
                }
            }
            records += live;
            live as u32
        });
        self.backlog_records = records;
    }

    /// A frame cannot be read any more: nobody waits for its records. Answers how many that took away.
    pub(crate) fn lose(&mut self, extent: &Extent) -> u64 {
        let kept = self.kept(extent.first_offset);
        let mut lost = 0;
        for target in self.targets.iter_mut().filter(|target| !target.ended) {
            if extent.redriven {
                target.forget_moves(extent.first_offset, extent.end());
            }
            for offset in extent.first_offset..extent.end() {
                if target.settle(offset, || kept, None).is_some() {
                    target.counters.accepted -= 1;
                    lost += 1;
                }
            }
        }
        self.lost += lost;
        let live = self.extents.find(extent.first_offset).map_or(0, |extent| extent.live);
        self.backlog_records = self.backlog_records.saturating_sub(u64::from(live));
        self.extents.set_live(extent.first_offset, 0);
        lost
    }
}

/// What its frame says of the record at an offset.
fn kept_in(extents: &Extents, offset: u64) -> Kept {
    match extents.find(offset) {
        Some(extent) if extent.redriven => match Class::of(extent.first_sequence) {
            Some(Class::Retry) => Kept::Retry,
            Some(Class::Time) => Kept::Time,
            Some(Class::Behind) => Kept::Behind,
            Some(Class::Ready) | None => Kept::Fresh,
        },
        Some(extent) if extent.delayed => Kept::Delayed,
        _ => Kept::Fresh,
    }
}
