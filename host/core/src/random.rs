//! The only room that rolls a die: seeded once a process, passed down.
//!
//! In: a seed. Out: numbers. Not for secrets.

use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    /// The same seed gives the same numbers, to one thread.
    pub fn seeded(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }

    /// Seeded by the system.
    pub fn from_system() -> Random {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        Random::seeded(hasher.finish())
    }

    /// Any number.
    pub fn next_u64(&self) -> u64 {
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// Mixes a number well: the output function of SplitMix64.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_run_and_numbers_stay_below_their_bound() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        for bound in [1, 2, 10, 1_000_000] {
            let number = a.below(bound);
            assert_eq!(number, b.below(bound));
            assert!(number < bound);
        }
        assert_ne!(Random::seeded(1).next_u64(), Random::seeded(2).next_u64());
    }
}
