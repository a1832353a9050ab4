//! What waits for a time that is far away: eight bytes each, in no order.
//!
//! In: keys with the time they are due. Out: those of a bucket when its time comes near.

use std::collections::BTreeMap;

/// Width of a bucket, in milliseconds: wide enough that a month is some 43,000 buckets, narrow enough that
/// sorting one is short, and that a time within it takes sixteen bits.
const BUCKET_MS: u64 = 60_000;
/// Bits of a time within a bucket.
const WITHIN_BITS: u32 = 16;
/// Keys from here on do not fit beside a time.
const KEYS_SHORT: u64 = 1 << (64 - WITHIN_BITS);
/// Entries by which a full bucket grows: doubling would leave half of a large one empty.
const GROW_MAX: usize = 1_024;

const _: () = assert!(BUCKET_MS <= 1 << WITHIN_BITS);

/// Keys by the time they are due.
#[derive(Clone, Debug, Default)]
pub(super) struct Far {
    buckets: BTreeMap<u64, Bucket>,
    count: usize,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Key, and above the bucket's beginning the time.
    short: Vec<u64>,
    /// Those with larger keys.
    long: Vec<(u64, u64)>,
}

impl Bucket {
    fn all(&self, start_ms: u64) -> impl Iterator<Item = (u64, u64)> {
        let within = (1 << WITHIN_BITS) - 1;
        let short = self.short.iter().map(move |one| (start_ms + (one & within), one >> WITHIN_BITS));
        short.chain(self.long.iter().copied())
    }
}

impl Far {
    pub(super) fn insert(&mut self, due_ms: u64, key: u64) {
        let number = due_ms / BUCKET_MS;
        let bucket = self.buckets.entry(number).or_default();
        if key < KEYS_SHORT {
            let short = &mut bucket.short;
            if short.len() == short.capacity() {
                short.reserve_exact(short.len().clamp(1, GROW_MAX));
            }
            short.push(key << WITHIN_BITS | (due_ms - number * BUCKET_MS));
        } else {
            bucket.long.push((due_ms, key));
        }
        self.count += 1;
    }

    /// When the first bucket begins.
    pub(super) fn begins_ms(&self) -> Option<u64> {
        self.buckets.first_key_value().map(|(number, _)| number.saturating_mul(BUCKET_MS))
    }

    /// Takes out the first bucket, when it has begun by then, with its end.
    pub(super) fn pop_begun(&mut self, by_ms: u64) -> Option<(u64, Vec<(u64, u64)>)> {
        let begins_ms = self.begins_ms().filter(|begins_ms| *begins_ms <= by_ms)?;
        let (_, bucket) = self.buckets.pop_first()?;
        let all: Vec<(u64, u64)> = bucket.all(begins_ms).collect();
        self.count -= all.len();
        Some((begins_ms.saturating_add(BUCKET_MS), all))
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets.iter().flat_map(|(number, bucket)| bucket.all(number * BUCKET_MS))
    }

    /// Bytes that the keys take in memory.
    pub(super) fn bytes(&self) -> usize {
        let of = |bucket: &Bucket| 8 * bucket.short.capacity() + 16 * bucket.long.capacity() + 2 * size_of::<Bucket>();
        self.buckets.values().map(of).sum()
    }
}
