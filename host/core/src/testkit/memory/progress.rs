//! How far one target is: where each of its records stands, in which order they are handed out.
//!
//! In: leases and settlements. Out: leases, counters.

use super::letters::Letter;
use super::state::{Now, Numbers, Stored, next};
use crate::attempt::{Attempt, HOST_CRASH, VerdictKind};
use crate::inspect::State as Seen;
use crate::queue::{Accounting, Done, Lease, LeaseRequest, LeaseToken, Settlement, TargetStats};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Has no place in its key's order before its time.
    Scheduled { due_ms: u64 },
    /// Has a place.
    Ready,
    /// Leased, until then.
    Leased { token: LeaseToken, until: Duration },
    /// Has a place, and waits.
    Retrying { due_ms: u64 },
    /// Terminal.
    Finished(Seen),
    /// In the dead letters, under this number.
    Dead(u64),
}

/// One record of one target.
pub struct Standing {
    pub stage: Stage,
    /// Its place in the order of handing out; none before its own time, and after its end.
    pub place: Option<u64>,
    pub attempts: Vec<Attempt>,
    /// Of the attempt that comes next.
    pub number: u32,
    pub spent: u32,
    pub first_spent_at_ms: Option<u64>,
    /// It may have been in flight at an unclean stop, and was not settled since.
    pub suspect: bool,
    /// Its attempt has begun with a start.
    pub started_at_ms: Option<u64>,
    /// Starts without an end at unclean stops.
    pub crashes: u32,
}

/// One target's.
#[derive(Default)]
pub struct Progress {
    pub subscribed: bool,
    /// A dead letter parks its key.
    pub parking: bool,
    /// Records that may be in flight at once.
    pub in_flight_max: usize,
    pub records: BTreeMap<u64, Standing>,
    pub letters: BTreeMap<u64, Letter>,
    /// Offsets by place: everything that has one.
    order: BTreeMap<u64, u64>,
    /// Offsets that wait for their own time.
    scheduled: BTreeMap<(u64, u64), ()>,
    leased: HashMap<LeaseToken, u64>,
    counts: Accounting,
}

impl Progress {
    /// One more record is meant for this target.
    pub fn accept(&mut self, offset: u64, due_ms: Option<u64>, now_ms: u64) {
        let standing = Standing::new(due_ms, now_ms);
        self.counts.accepted += 1;
        self.schedule(offset, due_ms.unwrap_or(now_ms));
        self.records.insert(offset, standing);
    }

    fn schedule(&mut self, offset: u64, due_ms: u64) {
        self.scheduled.insert((due_ms, offset), ());
    }

    /// Records whose own time has come take their place, in the order of their times. Those of a parked key
    /// follow it into the dead letters.
    pub fn promote(&mut self, records: &BTreeMap<u64, Stored>, now: &Now, ordered: bool, numbers: &mut Numbers) {
        while let Some(((due_ms, offset), ())) = self.scheduled.first_key_value().map(|(k, ())| (*k, ())) {
            if due_ms > now.ms {
                break;
            }
            self.scheduled.remove(&(due_ms, offset));
            self.put_last(offset, numbers);
        }
        if ordered && self.letters.values().any(|letter| letter.parks) {
            self.follow_parked(records, now, numbers);
        }
    }

    /// Gives a record the last place.
    pub fn put_last(&mut self, offset: u64, numbers: &mut Numbers) {
        let place = next(&mut numbers.place);
        self.order.insert(place, offset);
        let standing = self.records.get_mut(&offset).expect("it has just been accepted or redriven");
        standing.place = Some(place);
        standing.stage = Stage::Ready;
    }

