//! One target's progress: what is settled, what was tried, what is leased, what waits.
//!
//! In: records accepted, leases, settlements, time. Out: the next offsets to hand out; counters of I12.
//!
//! Settled offsets, tries and counters are durable (frames and snapshots); everything else is made again
//! from them at a restart.

use crate::extents::Extent;
use crate::frame::append::Delay;
use crate::frame::attempt::Attempts;
use crate::frame::fact::Spent;
use crate::limits::{PLACE_BYTES, TRIED_BYTES};
use crate::runs::Runs;
use crate::spread::{SpreadMap, StillMap};
use std::collections::BTreeSet;
use walhost_core::TargetName;
use walhost_core::inspect::State;
use walhost_core::queue::Accounting;
use walhost_core::schedule::{KeyHolds, Schedule};

/// Records whose time has come that are taken over at once, so that a million of them do not hold the lock.
const DUE_AT_ONCE_MAX: usize = 4_096;
/// Ends of leases that were settled before, beyond as many as there are leases: then they are cleared away.
const EXPIRY_SLACK: usize = 4_096;

/// A record that was tried, moved in time, or brought its history along.
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
    pub attempts: Attempts,
}

/// A right handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leased {
    pub offset: u64,
    /// In monotonic milliseconds.
    pub until_ms: u64,
    /// A dead letter for it is on its way to the disk: it does not end by itself.
    pub settling: bool,
    /// Hash of the record's key; none without one.
    pub key_hash: Option<u64>,
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
    /// The next offset that was never handed out.
    pub cursor: u64,
    /// Below it, offsets past the cursor may have been handed out before.
    rewound_until: u64,
    /// Can be leased again, in order.
    pub ready: BTreeSet<u64>,
    schedule: Schedule<u64>,
    pub leases: SpreadMap<u64, Leased>,
    leased: SpreadMap<u64, u64>,
    expiry: Schedule<u64>,
    next_token: u64,
    holds: KeyHolds,
    /// Offset to the hash of the key that it holds.
    holding: SpreadMap<u64, u64>,
    /// Offset to the hash of the key that it waits for.
    held: SpreadMap<u64, u64>,
    retrying: u64,
    scheduled: u64,
    /// A dead letter parks its key.
    pub parking: bool,
}

