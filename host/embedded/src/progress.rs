//! One target's progress: what is settled, what was tried, what is leased, what waits.
//!
//! In: records accepted, leases, settlements, time. Out: the next offsets to hand out; counters of I12.
//!
//! Settled offsets, tries, moves, held keys and counters are durable (frames and snapshots); everything else
//! is made again from them at a restart.

mod order;
mod rebuild;
mod relocate;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use relocate::present;

use crate::extents::Extent;
use crate::frame::append::Delay;
use crate::frame::attempt::Attempts;
use crate::frame::fact::Spent;
use crate::limits::{MOVE_WAIT_MS, PLACE_BYTES, TRIED_BYTES};
use crate::runs::Runs;
use crate::spread::{SpreadMap, StillMap};
use crate::suspects::Suspects;
use std::collections::{BTreeSet, VecDeque};
use walhost_core::TargetName;
use walhost_core::inspect::State;
use walhost_core::queue::Accounting;
use walhost_core::schedule::{KeyHolds, Schedule};

/// Records whose time has come that are taken over at once, so that a million of them do not hold the lock.
const DUE_AT_ONCE_MAX: usize = 4_096;
/// Ends of leases that were settled before, beyond as many as there are leases: then they are cleared away.
const EXPIRY_SLACK: usize = 4_096;

/// A record that was tried, moved in time, or brought its history along. Of one that was appended again, only
/// what is newer than its frame may be here, until it is leased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// Number of the last attempt that was spent; 0: none.
    pub number: u32,
    /// Attempts spent of the present budget.
    pub spent: u32,
    pub first_spent_at_ms: Option<u64>,
    /// When it is or was due; 0: it never waited.
    pub due_ms: u64,
    /// The newest fact that said so.
    pub change: u64,
    /// It waits for its own time, not for another attempt.
    pub by_time: bool,
    pub waiting: bool,
    /// In a replay: all of it is in the record's frame, and need not stay in memory.
    pub in_frame: bool,
    pub attempts: Attempts,
}

/// What the frame alone says of a record, which holds while nothing newer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is next in the order of offsets.
    Fresh,
    /// It waits for the time that it was appended with.
    Delayed,
    /// It was moved, and waits for its next attempt.
    Retry,
    /// It was moved, and waits for a time of its own.
    Time,
    /// It was moved, and waits behind its key.
    Behind,
}

/// A right handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    pub offset: u64,
    /// Where the record was first appended: facts name it by that.
    pub origin: u64,
    /// In monotonic milliseconds.
    pub until_ms: u64,
    /// A dead letter for it is on its way to the disk: it does not end by itself.
    pub settling: bool,
    /// It follows its parked key into the dead letters.
    pub following: bool,
    /// Hash of the record's key; none without one.
    pub key_hash: Option<u64>,
    /// Nothing else of the target is handed out meanwhile (I15).
    pub alone: bool,
}

/// Progress of one target.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub name: TargetName,
    /// The subscription has ended; what is left are its counters and dead letters.
    pub ended: bool,
    pub counters: Accounting,
    pub settled: Runs,
    pub tried: StillMap<u64, Tried>,
    /// First offset of a record that was appended again, to its present one.
    pub moved: StillMap<u64, u64>,
    /// From a snapshot: what moved records wait for (due, offset, whether for an attempt).
    pub kept_waits: Vec<(u64, u64, bool)>,
    /// Facts with lower numbers about records of which the snapshot says nothing do not count any more.
    pub base_change: u64,
    /// The next offset that was never handed out.
    pub cursor: u64,
    /// Below it, offsets past the cursor may have been handed out before.
    rewound_until: u64,
    /// Can be leased again, in order.
    pub ready: BTreeSet<u64>,
    /// Twice the offset, plus one when it waits for an attempt.
    schedule: Schedule,
    pub leases: SpreadMap<u64, Leased>,
    leased: SpreadMap<u64, u64>,
    expiry: Schedule,
    next_token: u64,
    pub holds: KeyHolds,
    /// Offset to the hash of the key that it holds.
    holding: SpreadMap<u64, u64>,
    /// Offset to the hash of the key that it waits for, of those that were not moved.
    held: SpreadMap<u64, u64>,
    /// Of those that were moved, how many wait for a key.
    held_moved: u64,
    /// Since a restart: those that had started, wait for their retry and have not taken their keys; the last
    /// one goes first.
    pub started: Vec<u64>,
    /// Parked keys with somebody behind them who is to follow.
    pub follow: VecDeque<u64>,
    retrying: u64,
    scheduled: u64,
    /// A dead letter parks its key.
    pub parking: bool,
    /// The lease of the record that goes alone.
    pub alone: Option<u64>,
    /// Offsets that were to wait for long when they began to.
    pub long: Vec<u64>,
    /// The time of day and the monotonic time that it has seen last.
    seen_ms: u64,
    monotonic_ms: u64,
    pub suspects: Suspects,
}

