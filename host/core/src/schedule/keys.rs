//! Who holds an ordering key, and who waits behind it (I19).
//!
//! In: hashes of keys with the offset of a record. Out: whether the record may start, and who follows.
//!
//! Two keys with one hash are ordered together: that is stricter than asked, and never wrong. Whoever is
//! popped asks whether it still waits: a record that was cancelled or given another time is passed over then,
//! so that forgetting one costs nothing. Records that were put elsewhere in one go are kept as ranges: a
//! million of them behind one key are as cheap as the frames they are in.

use std::collections::{HashMap, VecDeque};

/// Stands for a key that nobody holds and that lets nobody start: those behind it are on their way somewhere.
pub const NOBODY: u64 = u64::MAX;

/// The held keys of one target.
#[derive(Clone, Debug, Default)]
pub struct KeyHolds {
    held: HashMap<u64, Hold>,
    /// Keys with somebody behind them, each once, in the order in which that began.
    crowded: VecDeque<u64>,
}

#[derive(Clone, Debug)]
struct Hold {
    holder: u64,
    rest: Option<Box<Behind>>,
}

/// Who waits behind a key.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    /// Ranges of offsets, in order: start, end. They go before the others.
    pub ranges: VecDeque<(u64, u64)>,
    /// How many of them, the first ones, have come back from the dead letters: they go before the others.
    pub returned: usize,
    /// One by one, in order.
    pub singles: VecDeque<u64>,
    /// When the first one came, in monotonic milliseconds.
    pub since_ms: u64,
    /// Records that are on their way to the front or to the dead letters: until they are there nobody starts.
    pub coming: u32,
    crowded: bool,
}

/// Who was popped from behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped {
    /// Of a range.
    Ranged(u64),
    /// One that came by itself.
    Single(u64),
}

impl Hold {
    fn behind(&mut self) -> &mut Behind {
        self.rest.get_or_insert_default()
    }
}

impl KeyHolds {
    /// Asks for a key. True: the record holds it now, or did before. False: it waits behind.
    pub fn take(&mut self, hash: u64, offset: u64, monotonic_ms: u64) -> bool {
        let hold = self.held.entry(hash).or_insert(Hold { holder: offset, rest: None });
        if hold.holder == offset {
            return true;
        }
        let behind = hold.behind();
        if behind.singles.is_empty() {
            behind.since_ms = monotonic_ms;
        }
        behind.singles.push_back(offset);
        if !behind.crowded {
            behind.crowded = true;
            self.crowded.push_back(hash);
        }
        false
    }

    /// Says who holds a key; nobody else does. What waits behind it stays.
    pub fn hold(&mut self, hash: u64, holder: u64) {
        self.held.entry(hash).or_insert(Hold { holder, rest: None }).holder = holder;
    }

    /// Who holds the key; none: nobody does. `NOBODY`: it is closed.
    pub fn holder(&self, hash: u64) -> Option<u64> {
        self.held.get(&hash).map(|hold| hold.holder)
    }

    /// Takes out who is next behind the key; whether it still waits is for the caller to say.
    pub fn pop(&mut self, hash: u64) -> Option<Popped> {
        let behind = self.held.get_mut(&hash)?.rest.as_mut()?;
        if let Some((start, end)) = behind.ranges.front_mut() {
            let first = *start;
            *start += 1;
            if start == end {
                behind.ranges.pop_front();
                behind.returned = behind.returned.saturating_sub(1);
            }
            return Some(Popped::Ranged(first));
        }
        behind.singles.pop_front().map(Popped::Single)
    }

    /// Nobody holds the key any more, nobody waits for it.
    pub fn let_go(&mut self, hash: u64) -> Option<Behind> {
        self.held.remove(&hash)?.rest.map(|behind| *behind)
    }

    /// Adds a range behind all ranges of the key.
    pub fn add_range(&mut self, hash: u64, start: u64, end: u64) {
        let Some(hold) = self.held.get_mut(&hash) else { return };
        let behind = hold.behind();
        let others = behind.ranges.len() > behind.returned;
        match behind.ranges.back_mut().filter(|(_, last)| others && *last == start) {
            Some((_, last)) => *last = end,
            None => behind.ranges.push_back((start, end)),
        }
    }

    /// Adds a range that has come back from the dead letters: before all others, and behind what came back at
    /// offsets from `below` on. Whoever died when those were back already comes after them in the order of the
    /// key; what had come back earlier has let its turn go by.
    pub fn add_returned(&mut self, hash: u64, (start, end): (u64, u64), below: u64) {
        let Some(hold) = self.held.get_mut(&hash) else { return };
        let behind = hold.behind();
        let back = behind.ranges.iter().take(behind.returned);
        let place = back.take_while(|(start, _)| *start >= below).count();
        match place.checked_sub(1).and_then(|before| behind.ranges.get_mut(before)).filter(|(_, last)| *last == start) {
            Some((_, last)) => *last = end,
            None => {
                behind.ranges.insert(place, (start, end));
                behind.returned += 1;
            }
        }
    }

    /// Puts one back before everyone who waits.
    pub fn put_back(&mut self, hash: u64, offset: u64) {
        let Some(hold) = self.held.get_mut(&hash) else { return };
        let behind = hold.behind();
        behind.ranges.push_front((offset, offset + 1));
        behind.returned += usize::from(behind.returned > 0);
    }

