//! Maps keyed by the queue's own numbers: offsets, tokens, hashes of keys.
//!
//! In: numbers that nobody outside can choose. Out: a hash map that does not guard against those who could;
//! several of them are asked for every record that is leased and settled.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use walhost_core::random::mix;

/// A map keyed by numbers.
pub(crate) type SpreadMap<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;
/// The same, to be taken as it is at one moment without a copy: for what snapshots hold.
pub(crate) type StillMap<K, V> =
    imbl::GenericHashMap<K, V, BuildHasherDefault<Spread>, imbl::shared_ptr::DefaultSharedPtr>;
/// A set of numbers.
pub(crate) type SpreadSet<K> = HashSet<K, BuildHasherDefault<Spread>>;

/// Spreads numbers that follow one another over all of a map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn neighbours_are_far_apart_and_both_parts_of_a_pair_count() {
        let hasher = BuildHasherDefault::<Spread>::default();
        let all: HashSet<u64> = (0..1_000_u64).map(|offset| hasher.hash_one(offset) >> 48).collect();
        assert!(all.len() > 950, "{}", all.len());
        assert_ne!(hasher.hash_one((1_u32, 2_u64)), hasher.hash_one((2_u32, 1_u64)));
        assert_ne!(hasher.hash_one((0_u64, 1_u16)), hasher.hash_one((0_u64, 0_u16)));
    }
}
