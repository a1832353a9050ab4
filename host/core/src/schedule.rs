//! What waits for a time or holds a key; shared by the queues.
//!
//! In: keys with the time they are due. Out: those whose time has come, in order of time.
//!
//! The near future is a heap; what is further away lies unsorted in buckets of a minute and costs no more
//! than eight bytes, so that a million records of next week are cheap to keep and cheap to add to.

mod far;
pub mod keys;

pub use keys::KeyHolds;

use far::Far;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Keys ordered by the time they are due. A key may be in it several times: whoever takes one out checks
/// whether that time still holds, which makes moving and removing free.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    near: BinaryHeap<Reverse<(u64, u64)>>,
    /// Everything due before this is in `near`, everything else in `far`.
    near_until_ms: u64,
    far: Far,
}

impl Schedule {
    /// Adds a key that is due at this time, in milliseconds since the Unix epoch.
    pub fn insert(&mut self, due_ms: u64, key: u64) {
        if due_ms < self.near_until_ms {
            self.near.push(Reverse((due_ms, key)));
        } else {
            self.far.insert(due_ms, key);
        }
    }

    /// Takes out the first key whose time has come, with that time; among equals the smallest key first.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(u64, u64)> {
        self.load(now_ms);
        match self.near.peek() {
            Some(Reverse((due_ms, _))) if *due_ms <= now_ms => self.near.pop().map(|Reverse(first)| first),
            _ => None,
        }
    }

    /// When the first key is due. Of a far bucket its beginning is told, which is never too late.
    pub fn next_due_ms(&self) -> Option<u64> {
        let near = self.near.peek().map(|Reverse((due_ms, _))| *due_ms);
        near.or_else(|| self.far.begins_ms())
    }

    /// All of them with their times, in no order.
    pub fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        self.near.iter().map(|Reverse(one)| *one).chain(self.far.all())
    }

    /// How many there are, those included whose time does not hold any more.
    pub fn count(&self) -> usize {
        self.near.len() + self.far.count()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        16 * self.near.capacity() + self.far.bytes()
    }

    /// Moves the buckets that have begun into the heap.
    fn load(&mut self, now_ms: u64) {
        while let Some((end_ms, keys)) = self.far.pop_begun(now_ms) {
            self.near_until_ms = self.near_until_ms.max(end_ms);
            if self.near.is_empty() {
                // What the last rush has left behind is given back.
                self.near = BinaryHeap::new();
            }
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
        assert_eq!((schedule.count(), schedule.all().count()), (6, 6));
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

    #[test]
    fn the_largest_keys_and_times_come_back_as_they_were() {
        let mut schedule = Schedule::default();
        let all = [(u64::MAX, u64::MAX), (u64::MAX - 1, 5), (59_999, 1 << 48), (59_999, (1 << 48) - 1), (60_000, 0)];
        all.iter().for_each(|(due_ms, key)| schedule.insert(*due_ms, *key));
        let mut found: Vec<_> = std::iter::from_fn(|| schedule.pop_due(u64::MAX)).collect();
        found.sort_unstable();
        let mut all = all.to_vec();
        all.sort_unstable();
        assert_eq!(found, all);
    }

    #[test]
    fn i25_a_million_far_keys_take_less_than_ten_bytes_each() {
        let mut schedule = Schedule::default();
        let random = crate::random::Random::seeded(8);
        for key in 0..1_000_000 {
            schedule.insert(random.below(3_600_000), key);
        }
        assert!(schedule.bytes() < 10_000_000, "{}", schedule.bytes());
        let mut last = 0;
        while let Some((due_ms, _)) = schedule.pop_due(u64::MAX) {
            assert!(due_ms >= last);
            last = due_ms;
        }
        assert!(schedule.is_empty());
    }
}
