//! The part of a target's progress that is about records that are appended again: they take all that they have
//! with them to their new offset.
//!
//! In: frames of moves and redrives as they become durable or are replayed. Out: the same records elsewhere,
//! with as little as possible in memory: what the frame says is read again when a record is leased.

use super::{Progress, Tried};
use crate::frame::again::{Class, Returned};
use crate::spread::StillMap;
use walhost_core::schedule::keys::NOBODY;

impl Progress {
    /// An open record goes from one offset to another. True when it is to be put behind its key there.
    pub(crate) fn relocate(
        &mut self,
        (from, to): (u64, u64),
        returned: &Returned,
        class: Class,
        replaying: bool,
    ) -> bool {
        self.settled.insert(from);
        self.moved.insert(returned.origin, to);
        let leased = self.leased.remove(&from);
        if let Some(token) = leased {
            self.leased.insert(to, token);
            if let Some(lease) = self.leases.get_mut(&token) {
                lease.offset = to;
            }
        }
        let ready = self.ready.remove(&from);
        if ready {
            self.ready.insert(to);
        }
        if let Some(hash) = self.holding.remove(&from) {
            self.install(hash, to);
        }
        let held = self.held.remove(&from);
        let touched = self.tried.remove(&from);
        let newer = touched.as_ref().is_some_and(|tried| tried.change > returned.change);
        if replaying {
            let tried = match touched {
                Some(tried) if newer => tried,
                _ => Tried { in_frame: true, waiting: false, ..tried_of(returned, class) },
            };
            self.tried.insert(to, tried);
            if class == Class::Retry
                && let Some(hash) = returned.hash
            {
                self.hold_key(hash, to);
            }
            return class == Class::Behind && !newer;
        }
        match touched {
            Some(tried) if newer => {
                if tried.waiting {
                    self.schedule.insert(tried.due_ms, to << 1 | u64::from(!tried.by_time));
                }
                self.tried.insert(to, tried);
            }
            Some(tried) if leased.is_some() => drop(self.tried.insert(to, tried)),
            Some(tried) if tried.waiting => {
                self.schedule.insert(tried.due_ms, to << 1 | u64::from(!tried.by_time));
            }
            _ => {}
        }
        match held {
            Some(_) if class == Class::Behind => true,
            // It had a time of its own, which has come since: it goes behind those who were before it.
            Some(hash) => {
                self.take_key(hash, to);
                false
            }
            None => false,
        }
    }

    /// Records were put behind their key at `first..end`; one that is not held by anybody goes on at once.
    pub(crate) fn put_behind(&mut self, hash: u64, (first, end): (u64, u64), holder: Option<u64>) {
        if !self.holds.is_held(hash) {
            match holder.filter(|holder| !self.settled.contains(*holder)) {
                Some(holder) => self.install(hash, holder),
                None => self.holds.hold(hash, NOBODY),
            }
        }
        self.holds.add_range(hash, first, end);
        self.held_moved += end - first;
        let held = &self.held;
        if let Some(behind) = self.holds.behind_mut(hash) {
            while behind.singles.front().is_some_and(|front| !held.contains_key(front)) {
                behind.singles.pop_front();
            }
        }
    }

    /// A record could not be moved, with the key that it waits behind: a later round tries again.
    pub(crate) fn was_not_moved(&mut self, offset: u64, behind: Option<u64>) {
        match behind {
            Some(hash) => self.holds.put_back_crowded(hash),
            None => self.long.push(offset),
        }
    }

    /// A dead letter's record is here again.
    pub(crate) fn bring_back(&mut self, to: u64, returned: &Returned, replaying: bool) {
        self.counters.pending += 1;
        self.moved.insert(returned.origin, to);
        if replaying {
            self.tried.insert(to, Tried { in_frame: true, waiting: false, ..tried_of(returned, Class::Ready) });
        }
    }

    /// What the frame of a record says is needed now: it is leased, or ends.
    pub(crate) fn merge(&mut self, offset: u64, returned: &Returned, class: Class) {
        match self.tried.get_mut(&offset) {
            None => drop(self.tried.insert(offset, tried_of(returned, class))),
            Some(tried) => tried.complete(returned, class),
        }
    }

    /// What the frame of a record says is needed before the record changes where it stands.
    pub(crate) fn materialise(&mut self, offset: u64, returned: &Returned, class: Class) {
        let waits = matches!(class, Class::Retry | Class::Time)
            && !self.tried.contains_key(&offset)
            && !self.leased.contains_key(&offset)
            && !self.ready.contains(&offset)
            && !self.held.contains_key(&offset)
            && !self.settled.contains(offset);
        self.merge(offset, returned, class);
        if waits && let Some(tried) = self.tried.get_mut(&offset) {
            tried.waiting = true;
        }
    }

    /// Records of a frame that cannot be read any more are nowhere.
    pub(crate) fn forget_moves(&mut self, start: u64, end: u64) {
        self.moved.retain(|_, at| *at < start || *at >= end);
    }

    /// Due time of every record that waits and is not in `tried`: what its frame says is not in memory.
    pub(crate) fn waits(&self, is_moved: impl Fn(u64) -> bool) -> Vec<(u64, u64, bool)> {
        let untouched = |(due_ms, entry): (u64, u64)| {
            let (offset, retry) = (entry >> 1, entry & 1 == 1);
            let waits = !self.settled.contains(offset)
                && !self.tried.contains_key(&offset)
                && !self.ready.contains(&offset)
                && !self.leased.contains_key(&offset)
                && is_moved(offset);
            waits.then_some((due_ms, offset, retry))
        };
        if self.moved.is_empty() { Vec::new() } else { self.schedule.all().filter_map(untouched).collect() }
    }
}

impl Tried {
    /// Adds what the record's frame says, which is older than all that is here.
    pub(crate) fn complete(&mut self, returned: &Returned, class: Class) {
        if self.change == 0 && self.due_ms == 0 {
            let newer = std::mem::replace(self, tried_of(returned, class));
            self.waiting = newer.waiting;
            return;
        }
        if self.number <= returned.number {
            self.number = returned.number;
            self.spent = returned.spent;
            self.first_spent_at_ms = returned.first_spent_at_ms;
            self.attempts = returned.attempts.clone();
            return;
        }
        let mut attempts = returned.attempts.clone();
        let newer = std::mem::take(&mut self.attempts).list();
        newer.iter().filter(|attempt| attempt.number > returned.number).for_each(|one| attempts.add(one));
        self.attempts = attempts;
    }
}

fn tried_of(returned: &Returned, class: Class) -> Tried {
    Tried {
        number: returned.number,
        spent: returned.spent,
        first_spent_at_ms: returned.first_spent_at_ms,
        due_ms: if class == Class::Behind { 0 } else { returned.due_ms },
        change: returned.change,
        by_time: class == Class::Time,
        waiting: false,
        in_frame: false,
        attempts: returned.attempts.clone(),
    }
}

/// Of a map keyed by first offsets, the present one of a record.
pub(crate) fn present(moved: &StillMap<u64, u64>, origin: u64) -> u64 {
    if moved.is_empty() { origin } else { moved.get(&origin).copied().unwrap_or(origin) }
}