impl Progress {
    pub(crate) fn new(name: TargetName, from: u64) -> Progress {
        Progress {
            name,
            ended: false,
            counters: Accounting::default(),
            settled: Runs::from_floor(from),
            tried: StillMap::default(),
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
            retrying: 0,
            scheduled: 0,
            parking: false,
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
                self.schedule.insert(delay.due_ms(incarnation, offset), offset);
                self.scheduled += 1;
            }
        }
    }

    /// These offsets are nothing for this target.
    pub(crate) fn exclude(&mut self, start: u64, end: u64) {
        self.settled.insert_range(start, end);
    }

    /// Ends the record: no when it was settled before. Answers with the attempts that were kept.
    pub(crate) fn settle(&mut self, offset: u64, delayed: bool) -> Option<Attempts> {
        if !self.settled.insert(offset) {
            return None;
        }
        self.counters.pending = self.counters.pending.saturating_sub(1);
        self.unwait(offset, delayed);
        self.release_key(offset);
        Some(self.tried.remove(&offset).map(|tried| tried.attempts).unwrap_or_default())
    }

    /// The record is not settled, whatever it waited for it does not any more.
    fn unwait(&mut self, offset: u64, delayed: bool) {
        if let Some(token) = self.leased.remove(&offset) {
            self.leases.remove(&token);
        } else if self.ready.remove(&offset) {
        } else if let Some(hash) = self.held.remove(&offset) {
            self.holds.forget(hash, offset);
        } else {
            match self.tried.get_mut(&offset) {
                Some(tried) if tried.waiting => {
                    tried.waiting = false;
                    let count = if tried.by_time { &mut self.scheduled } else { &mut self.retrying };
                    *count = count.saturating_sub(1);
                }
                None if delayed => self.scheduled = self.scheduled.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn release_key(&mut self, offset: u64) {
        if let Some(hash) = self.holding.remove(&offset)
            && let Some(next) = self.holds.release(hash, offset)
        {
            self.held.remove(&next);
            self.holding.insert(next, hash);
            self.ready.insert(next);
        }
    }

    /// The record waits for its next attempt. False when it is settled.
    pub(crate) fn later(
        &mut self,
        offset: u64,
        (due_ms, change): (u64, u64),
        spent: Option<&Spent>,
        delayed: bool,
    ) -> bool {
        if self.settled.contains(offset) {
            return false;
        }
        let stale = self.tried.get(&offset).is_some_and(|tried| tried.change > change);
        if !stale {
            self.unwait(offset, delayed);
        }
        let tried = self.tried.entry(offset).or_default();
        if let Some(spent) = spent
            && spent.attempt.number > tried.number
        {
            tried.number = spent.attempt.number;
            tried.spent = spent.spent;
            tried.first_spent_at_ms = Some(spent.first_spent_at_ms);
            tried.attempts.add(&spent.attempt);
        }
        if !stale {
            self.wait(offset, due_ms, change, false);
        }
        true
    }

    /// The record waits for another time of its own, and blocks nobody until then. False when it is settled.
    pub(crate) fn reschedule(&mut self, offset: u64, (due_ms, change): (u64, u64), delayed: bool) -> bool {
        if self.settled.contains(offset) || self.tried.get(&offset).is_some_and(|tried| tried.change > change) {
            return false;
        }
        self.unwait(offset, delayed);
        self.release_key(offset);
        self.wait(offset, due_ms, change, true);
        true
    }

    fn wait(&mut self, offset: u64, due_ms: u64, change: u64, by_time: bool) {
        let tried = self.tried.entry(offset).or_default();
        (tried.due_ms, tried.change, tried.by_time, tried.waiting) = (due_ms.max(1), change, by_time, true);
        self.schedule.insert(tried.due_ms, offset);
        *(if by_time { &mut self.scheduled } else { &mut self.retrying }) += 1;
    }

    /// Makes everything anew that is not durable.
    pub(crate) fn rebuild(&mut self) {
        let fresh = Progress::new(self.name.clone(), self.settled.floor());
        let old = std::mem::replace(self, fresh);
        (self.ended, self.counters, self.settled, self.next_token) =
            (old.ended, old.counters, old.settled, old.next_token);
        self.tried = old.tried;
        let settled = &self.settled;
        self.tried.retain(|offset, _| !settled.contains(*offset));
        for (offset, tried) in self.tried.iter_mut() {
            tried.waiting = tried.due_ms > 0;
            if tried.waiting {
                self.schedule.insert(tried.due_ms, *offset);
                *(if tried.by_time { &mut self.scheduled } else { &mut self.retrying }) += 1;
            }
        }
    }

    /// Takes over what is due by now and the leases that have ended.
    pub(crate) fn advance(&mut self, now_ms: u64, monotonic_ms: u64) {
        while self.ready.len() < DUE_AT_ONCE_MAX
            && let Some((due_ms, offset)) = self.schedule.pop_due(now_ms)
        {
            if self.settled.contains(offset) {
                continue;
            }
            match self.tried.get_mut(&offset) {
                Some(tried) if tried.waiting && tried.due_ms == due_ms => {
                    tried.waiting = false;
                    let count = if tried.by_time { &mut self.scheduled } else { &mut self.retrying };
                    *count = count.saturating_sub(1);
                }
                Some(_) => continue,
                None => self.scheduled = self.scheduled.saturating_sub(1),
            }
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

    /// When something becomes due, in milliseconds since the epoch, and when a lease ends, in monotonic
    /// milliseconds.
    pub(crate) fn next_wake(&self) -> (Option<u64>, Option<u64>) {
        (self.schedule.next_due_ms(), self.expiry.next_due_ms())
    }

    /// Hands the record out: answers with the token.
    pub(crate) fn lease(&mut self, offset: u64, until_ms: u64, key_hash: Option<u64>) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.leases.insert(token, Leased { offset, until_ms, settling: false, key_hash });
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

    /// Asks for the record's key: false when it must wait behind an earlier record of its key.
    pub(crate) fn take_key(&mut self, hash: u64, offset: u64) -> bool {
        if self.holds.take(hash, offset) {
            self.holding.insert(offset, hash);
            true
        } else {
            self.held.insert(offset, hash);
            false
        }
    }

    /// Nobody waits behind the key any more: it is parked.
    pub(crate) fn let_all_go(&mut self, hash: u64) {
        for offset in self.holds.forget_all(hash) {
            self.held.remove(&offset);
            self.ready.insert(offset);
        }
    }

    /// A dead letter for these records is on its way, or could not be written.
    pub(crate) fn claim(&mut self, offset: u64, settling: bool) {
        if let Some(leased) = self.leased.get(&offset).and_then(|token| self.leases.get_mut(token)) {
            leased.settling = settling;
        }
    }

    /// True when another record holds this one's key.
    pub(crate) fn waits_for_key(&self, hash: u64, offset: u64) -> bool {
        self.holds.is_held(hash) && !self.holding.contains_key(&offset)
    }

    /// A record that waits for its retry holds its key, unless another one does: then that one came first.
    pub(crate) fn hold_key(&mut self, hash: u64, offset: u64) {
        if !self.holds.is_held(hash) && self.holds.take(hash, offset) {
            self.holding.insert(offset, hash);
        }
    }

    /// Records that wait behind a key.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
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

    /// Lets go of all keys and looks at every open record again: order by key was switched on or off.
    /// `delayed` tells which offsets have a time of their own.
    pub(crate) fn rewind(&mut self, delayed: impl Fn(u64) -> bool) {
        self.holds.clear();
        self.holding.clear();
        self.rewound_until = self.rewound_until.max(self.cursor);
        self.cursor = self.settled.floor();
        let by_time: Vec<u64> = self.held.drain().map(|(offset, _)| offset).filter(|offset| delayed(*offset)).collect();
        self.ready.extend(by_time);
        for lease in self.leases.values() {
            if let Some(hash) = lease.key_hash
                && !self.holds.is_held(hash)
                && self.holds.take(hash, lease.offset)
            {
                self.holding.insert(lease.offset, hash);
            }
        }
    }

    /// Where an open record stands.
    pub(crate) fn state(&self, offset: u64, delay_due_ms: Option<u64>) -> (State, Option<u64>) {
        if self.leased.contains_key(&offset) {
            (State::InFlight, None)
        } else if self.ready.contains(&offset) {
            (State::Ready, None)
        } else if self.held.contains_key(&offset) {
            (State::Held, None)
        } else {
            match (self.tried.get(&offset), delay_due_ms) {
                (Some(tried), _) if tried.waiting && tried.by_time => (State::Scheduled, Some(tried.due_ms)),
                (Some(tried), _) if tried.waiting => (State::Retrying, Some(tried.due_ms)),
                (None, Some(due_ms)) => (State::Scheduled, Some(due_ms)),
                _ => (State::Ready, None),
            }
        }
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let places = self.ready.len() + 2 * self.leases.len() + 2 * self.held.len() + self.holding.len();
        let places = places + self.schedule.count() + self.expiry.count() + self.settled.count();
        places as u64 * PLACE_BYTES + self.tried.len() as u64 * TRIED_BYTES
    }

    /// Of the pending: in flight, retrying, scheduled, held.
    pub(crate) fn waiting(&self) -> (u64, u64, u64, u64) {
        (self.leases.len() as u64, self.retrying, self.scheduled, self.held.len() as u64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::extents::tests::extent;
    use walhost_core::{Attempt, VerdictKind};

    fn progress(count: u32) -> Progress {
        let mut progress = Progress::new(TargetName::new("t").unwrap(), 0);
        progress.accept(&extent(0, count, 1), None, 1);
        progress
    }

    fn spent(number: u32) -> Spent {
        let (code, message) = ("x".into(), String::new());
        let attempt = Attempt { number, at_ms: 5, verdict: VerdictKind::Retry, code, message, digest: None };
        Spent { attempt, spent: number, first_spent_at_ms: 5 }
    }

    #[test]
    fn i20_later_hides_a_record_until_it_is_due() {
        let mut progress = progress(2);
        progress.cursor = 2;
        let token = progress.lease(0, 100, None);
        assert!(progress.later(0, (1_000, 1), Some(&spent(1)), false));
        assert!(!progress.leases.contains_key(&token));
        assert_eq!(progress.state(0, None), (State::Retrying, Some(1_000)));
        progress.advance(999, 0);
        assert!(progress.ready.is_empty());
        progress.advance(1_000, 0);
        assert_eq!((progress.ready.first(), progress.waiting()), (Some(&0), (0, 0, 0, 0)));
        assert_eq!((progress.tried[&0].number, progress.tried[&0].attempts.list().len()), (1, 1));
    }

    #[test]
    fn a_lease_that_ends_gives_the_record_back_and_one_that_is_extended_does_not() {
        let mut progress = progress(2);
        let (first, second) = (progress.lease(0, 10, None), progress.lease(1, 10, None));
        progress.extend(second, 30);
        progress.advance(0, 10);
        assert_eq!((progress.ready.len(), progress.leases.contains_key(&first)), (1, false));
        progress.leases.get_mut(&second).unwrap().settling = true;
        progress.advance(0, 31);
        assert!(progress.leases.contains_key(&second));
        progress.leases.get_mut(&second).unwrap().settling = false;
        progress.advance(0, 40);
        assert_eq!(progress.ready.len(), 2);
    }

    #[test]
    fn i25_leases_that_were_settled_or_extended_often_leave_nothing_behind() {
        let mut progress = progress(100_000);
        for offset in 0..100_000 {
            let token = progress.lease(offset, 30_000 + offset, None);
            progress.extend(token, 60_000 + offset);
            progress.settle(offset, false);
        }
        assert!(progress.expiry.count() <= 2 * EXPIRY_SLACK, "{}", progress.expiry.count());
        let token = progress.lease(7, 250, None);
        for until_ms in (300..10_000).step_by(100) {
            progress.advance(0, until_ms - 150);
            progress.extend(token, until_ms);
            assert!(progress.leases.contains_key(&token));
        }
        assert!(progress.expiry.count() <= 2 * EXPIRY_SLACK);
        progress.extend(token, 9_880);
        progress.advance(0, 9_880);
        assert!(!progress.leases.contains_key(&token), "a shorter visibility counts too");
    }

    #[test]
    fn facts_that_are_applied_twice_change_nothing() {
        let mut progress = progress(1);
        assert!(
            progress.later(0, (10, 1), Some(&spent(1)), false) && progress.later(0, (10, 1), Some(&spent(1)), false)
        );
        assert_eq!((progress.tried[&0].attempts.list().len(), progress.waiting().1), (1, 1));
        assert_eq!(progress.settle(0, false).unwrap().list().len(), 1);
        assert!(progress.settle(0, false).is_none() && !progress.later(0, (10, 2), None, false));
        assert_eq!((progress.counters.pending, progress.waiting()), (0, (0, 0, 0, 0)));
    }

    #[test]
    fn a_restart_puts_the_open_records_back_in_order() {
        let mut progress = progress(4);
        progress.cursor = 4;
        progress.lease(0, 10, None);
        progress.settle(1, false);
        progress.later(2, (500, 1), None, false);
        progress.reschedule(3, (600, 2), false);
        progress.rebuild();
        assert_eq!((progress.cursor, progress.waiting(), progress.counters.pending), (0, (0, 1, 1, 0), 3));
        assert!(!progress.passed_over(0) && progress.passed_over(2) && progress.passed_over(3));
        progress.advance(500, 0);
        assert!(progress.passed_over(2) && progress.ready.contains(&2));
    }

    #[test]
    fn a_fact_that_was_written_late_does_not_undo_a_newer_one() {
        let mut progress = progress(1);
        progress.reschedule(0, (900, 2), false);
        progress.later(0, (100, 1), Some(&spent(1)), false);
        assert_eq!((progress.tried[&0].due_ms, progress.tried[&0].number, progress.waiting().2), (900, 1, 1));
        assert!(!progress.reschedule(0, (50, 1), false));
    }

    #[test]
    fn a_rescheduled_record_follows_its_newest_time() {
        let mut progress = Progress::new(TargetName::new("t").unwrap(), 0);
        progress.accept(&extent(0, 1, 1), Some(Delay { due_ms: 100, jitter_ms: 0 }), 1);
        assert_eq!((progress.state(0, Some(100)), progress.waiting().2), ((State::Scheduled, Some(100)), 1));
        progress.reschedule(0, (50, 1), true);
        progress.advance(50, 0);
        assert_eq!((progress.ready.len(), progress.waiting().2), (1, 0));
        progress.ready.clear();
        progress.lease(0, 1_000, None);
        progress.advance(100, 0);
        assert!(progress.ready.is_empty());
    }

    #[test]
    fn i19_a_held_record_follows_when_the_one_before_it_is_terminal() {
        let mut progress = progress(3);
        assert!(progress.take_key(7, 0) && !progress.take_key(7, 1));
        progress.lease(0, 10, None);
        assert_eq!((progress.state(1, None).0, progress.held()), (State::Held, 1));
        progress.later(0, (100, 1), None, false);
        assert_eq!(progress.held(), 1);
        progress.settle(0, false);
        assert_eq!((progress.held(), progress.ready.first()), (0, Some(&1)));
        progress.cursor = 3;
        progress.rewind(|_| false);
        assert_eq!((progress.cursor, progress.passed_over(1)), (1, true));
    }
}