impl Progress {
    pub(crate) fn new(name: TargetName, from: u64) -> Progress {
        Progress {
            name,
            ended: false,
            counters: Accounting::default(),
            settled: Runs::from_floor(from),
            tried: StillMap::default(),
            moved: StillMap::default(),
            kept_waits: Vec::new(),
            base_change: 0,
            cursor: from,
            rewound_until: 0,
            ready: BTreeSet::new(),
            schedule: Schedule::default(),
            leases: SpreadMap::default(),
            leased: SpreadMap::default(),
            expiry: Schedule::default(),
            next_token: 1,
            holds: KeyHolds::default(),
            holding: SpreadMap::default(),
            held: SpreadMap::default(),
            held_moved: 0,
            started: Vec::new(),
            follow: VecDeque::new(),
            retrying: 0,
            scheduled: 0,
            parking: false,
            alone: None,
            long: Vec::new(),
            seen_ms: 0,
            monotonic_ms: 0,
            suspects: Suspects::default(),
        }
    }

    /// Takes the records of a frame that is meant for this target; answers how many those are.
    pub(crate) fn accept(&mut self, extent: &Extent, delay: Option<Delay>, incarnation: u32) -> u64 {
        let missing = self.settled.missing(extent.first_offset, extent.end());
        self.counters.accepted += missing;
        self.counters.pending += missing;
        if let Some(delay) = delay {
            self.schedule_all(extent, delay, incarnation);
        }
        missing
    }

    /// Puts every open record of a delayed frame into the schedule, unless it was tried or moved in time.
    pub(crate) fn schedule_all(&mut self, extent: &Extent, delay: Delay, incarnation: u32) {
        for offset in extent.first_offset..extent.end() {
            if !self.settled.contains(offset) && !self.tried.contains_key(&offset) {
                self.schedule.insert(delay.due_ms(incarnation, offset), offset << 1);
                self.scheduled += 1;
            }
        }
    }

    /// These offsets are nothing for this target.
    pub(crate) fn exclude(&mut self, start: u64, end: u64) {
        self.settled.insert_range(start, end);
    }

    /// Ends the record: no when it was settled before. Answers with the attempts that were kept. With a hash
    /// it parks that key: who waits for it is to follow.
    pub(crate) fn settle(&mut self, offset: u64, kept: impl FnOnce() -> Kept, parks: Option<u64>) -> Option<Attempts> {
        if !self.settled.insert(offset) {
            return None;
        }
        self.counters.pending = self.counters.pending.saturating_sub(1);
        self.suspects.forget(offset);
        let follows = self.unwait(offset, kept).is_some_and(|leased| leased.following);
        match parks {
            Some(hash) => self.close_key(hash, offset, follows),
            None => self.release_key(offset),
        }
        if self.tried.is_empty() {
            return Some(Attempts::default());
        }
        Some(self.tried.remove(&offset).map(|tried| tried.attempts).unwrap_or_default())
    }

    /// The record is not settled, whatever it waited for it does not any more. Answers with the lease that it
    /// had.
    fn unwait(&mut self, offset: u64, kept: impl FnOnce() -> Kept) -> Option<Leased> {
        if let Some(token) = self.leased.remove(&offset) {
            return self.leases.remove(&token);
        }
        if self.ready.remove(&offset) || self.held.remove(&offset).is_some() {
            return None;
        }
        let kept = kept();
        match self.tried.get_mut(&offset) {
            Some(tried) if tried.waiting => {
                tried.waiting = false;
                let count = if tried.by_time { &mut self.scheduled } else { &mut self.retrying };
                *count = count.saturating_sub(1);
            }
            Some(_) if kept != Kept::Behind => {}
            _ => {
                let count = match kept {
                    Kept::Fresh => return None,
                    Kept::Delayed | Kept::Time => &mut self.scheduled,
                    Kept::Retry => &mut self.retrying,
                    Kept::Behind => &mut self.held_moved,
                };
                *count = count.saturating_sub(1);
            }
        }
        None
    }