    fn follow_parked(&mut self, records: &BTreeMap<u64, Stored>, now: &Now, numbers: &mut Numbers) {
        let parked: HashSet<Bytes> =
            self.letters.values().filter(|letter| letter.parks).filter_map(|letter| letter.key.clone()).collect();
        let key = |offset: &u64| records.get(offset).and_then(|stored| stored.record.key.as_ref());
        let following: Vec<u64> =
            self.order.values().filter(|offset| key(offset).is_some_and(|key| parked.contains(key))).copied().collect();
        for offset in following {
            let standing = &self.records[&offset];
            if matches!(standing.stage, Stage::Leased { .. }) {
                continue;
            }
            let number = standing.number - 1;
            let message = "an earlier record of its key is a dead letter".to_owned();
            let code = "key-parked".to_owned();
            let last = Attempt { number, at_ms: now.ms, verdict: VerdictKind::Retry, code, message, digest: None };
            self.bury(offset, last, None, true, records, now, numbers);
        }
    }

    /// Leases whose visibility has ended are free again, in their old place, with the same attempt number.
    pub fn end_leases(&mut self, now: Duration) {
        let Progress { records, leased, .. } = self;
        leased.retain(|_, offset| {
            let standing = records.get_mut(offset).expect("a lease is of a record");
            let ended = matches!(standing.stage, Stage::Leased { until, .. } if until <= now);
            if ended {
                standing.stage = Stage::Ready;
            }
            !ended
        });
    }

    /// An unclean stop: leases end, starts without an end count, and what may have been in flight is suspect.
    pub fn crash(&mut self, now: &Now) {
        self.end_leases(Duration::MAX);
        for standing in self.records.values_mut() {
            standing.suspect = false;
            if standing.started_at_ms.take().is_some() && standing.is_pending() {
                standing.crashes += 1;
                standing.spent += 1;
                standing.first_spent_at_ms.get_or_insert(now.ms);
                standing.keep(Some(crashed(standing.number, now.ms)));
            }
        }
        let mut left = self.in_flight_max;
        for offset in self.order.values() {
            let standing = self.records.get_mut(offset).expect("what has a place is a record");
            if left > 0 && standing.is_free(now.ms) {
                left -= 1;
                standing.suspect = true;
            }
        }
    }

    /// The record of a lease that stands.
    pub fn leased(&mut self, token: LeaseToken) -> Option<&mut Standing> {
        self.leased.get(&token).and_then(|offset| self.records.get_mut(offset))
    }

    pub fn extend(&mut self, tokens: &[LeaseToken], new: Duration) {
        for token in tokens {
            if let Some(standing) = self.leased.get(token).and_then(|offset| self.records.get_mut(offset))
                && let Stage::Leased { until, .. } = &mut standing.stage
            {
                *until = new;
            }
        }
    }

    /// How long until time alone may make something ready.
    pub fn next_change(&self, now: &Now) -> Option<Duration> {
        let wait_ms = |due_ms: u64| Duration::from_millis(due_ms.saturating_sub(now.ms));
        let scheduled = self.scheduled.keys().next().map(|(due_ms, _)| wait_ms(*due_ms));
        let standing = self.order.values().filter_map(|offset| match self.records[offset].stage {
            Stage::Leased { until, .. } => Some(until.saturating_sub(now.monotonic)),
            Stage::Retrying { due_ms } if due_ms > now.ms => Some(wait_ms(due_ms)),
            _ => None,
        });
        standing.chain(scheduled).min()
    }

    /// Hands out what is ready, in order; of each key only the first.
    pub fn lease(
        &mut self,
        records: &BTreeMap<u64, Stored>,
        request: &LeaseRequest,
        now: &Now,
        ordered: bool,
        numbers: &mut Numbers,
    ) -> Vec<Lease> {
        let (mut leases, mut bytes, mut keys) = (Vec::new(), 0, HashSet::new());
        if self.leased.values().any(|offset| self.records[offset].is_suspect()) {
            return leases;
        }
        for offset in self.order.values() {
            if leases.len() == request.records_max {
                break;
            }
            let stored = &records[offset];
            let standing = self.records.get_mut(offset).expect("what has a place is a record");
            let first_of_key = !ordered || stored.record.key.as_ref().is_none_or(|key| keys.insert(key.clone()));
            let first_of_key = first_of_key || numbers.is_planted("keys have no order");
            if !first_of_key || !standing.is_free(now.ms) {
                continue;
            }
            bytes += stored.record.bytes();
            if bytes > request.bytes_max && !leases.is_empty() {
                break;
            }
            let suspect = standing.is_suspect() && !numbers.is_planted("suspects go together");
            if suspect && !self.leased.is_empty() {
                break;
            }
            let token = LeaseToken(next(&mut numbers.token));
            let until = now.monotonic + Duration::from_millis(request.visibility_ms);
            if !numbers.is_planted("leases are not exclusive") {
                standing.stage = Stage::Leased { token, until };
            }
            self.leased.insert(token, *offset);
            let mut record = stored.record.clone();
            record.attempt = standing.number;
            let (spent, first_spent_at_ms) = (standing.spent, standing.first_spent_at_ms);
            let crashes = standing.crashes;
            leases.push(Lease { token, record, spent, first_spent_at_ms, suspect, crashes });
            if suspect {
                break;
            }
        }
        leases
    }

