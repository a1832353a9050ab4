//! The part of a target's progress that is about order by key (I19): who holds a key, who follows.
//!
//! In: records that ask for their keys, ends of records. Out: who may start. A key has one of: nobody; a holder
//! with those behind it; or, while dead letters park it or come back, `NOBODY`, who lets nobody start.

use super::Progress;
use std::collections::VecDeque;
use walhost_core::schedule::keys::{NOBODY, Popped};

impl Progress {
    /// Asks for the record's key: false when it must wait behind an earlier record of its key.
    pub(crate) fn take_key(&mut self, hash: u64, offset: u64) -> bool {
        if self.holds.take(hash, offset, self.monotonic_ms) {
            self.holding.insert(offset, hash);
            true
        } else {
            self.held.insert(offset, hash);
            false
        }
    }

    /// A record that waits for its retry holds its key, unless another one does: then that one came first.
    pub(crate) fn hold_key(&mut self, hash: u64, offset: u64) {
        if !self.holds.is_held(hash) {
            self.install(hash, offset);
        }
    }

    /// The next of those that had started before a restart and have not taken their keys since.
    pub(crate) fn next_started(&mut self) -> Option<u64> {
        while let Some(offset) = self.started.last().copied() {
            if !self.settled.contains(offset) && self.tried.get(&offset).is_some_and(|tried| !tried.by_time) {
                return Some(offset);
            }
            self.started.pop();
        }
        self.started = Vec::new();
        None
    }

    /// This record holds the key from now on.
    pub(crate) fn install(&mut self, hash: u64, holder: u64) {
        self.holds.hold(hash, holder);
        if holder != NOBODY {
            self.holding.insert(holder, hash);
        }
    }

    /// The record is terminal, or waits for a time of its own: the next of its key may start.
    pub(super) fn release_key(&mut self, offset: u64) {
        if !self.holding.is_empty()
            && let Some(hash) = self.holding.remove(&offset)
            && self.holds.holder(hash) == Some(offset)
        {
            self.hand_over(hash);
        }
    }

    /// The first of those behind the key that still waits holds it and may start.
    pub(crate) fn hand_over(&mut self, hash: u64) {
        if self.holds.behind(hash).is_some_and(|behind| behind.coming > 0) {
            // Those who go first are on their way.
            self.holds.hold(hash, NOBODY);
            return;
        }
        match self.pop_behind(hash) {
            Some(next) => {
                self.install(hash, next);
                self.ready.insert(next);
            }
            None => drop(self.holds.let_go(hash)),
        }
    }

    /// Takes out the first of those behind the key that still waits.
    pub(crate) fn pop_behind(&mut self, hash: u64) -> Option<u64> {
        loop {
            match self.holds.pop(hash)? {
                Popped::Single(offset) if self.held.remove(&offset).is_some() => return Some(offset),
                Popped::Ranged(offset) if self.waits_ranged(offset) => {
                    self.held.remove(&offset);
                    self.held_moved = self.held_moved.saturating_sub(1);
                    return Some(offset);
                }
                _ => {}
            }
        }
    }

    /// Of a record in a range: it was not ended, given another time, or handed out.
    pub(super) fn waits_ranged(&self, offset: u64) -> bool {
        !self.settled.contains(offset)
            && !self.tried.get(&offset).is_some_and(|tried| tried.waiting)
            && !self.leased.contains_key(&offset)
            && !self.ready.contains(&offset)
    }

    /// Puts one back before all others that wait behind the key.
    pub(crate) fn put_back(&mut self, hash: u64, offset: u64) {
        self.holds.put_back(hash, offset);
        self.held_moved += 1;
    }

    /// A record of a parked key is to follow it. It was taken from where it was.
    pub(crate) fn follows(&mut self, hash: u64, offset: u64) {
        match self.holds.holder(hash) {
            Some(holder) if holder == offset => {
                self.holding.remove(&offset);
                self.holds.hold(hash, NOBODY);
                self.put_back(hash, offset);
            }
            None => {
                self.holds.hold(hash, NOBODY);
                self.take_key(hash, offset);
            }
            Some(_) => drop(self.take_key(hash, offset)),
        }
        if self.holds.holder(hash) == Some(NOBODY) {
            self.follow.push_back(hash);
        }
    }

    /// A record has gone into the dead letters and parks its key: who is behind it is to follow.
    pub(super) fn close_key(&mut self, hash: u64, offset: u64, follows: bool) {
        self.holding.remove(&offset);
        if follows {
            self.holds.coming(hash, -1);
        }
        match self.holds.holder(hash) {
            Some(holder) if holder == offset => self.holds.hold(hash, NOBODY),
            Some(NOBODY) => {}
            _ => return,
        }
        self.go_on(hash);
    }