    /// More records are on their way, or fewer. Answers how many are.
    pub fn coming(&mut self, hash: u64, more: i64) -> u32 {
        let Some(hold) = self.held.get_mut(&hash) else { return 0 };
        let behind = hold.behind();
        behind.coming = (i64::from(behind.coming) + more).clamp(0, i64::from(u32::MAX)) as u32;
        behind.coming
    }

    /// Who waits behind the key.
    pub fn behind(&self, hash: u64) -> Option<&Behind> {
        self.held.get(&hash)?.rest.as_deref()
    }

    /// The same, to be changed.
    pub fn behind_mut(&mut self, hash: u64) -> Option<&mut Behind> {
        self.held.get_mut(&hash)?.rest.as_deref_mut()
    }

    /// The key that has had somebody behind it for longest and was not asked about since. It is told again
    /// when another record comes behind it, or when it is put back.
    pub fn pop_crowded(&mut self) -> Option<u64> {
        while let Some(hash) = self.crowded.pop_front() {
            if let Some(behind) = self.behind_mut(hash) {
                behind.crowded = false;
                return Some(hash);
            }
        }
        None
    }

    /// Tells about the key again later.
    pub fn put_back_crowded(&mut self, hash: u64) {
        if let Some(behind) = self.behind_mut(hash)
            && !behind.crowded
        {
            behind.crowded = true;
            self.crowded.push_back(hash);
        }
    }

    /// How many keys may have somebody behind them.
    pub fn crowded_count(&self) -> usize {
        self.crowded.len()
    }

    /// True when some record holds the key, or it is closed.
    pub fn is_held(&self, hash: u64) -> bool {
        self.held.contains_key(&hash)
    }

    /// All held keys, with their holder and who waits behind.
    pub fn all(&self) -> impl Iterator<Item = (u64, u64, Option<&Behind>)> {
        self.held.iter().map(|(hash, hold)| (*hash, hold.holder, hold.rest.as_deref()))
    }

    /// How many keys are held.
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.held.clear();
        self.crowded.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i19_a_record_waits_behind_its_key_and_others_flow() {
        let mut holds = KeyHolds::default();
        assert!(holds.take(1, 10, 0) && holds.take(1, 10, 0) && holds.take(2, 11, 0));
        assert!(!holds.take(1, 12, 5) && !holds.take(1, 13, 6));
        assert!(holds.is_held(1) && !holds.is_held(3));
        assert_eq!(holds.behind(1).map(|behind| (behind.since_ms, behind.singles.len())), Some((5, 2)));
        assert_eq!((holds.pop(1), holds.pop(2), holds.pop(3)), (Some(Popped::Single(12)), None, None));
        holds.hold(1, 12);
        assert_eq!((holds.holder(1), holds.pop(1), holds.pop(1)), (Some(12), Some(Popped::Single(13)), None));
        holds.let_go(1);
        assert!(holds.take(1, 14, 0) && holds.count() == 2);
    }

    #[test]
    fn i19_ranges_go_before_singles_and_a_million_of_them_is_one() {
        let mut holds = KeyHolds::default();
        holds.take(1, 3, 0);
        holds.take(1, 4, 0);
        holds.add_range(1, 100, 500_000);
        holds.add_range(1, 500_000, 1_000_100);
        holds.put_back(1, 50);
        assert_eq!(holds.behind(1).map(|behind| behind.ranges.len()), Some(2));
        let order: Vec<_> = (0..3).map(|_| holds.pop(1)).collect();
        assert_eq!(order, [Popped::Ranged(50), Popped::Ranged(100), Popped::Ranged(101)].map(Some));
        holds.put_back(1, 101);
        assert_eq!(holds.pop(1), Some(Popped::Ranged(101)));
    }

    #[test]
    fn i19_what_comes_back_in_two_parts_stays_in_order_and_who_dies_again_goes_first_again() {
        let mut holds = KeyHolds::default();
        holds.hold(1, NOBODY);
        holds.add_range(1, 40, 42);
        // Both parts had died before offset 50 was given; a part of the first one dies again.
        holds.add_returned(1, (50, 52), 45);
        holds.add_returned(1, (60, 62), 46);
        assert_eq!(holds.pop(1), Some(Popped::Ranged(50)));
        holds.put_back(1, 50);
        assert_eq!((0..2).map(|_| holds.pop(1)).collect::<Vec<_>>(), [50, 51].map(|at| Some(Popped::Ranged(at))));
        holds.add_returned(1, (70, 71), 63);
        holds.add_range(1, 42, 43);
        let order: Vec<_> = std::iter::from_fn(|| holds.pop(1)).collect();
        assert_eq!(order, [70, 60, 61, 40, 41, 42].map(Popped::Ranged));
        assert_eq!(holds.behind(1).map(|behind| behind.returned), Some(0));
    }

    #[test]
    fn a_key_with_somebody_behind_it_is_told_once_until_somebody_else_comes() {
        let mut holds = KeyHolds::default();
        holds.take(1, 1, 0);
        assert_eq!(holds.pop_crowded(), None);
        holds.take(1, 2, 0);
        holds.take(1, 3, 0);
        assert_eq!((holds.crowded_count(), holds.pop_crowded(), holds.pop_crowded()), (1, Some(1), None));
        holds.put_back_crowded(1);
        holds.put_back_crowded(1);
        assert_eq!((holds.pop_crowded(), holds.coming(1, 2), holds.coming(1, -2)), (Some(1), 2, 0));
        holds.take(1, 4, 0);
        holds.let_go(1);
        assert_eq!(holds.pop_crowded(), None);
    }
}