    /// True when a newer fact than this one is known about the record.
    fn is_stale(&self, offset: u64, change: u64) -> bool {
        match self.tried.get(&offset) {
            Some(tried) => tried.change > change,
            None => change < self.base_change,
        }
    }

    /// The record waits for its next attempt. False when it is settled.
    pub(crate) fn later(
        &mut self,
        offset: u64,
        (due_ms, change): (u64, u64),
        spent: Option<&Spent>,
        kept: impl FnOnce() -> Kept,
    ) -> bool {
        if self.settled.contains(offset) {
            return false;
        }
        self.suspects.end(offset);
        let stale = self.is_stale(offset, change);
        if stale && !self.tried.contains_key(&offset) {
            return true;
        }
        if !stale {
            self.unwait(offset, kept);
        }
        let tried = self.tried.entry(offset).or_default();
        if let Some(spent) = spent
            && spent.attempt.number > tried.number
        {
            tried.number = spent.attempt.number;
            tried.spent = spent.spent;
            tried.first_spent_at_ms = Some(spent.first_spent_at_ms);
            tried.attempts.add(&spent.attempt);
            tried.in_frame = false;
        }
        if !stale {
            self.wait(offset, due_ms, change, false);
        }
        true
    }

    /// The record waits for another time of its own, and blocks nobody until then. False when it is settled.
    pub(crate) fn reschedule(
        &mut self,
        offset: u64,
        (due_ms, change): (u64, u64),
        kept: impl FnOnce() -> Kept,
    ) -> bool {
        if self.settled.contains(offset) || self.is_stale(offset, change) {
            return false;
        }
        self.unwait(offset, kept);
        self.release_key(offset);
        self.wait(offset, due_ms, change, true);
        true
    }

    fn wait(&mut self, offset: u64, due_ms: u64, change: u64, by_time: bool) {
        let tried = self.tried.entry(offset).or_default();
        (tried.due_ms, tried.change, tried.by_time, tried.waiting) = (due_ms.max(1), change, by_time, true);
        tried.in_frame = false;
        self.schedule.insert(tried.due_ms, offset << 1 | u64::from(!by_time));
        *(if by_time { &mut self.scheduled } else { &mut self.retrying }) += 1;
        if due_ms > self.seen_ms.saturating_add(MOVE_WAIT_MS) {
            self.long.push(offset);
        }
    }

    /// Takes over what is due by now and the leases that have ended.
    pub(crate) fn advance(&mut self, now_ms: u64, monotonic_ms: u64) {
        (self.seen_ms, self.monotonic_ms) = (now_ms, monotonic_ms);
        while self.ready.len() < DUE_AT_ONCE_MAX
            && let Some((due_ms, entry)) = self.schedule.pop_due(now_ms)
        {
            let (offset, retry) = (entry >> 1, entry & 1 == 1);
            if self.settled.contains(offset) {
                continue;
            }
            let by_time = match self.tried.get_mut(&offset) {
                Some(tried) if tried.waiting && tried.due_ms == due_ms => {
                    tried.waiting = false;
                    tried.by_time
                }
                Some(_) => continue,
                None => !retry,
            };
            let count = if by_time { &mut self.scheduled } else { &mut self.retrying };
            *count = count.saturating_sub(1);
            self.ready.insert(offset);
        }
        while let Some((_, token)) = self.expiry.pop_due(monotonic_ms) {
            let Some(lease) = self.leases.get(&token).copied() else { continue };
            if lease.settling || lease.until_ms > monotonic_ms {
                self.expiry.insert(lease.until_ms.max(monotonic_ms + 1), token);
                continue;
            }
            self.leases.remove(&token);
            self.leased.remove(&lease.offset);
            self.ready.insert(lease.offset);
        }
    }