    /// Ends a lease. Answers the offset when that settled the record for good.
    pub fn settle(
        &mut self,
        token: LeaseToken,
        settlement: Settlement,
        records: &BTreeMap<u64, Stored>,
        now: &Now,
        ordered: bool,
        numbers: &mut Numbers,
    ) -> Option<u64> {
        let offset = self.leased.remove(&token)?;
        let standing = self.records.get_mut(&offset).expect("a lease is of a record");
        standing.started_at_ms = None;
        standing.suspect = false;
        match settlement {
            Settlement::Done { outcome, attempt } => {
                standing.keep(attempt);
                let seen = match outcome {
                    Done::Delivered => Seen::Delivered,
                    Done::Filtered => Seen::Filtered,
                    Done::Cancelled => Seen::Cancelled,
                };
                self.finish(offset, seen);
                Some(offset)
            }
            Settlement::Later { due_ms, spent } => {
                if let Some(attempt) = spent.filter(|_| !numbers.is_planted("attempts are forgotten")) {
                    standing.spent += 1;
                    standing.first_spent_at_ms.get_or_insert(attempt.at_ms);
                    standing.keep(Some(attempt));
                }
                let due_ms = if numbers.is_planted("later is at once") { 0 } else { due_ms };
                standing.stage = Stage::Retrying { due_ms };
                None
            }
            Settlement::Dead { attempt, exhausted } => {
                standing.keep(Some(attempt.clone()));
                if numbers.is_planted("dead letters are dropped") {
                    self.finish(offset, Seen::Delivered);
                    return Some(offset);
                }
                let parks = ordered && self.parking;
                self.bury(offset, attempt, exhausted, parks, records, now, numbers);
                Some(offset)
            }
        }
    }

    fn leave_order(&mut self, offset: u64) -> &mut Standing {
        let standing = self.records.get_mut(&offset).expect("it is one of the target's");
        if let Some(place) = standing.place.take() {
            self.order.remove(&place);
        }
        if let Stage::Scheduled { due_ms } = standing.stage {
            self.scheduled.remove(&(due_ms, offset));
        }
        standing
    }

    fn finish(&mut self, offset: u64, seen: Seen) {
        self.leave_order(offset).stage = Stage::Finished(seen);
        match seen {
            Seen::Filtered => self.counts.filtered += 1,
            Seen::Cancelled => self.counts.cancelled += 1,
            _ => self.counts.delivered += 1,
        }
    }

    /// Into the dead letters.
    #[expect(clippy::too_many_arguments, reason = "all of it becomes the dead letter")]
    fn bury(
        &mut self,
        offset: u64,
        last: Attempt,
        exhausted: Option<crate::attempt::Exhausted>,
        parks: bool,
        records: &BTreeMap<u64, Stored>,
        now: &Now,
        numbers: &mut Numbers,
    ) {
        let number = next(&mut numbers.letter);
        let standing = self.leave_order(offset);
        standing.stage = Stage::Dead(number);
        let key = records[&offset].record.key.clone();
        let parks = parks && key.is_some();
        self.letters.insert(number, Letter { offset, last, exhausted, dead_at_ms: now.ms, parks, key });
    }

