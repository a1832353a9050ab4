//! What waits for a time or holds a key; shared by the queues.
//!
//! In: keys with the time they are due. Out: those whose time has come, in order of time.
//!
//! The near future is a heap; what is further away lies unsorted in buckets of a minute and costs no more
//! than its own bytes, so that a million records of next week are cheap to keep and cheap to add to.

pub mod keys;

pub use keys::KeyHolds;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Width of a far bucket, in milliseconds: wide enough that a month is some 43,000 buckets, narrow enough
/// that sorting one is short.
const BUCKET_MS: u64 = 60_000;

/// Keys ordered by the time they are due. A key may be in it several times: whoever takes one out checks
/// whether that time still holds, which makes moving and removing free.
#[derive(Clone, Debug)]
pub struct Schedule<K: Ord + Copy> {
    near: BinaryHeap<Reverse<(u64, K)>>,
    /// Everything due before this is in `near`, everything else in `far`.
    near_until_ms: u64,
    far: BTreeMap<u64, Vec<(u64, K)>>,
    far_count: usize,
}

impl<K: Ord + Copy> Default for Schedule<K> {
    fn default() -> Self {
        Schedule { near: BinaryHeap::new(), near_until_ms: 0, far: BTreeMap::new(), far_count: 0 }
    }
}

impl<K: Ord + Copy> Schedule<K> {
    /// Adds a key that is due at this time, in milliseconds since the Unix epoch.
    pub fn insert(&mut self, due_ms: u64, key: K) {
        if due_ms < self.near_until_ms {
            self.near.push(Reverse((due_ms, key)));
        } else {
            self.far.entry(due_ms / BUCKET_MS).or_default().push((due_ms, key));
            self.far_count += 1;
        }
    }

    /// Takes out the first key whose time has come, with that time; among equals the smallest key first.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(u64, K)> {
        self.load(now_ms);
        match self.near.peek() {
            Some(Reverse((due_ms, _))) if *due_ms <= now_ms => self.near.pop().map(|Reverse(first)| first),
            _ => None,
        }
    }

    /// When the first key is due. Of a far bucket its beginning is told, which is never too late.
    pub fn next_due_ms(&self) -> Option<u64> {
        match (self.near.peek(), self.far.first_key_value()) {
            (Some(Reverse((due_ms, _))), _) => Some(*due_ms),
            (None, Some((bucket, _))) => Some(bucket * BUCKET_MS),
            (None, None) => None,
        }
    }

    /// All of them with their times, in no order.
    pub fn all(&self) -> impl Iterator<Item = (u64, K)> {
        let near = self.near.iter().map(|Reverse(one)| *one);
        near.chain(self.far.values().flatten().copied())
    }

    /// How many there are, those included whose time does not hold any more.
    pub fn count(&self) -> usize {
        self.near.len() + self.far_count
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Moves the buckets that have begun into the heap.
    fn load(&mut self, now_ms: u64) {
        while let Some(bucket) = self.far.first_entry() {
            if *bucket.key() * BUCKET_MS > now_ms {
                break;
            }
            self.near_until_ms = self.near_until_ms.max((bucket.key() + 1) * BUCKET_MS);
            let keys = bucket.remove();
            self.far_count -= keys.len();
            self.near.extend(keys.into_iter().map(Reverse));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_in_order_of_time_and_never_early() {
        let mut schedule = Schedule::default();
        for due_ms in [500, 100, 61_000, 100, 3_600_000, 0] {
            schedule.insert(due_ms, due_ms + 1);
        }
        assert_eq!(schedule.count(), 6);
        assert_eq!(schedule.pop_due(0), Some((0, 1)));
        assert_eq!(schedule.pop_due(99), None);
        assert_eq!(schedule.next_due_ms(), Some(100));
        assert_eq!(
            (schedule.pop_due(100), schedule.pop_due(100), schedule.pop_due(100)),
            (Some((100, 101)), Some((100, 101)), None)
        );
        schedule.insert(200, 7);
        assert_eq!(
            (schedule.pop_due(60_999), schedule.pop_due(60_999), schedule.pop_due(60_999)),
            (Some((200, 7)), Some((500, 501)), None)
        );
        assert_eq!(schedule.pop_due(61_000), Some((61_000, 61_001)));
        assert_eq!(schedule.pop_due(u64::MAX), Some((3_600_000, 3_600_001)));
        assert!(schedule.is_empty() && schedule.next_due_ms().is_none());
    }

    #[test]
    fn a_clock_that_jumps_back_and_forth_loses_nothing() {
        let mut schedule = Schedule::default();
        let random = crate::random::Random::seeded(7);
        let (mut put, mut got) = (0_u64, 0_u64);
        for _ in 0..2_000 {
            let now = random.below(10_000_000);
            schedule.insert(random.below(10_000_000), put);
            put += 1;
            while let Some((due_ms, _)) = schedule.pop_due(now) {
                assert!(due_ms <= now);
                got += 1;
            }
        }
        while schedule.pop_due(u64::MAX).is_some() {
            got += 1;
        }
        assert_eq!(put, got);
    }
}
