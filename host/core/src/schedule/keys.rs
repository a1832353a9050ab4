//! Who holds an ordering key, and who waits behind it (I19).
//!
//! In: hashes of keys with the offset of a record. Out: whether the record may start, and who follows.
//!
//! Two keys with one hash are ordered together: that is stricter than asked, and never wrong.

use std::collections::{HashMap, VecDeque};

/// The held keys of one target.
#[derive(Clone, Debug, Default)]
pub struct KeyHolds {
    held: HashMap<u64, Hold>,
    waiting: usize,
}

#[derive(Clone, Debug)]
struct Hold {
    holder: u64,
    behind: VecDeque<u64>,
}

impl KeyHolds {
    /// Asks for a key. True: the record holds it now, or did before. False: it waits behind the holder.
    pub fn take(&mut self, hash: u64, offset: u64) -> bool {
        let hold = self.held.entry(hash).or_insert_with(|| Hold { holder: offset, behind: VecDeque::new() });
        if hold.holder == offset {
            return true;
        }
        hold.behind.push_back(offset);
        self.waiting += 1;
        false
    }

    /// The record is terminal. Who follows holds the key from now on and may start.
    pub fn release(&mut self, hash: u64, offset: u64) -> Option<u64> {
        let hold = self.held.get_mut(&hash)?;
        if hold.holder != offset {
            return None;
        }
        match hold.behind.pop_front() {
            Some(next) => {
                self.waiting -= 1;
                hold.holder = next;
                Some(next)
            }
            None => {
                self.held.remove(&hash);
                None
            }
        }
    }

    /// A record that waited is gone, cancelled for instance. True when it waited here.
    pub fn forget(&mut self, hash: u64, offset: u64) -> bool {
        let Some(hold) = self.held.get_mut(&hash) else { return false };
        let before = hold.behind.len();
        hold.behind.retain(|waiting| *waiting != offset);
        self.waiting -= before - hold.behind.len();
        before != hold.behind.len()
    }

    /// Nobody waits for this key any more. Answers who did, in order.
    pub fn forget_all(&mut self, hash: u64) -> VecDeque<u64> {
        let behind = self.held.get_mut(&hash).map(|hold| std::mem::take(&mut hold.behind)).unwrap_or_default();
        self.waiting -= behind.len();
        behind
    }

    /// True when some record holds the key.
    pub fn is_held(&self, hash: u64) -> bool {
        self.held.contains_key(&hash)
    }

    /// How many records wait behind another one.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// True when the record waits behind another one of this key.
    pub fn waits(&self, hash: u64, offset: u64) -> bool {
        self.held.get(&hash).is_some_and(|hold| hold.behind.contains(&offset))
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.held.clear();
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i19_a_record_waits_behind_its_key_and_others_flow() {
        let mut holds = KeyHolds::default();
        assert!(holds.take(1, 10) && holds.take(1, 10) && holds.take(2, 11));
        assert!(!holds.take(1, 12) && !holds.take(1, 13));
        assert!(holds.waits(1, 12) && !holds.waits(1, 10));
        assert!(holds.is_held(1) && !holds.is_held(3));
        assert_eq!((holds.waiting(), holds.release(1, 12), holds.release(1, 10)), (2, None, Some(12)));
        assert!(holds.forget(1, 13) && !holds.forget(1, 13));
        assert_eq!((holds.release(1, 12), holds.waiting()), (None, 0));
        assert!(holds.take(1, 14));
        assert!(!holds.take(1, 15) && !holds.take(1, 16));
        assert_eq!((holds.forget_all(1), holds.forget_all(2).len(), holds.waiting()), ([15, 16].into(), 0, 0));
        assert_eq!(holds.release(1, 14), None);
    }
}