    /// Bytes that what waits for its time takes in memory.
    #[cfg(test)]
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.schedule.bytes()
    }

    /// When something becomes due, in milliseconds since the epoch, and when a lease ends, in monotonic
    /// milliseconds.
    pub(crate) fn next_wake(&self) -> (Option<u64>, Option<u64>) {
        (self.schedule.next_due_ms(), self.expiry.next_due_ms())
    }

    /// Hands the record out: answers with the token.
    pub(crate) fn lease(&mut self, (offset, origin): (u64, u64), until_ms: u64, key_hash: Option<u64>) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        let leased = Leased { offset, origin, until_ms, settling: false, following: false, key_hash, alone: false };
        self.leases.insert(token, leased);
        self.leased.insert(offset, token);
        if self.expiry.count() > 2 * self.leases.len() + EXPIRY_SLACK {
            self.expiry = Schedule::default();
            self.leases.iter().for_each(|(token, lease)| self.expiry.insert(lease.until_ms, *token));
        } else {
            self.expiry.insert(until_ms, token);
        }
        token
    }

    /// Begins the visibility of a lease anew.
    pub(crate) fn extend(&mut self, token: u64, until_ms: u64) {
        if let Some(lease) = self.leases.get_mut(&token) {
            // A later end is noticed when the earlier one comes.
            if until_ms < lease.until_ms {
                self.expiry.insert(until_ms, token);
            }
            lease.until_ms = until_ms;
        }
    }

    /// A dead letter for these records is on its way, or could not be written.
    pub(crate) fn claim(&mut self, offset: u64, settling: bool) {
        if let Some(leased) = self.leased.get(&offset).and_then(|token| self.leases.get_mut(token)) {
            leased.settling = settling;
        }
    }

    /// True when the record that the cursor stands at is handed out, or will be, by another way.
    pub(crate) fn passed_over(&self, offset: u64) -> bool {
        let waits = !self.tried.is_empty() && self.tried.get(&offset).is_some_and(|tried| tried.waiting);
        let managed = offset < self.rewound_until || !self.tried.is_empty();
        waits
            || managed
                && (self.ready.contains(&offset)
                    || self.leased.contains_key(&offset)
                    || self.held.contains_key(&offset))
    }

    /// True when a record that goes alone is handed out: nothing else is until it is settled.
    pub(crate) fn waits_for_suspect(&self) -> bool {
        // Followers of a parked key may be on their way to the dead letters beside it.
        self.alone.is_some_and(|token| self.leases.contains_key(&token))
    }

    /// Something is handed out.
    pub(crate) fn is_leased(&self) -> bool {
        !self.leases.is_empty()
    }

    /// Where an open record stands, and when it is due as far as that is known here.
    pub(crate) fn state(&self, offset: u64, kept: Kept) -> (State, Option<u64>) {
        if self.leased.contains_key(&offset) {
            return (State::InFlight, None);
        }
        if self.ready.contains(&offset) {
            return (State::Ready, None);
        }
        if self.held.contains_key(&offset) {
            return (State::Held, None);
        }
        match (self.tried.get(&offset), kept) {
            (Some(tried), _) if tried.waiting && tried.by_time => (State::Scheduled, Some(tried.due_ms)),
            (Some(tried), _) if tried.waiting => (State::Retrying, Some(tried.due_ms)),
            (_, Kept::Behind) => (State::Held, None),
            (None, Kept::Delayed | Kept::Time) => (State::Scheduled, None),
            (None, Kept::Retry) => (State::Retrying, None),
            _ => (State::Ready, None),
        }
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let places =
            self.ready.len() + 2 * self.leases.len() + 2 * self.held.len() + self.holding.len() + self.started.len();
        let places = places + self.schedule.count() + self.expiry.count() + self.settled.count();
        places as u64 * PLACE_BYTES + self.tried.len() as u64 * TRIED_BYTES
    }

    /// Of the pending: in flight, retrying, scheduled, held.
    pub(crate) fn waiting(&self) -> (u64, u64, u64, u64) {
        (self.leases.len() as u64, self.retrying, self.scheduled, self.held.len() as u64 + self.held_moved)
    }
}