    /// Whoever was on the way for a closed key may have arrived: then those behind it are looked at.
    pub(crate) fn go_on(&mut self, hash: u64) {
        if self.holds.holder(hash) != Some(NOBODY) {
            return;
        }
        let (coming, waits) = self
            .holds
            .behind(hash)
            .map_or((0, false), |behind| (behind.coming, !behind.ranges.is_empty() || !behind.singles.is_empty()));
        match (coming, waits) {
            (0, false) => drop(self.holds.let_go(hash)),
            (0, true) => self.follow.push_back(hash),
            _ => {}
        }
    }

    /// The record is on its way into the dead letters.
    pub(crate) fn set_following(&mut self, token: u64, hash: u64) {
        if let Some(leased) = self.leases.get_mut(&token) {
            (leased.following, leased.settling) = (true, true);
            self.holds.coming(hash, 1);
        }
    }

    /// The dead letters of these records, which were to follow their keys, could not be written. In their order.
    pub(crate) fn give_back(&mut self, offsets: &[u64]) {
        for offset in offsets.iter().rev() {
            let Some(token) = self.leased.get(offset).copied() else { continue };
            let Some(hash) = self.leases.get(&token).filter(|leased| leased.following).and_then(|l| l.key_hash) else {
                continue;
            };
            self.leases.remove(&token);
            self.leased.remove(offset);
            self.holds.coming(hash, -1);
            if self.holds.holder(hash) == Some(NOBODY) {
                self.put_back(hash, *offset);
                self.go_on(hash);
            } else {
                self.ready.insert(*offset);
            }
        }
    }

    /// Dead letters that park the key come back as so many records: nobody else of it starts before them.
    pub(crate) fn comes_back(&mut self, hash: u64, count: u32) {
        if !self.holds.is_held(hash) {
            self.holds.hold(hash, NOBODY);
        }
        self.holds.coming(hash, i64::from(count));
    }

    /// Puts a range behind all others of its kind, as it was before a restart.
    pub(crate) fn put_range(&mut self, hash: u64, (start, end): (u64, u64), returned: bool) {
        if returned {
            self.holds.add_returned(hash, (start, end), 0);
        } else {
            self.holds.add_range(hash, start, end);
        }
    }

    /// They are there (`first..end`), or will not be.
    /// `below`: offsets below were given when they died.
    pub(crate) fn came_back(&mut self, hash: u64, count: u32, range: Option<((u64, u64), u64)>) {
        if let Some(((first, end), below)) = range {
            if !self.holds.is_held(hash) {
                self.holds.hold(hash, NOBODY);
            }
            self.holds.add_returned(hash, (first, end), below);
            self.held_moved += end - first;
        }
        if self.holds.coming(hash, -i64::from(count)) == 0 {
            self.go_on(hash);
        }
    }

    /// True when another record holds this one's key.
    pub(crate) fn waits_for_key(&self, hash: u64, offset: u64) -> bool {
        self.holds.is_held(hash) && !self.holding.contains_key(&offset)
    }

    /// The key that a record waits behind which was not moved.
    pub(crate) fn holds_behind(&self, offset: u64) -> Option<u64> {
        self.held.get(&offset).copied()
    }

    /// True when a record that was moved waits as its frame says.
    pub(crate) fn rests(&self, offset: u64) -> bool {
        !self.settled.contains(offset)
            && !self.ready.contains(&offset)
            && !self.leased.contains_key(&offset)
            && !self.tried.contains_key(&offset)
    }

    /// Records that wait behind a key and were not moved.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Order by key was switched off (`ordered` false) or on. Off: whoever waited for a key is ready. On: every
    /// open record is looked at again, after those that wait for a retry have taken their keys.
    pub(crate) fn reorder(&mut self, ordered: bool) {
        let mut free: Vec<u64> = self.held.drain().map(|(offset, _)| offset).collect();
        for (_, _, behind) in self.holds.all() {
            let ranges = behind.map(|behind| behind.ranges.iter().copied()).into_iter().flatten();
            free.extend(ranges.flat_map(|(start, end)| start..end).filter(|offset| self.waits_ranged(*offset)));
        }
        self.ready.extend(free);
        self.held_moved = 0;
        self.holds.clear();
        self.holding.clear();
        self.follow = VecDeque::new();
        self.started = Vec::new();
        if !ordered {
            return;
        }
        let started = self.tried.iter().filter(|(_, tried)| tried.waiting && !tried.by_time);
        self.started = started.map(|(offset, _)| *offset).collect();
        self.started.sort_unstable_by(|one, other| other.cmp(one));
        self.rewound_until = self.rewound_until.max(self.cursor);
        self.cursor = self.settled.floor();
        let mut leased: Vec<(u64, u64)> =
            self.leases.values().filter_map(|lease| Some((lease.offset, lease.key_hash?))).collect();
        leased.sort_unstable();
        for (offset, hash) in leased {
            self.hold_key(hash, offset);
        }
    }
}