    /// Cancels a record that nobody has leased; false when it is too late.
    pub fn cancel(&mut self, offset: u64) -> bool {
        let waits = matches!(
            self.records.get(&offset).map(|standing| &standing.stage),
            Some(Stage::Scheduled { .. } | Stage::Ready | Stage::Retrying { .. })
        );
        if waits {
            self.finish(offset, Seen::Cancelled);
        }
        waits
    }

    /// Cancels all that is pending. Answers which that was.
    pub fn cancel_all(&mut self, _now_ms: u64) -> Vec<u64> {
        self.leased.clear();
        let pending: Vec<u64> =
            self.records.iter().filter(|(_, standing)| standing.is_pending()).map(|(offset, _)| *offset).collect();
        pending.iter().for_each(|offset| self.finish(*offset, Seen::Cancelled));
        pending
    }

    /// Another time of its own for a record that waits; false when it is too late.
    pub fn reschedule(&mut self, offset: u64, due_ms: u64) -> bool {
        match self.records.get(&offset).map(|standing| &standing.stage) {
            Some(Stage::Scheduled { .. } | Stage::Ready | Stage::Retrying { .. }) => {
                self.leave_order(offset).stage = Stage::Scheduled { due_ms };
                self.schedule(offset, due_ms);
                true
            }
            _ => false,
        }
    }

    /// True while the record is in the dead letters.
    pub fn is_dead(&self, offset: u64) -> bool {
        self.records.get(&offset).is_some_and(|standing| matches!(standing.stage, Stage::Dead(_)))
    }

    pub fn forget(&mut self, offset: u64) {
        self.records.remove(&offset);
    }

    /// A dead letter has left: counted by its reader.
    pub fn counts(&mut self) -> &mut Accounting {
        &mut self.counts
    }

    /// Offsets in the order of handing out.
    pub fn in_order(&self) -> impl Iterator<Item = u64> {
        self.order.values().copied()
    }

    pub fn stats(&self, now: &Now) -> TargetStats {
        let mut stats = TargetStats { accounting: self.counts, ..TargetStats::default() };
        stats.accounting.dead = self.letters.len() as u64;
        for standing in self.records.values().filter(|standing| standing.is_pending()) {
            stats.accounting.pending += 1;
            match standing.stage {
                Stage::Leased { .. } => stats.in_flight += 1,
                Stage::Scheduled { .. } => stats.scheduled += 1,
                Stage::Retrying { due_ms } if due_ms > now.ms => stats.retrying += 1,
                _ => {
                    stats.ready += 1;
                    let due_ms = if let Stage::Retrying { due_ms } = standing.stage { due_ms } else { now.ms };
                    stats.oldest_due_at_ms = Some(stats.oldest_due_at_ms.unwrap_or(due_ms).min(due_ms));
                }
            }
        }
        stats
    }
}

/// The attempt that a stop of the host has ended.
fn crashed(number: u32, at_ms: u64) -> Attempt {
    let message = "the host stopped while this attempt was on its way".to_owned();
    Attempt { number, at_ms, verdict: VerdictKind::Retry, code: HOST_CRASH.to_owned(), message, digest: None }
}

impl Standing {
    pub fn is_pending(&self) -> bool {
        !matches!(self.stage, Stage::Finished(_) | Stage::Dead(_))
    }

    /// Is handed out alone.
    pub fn is_suspect(&self) -> bool {
        self.suspect || self.crashes > 0
    }

    /// Has a start without an end, and not its first one.
    pub fn is_counted_and_on_its_way(&self) -> bool {
        self.crashes > 0 && self.started_at_ms.is_some() && matches!(self.stage, Stage::Leased { .. })
    }

    /// Can be leased.
    fn is_free(&self, now_ms: u64) -> bool {
        match self.stage {
            Stage::Ready => true,
            Stage::Retrying { due_ms } => due_ms <= now_ms,
            _ => false,
        }
    }

    /// Keeps an attempt: the first and the newest ones. The number goes on.
    fn keep(&mut self, attempt: Option<Attempt>) {
        let Some(attempt) = attempt else { return };
        self.number = attempt.number.saturating_add(1);
        if self.attempts.len() == crate::limits::ATTEMPTS_KEPT_MAX {
            self.attempts.remove(1);
        }
        self.attempts.push(attempt);
    }
}
