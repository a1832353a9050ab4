//! What a run has shown.
//!
//! In: acknowledgements, refusals, deliveries. Out: numbers.

use crate::RECORDS_MAX;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// A set of record numbers.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    words: Vec<u64>,
    count: u64,
}

impl Numbers {
    /// Adds a number; false when it was there, or is beyond `RECORDS_MAX`.
    pub fn add(&mut self, number: u64) -> bool {
        if number >= RECORDS_MAX {
            return false;
        }
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// Adds so many from a number on.
    pub fn add_all(&mut self, first: u64, count: u64) {
        if count == 64 && first.is_multiple_of(64) && first + 64 <= RECORDS_MAX {
            let word = (first / 64) as usize;
            if word >= self.words.len() {
                self.words.resize(word + 1, 0);
            }
            self.count += u64::from(self.words[word].count_zeros());
            self.words[word] = u64::MAX;
            return;
        }
        for number in first..first + count {
            self.add(number);
        }
    }

    /// Whether a number is in it.
    pub fn has(&self, number: u64) -> bool {
        self.words.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of these are not in the other.
    pub fn without(&self, other: &Numbers) -> u64 {
        let of = |place: usize| other.words.get(place).copied().unwrap_or(0);
        self.words.iter().enumerate().map(|(place, word)| u64::from((word & !of(place)).count_ones())).sum()
    }

    /// All of the other too.
    pub fn join(&mut self, other: &Numbers) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
        self.count = self.words.iter().map(|word| u64::from(word.count_ones())).sum();
    }
}

/// A histogram of microseconds.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Quantiles of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of them are at most this.
    pub p50_us: u64,
    /// 99 in 100.
    pub p99_us: u64,
    /// 999 in 1,000.
    pub p999_us: u64,
    /// All.
    pub max_us: u64,
}

impl Latency {
    /// What a histogram says.
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latency { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: histogram.max() }
    }

    /// For a program.
    pub fn json(self) -> Value {
        let Latency { p50_us, p99_us, p999_us, max_us } = self;
        json!({ "p50_us": p50_us, "p99_us": p99_us, "p999_us": p999_us, "max_us": max_us })
    }
}

/// What a drive has shown.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests that were acknowledged.
    pub requests: u64,
    /// Records that were.
    pub acknowledged: Numbers,
    /// Records that were not, by code.
    pub refused: BTreeMap<String, u64>,
    /// From the time when a request was to be sent to its acknowledgement.
    pub latency: Latency,
    /// How late the generator itself sent requests for which a connection was free.
    pub late: Latency,
    /// From the first request to the last answer, in microseconds.
    pub took_us: u64,
    /// Processor time of the generator's thread, in microseconds.
    pub cpu_us: f64,
    /// Records that a rate asked for and that were never sent: the server was too slow for it.
    pub unsent: u64,
    /// Number of the first record that was not sent.
    pub next: u64,
}

impl Outcome {
    /// Acknowledged records a second.
    pub fn records_per_second(&self) -> f64 {
        self.acknowledged.count() as f64 / (self.took_us.max(1) as f64 / 1e6)
    }

    /// What the generator cost for each record, in microseconds of processor time.
    pub fn cpu_us_per_record(&self) -> f64 {
        self.cpu_us / self.acknowledged.count().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_each_number_once_and_tells_what_is_missing() {
        let (mut one, mut two) = (Numbers::default(), Numbers::default());
        one.add_all(0, 100);
        one.add_all(128, 64);
        one.add_all(128, 64);
        assert!(!one.add(99) && one.has(191) && !one.has(192) && !one.has(100));
        (0..99).for_each(|number| assert!(two.add(number)));
        assert_eq!((one.count(), one.without(&two), two.without(&one)), (164, 65, 0));
        two.join(&one);
        assert_eq!((two.count(), one.without(&two)), (164, 0));
        assert!(!one.add(RECORDS_MAX));
    }
}
