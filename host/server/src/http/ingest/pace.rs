//! A namespace's rate, in records a second: a bucket that holds one second's worth.
//!
//! In: how many records, and the time. Out: go on, or how long to wait. No lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time at which the bucket would be full again, in nanoseconds (the generic cell rate algorithm).
#[derive(Debug)]
pub struct Pace {
    full_at_ns: AtomicU64,
    per_second: u64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Pace {
    /// A bucket that is full.
    pub fn new(per_second: u64) -> Pace {
        Pace { full_at_ns: AtomicU64::new(0), per_second: per_second.max(1) }
    }

    /// Takes `records` at this monotonic time; or how long until they could be taken. A batch larger than
    /// one second's worth goes when the bucket is full, and is paid for afterwards.
    pub fn take(&self, records: u64, now: Duration) -> Result<(), Duration> {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let cost_ns = u64::try_from(u128::from(records) * u128::from(SECOND_NS) / u128::from(self.per_second))
            .unwrap_or(u64::MAX);
        let mut full_at = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let begin = full_at.max(now_ns);
            let ends = begin.saturating_add(cost_ns);
            let room = SECOND_NS.max(cost_ns);
            if ends > now_ns.saturating_add(room) {
                return Err(Duration::from_nanos(ends - room - now_ns));
            }
            match self.full_at_ns.compare_exchange_weak(full_at, ends, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_seconds_worth_goes_at_once_and_the_rest_at_the_rate() {
        let pace = Pace::new(100);
        let at = Duration::from_secs(50);
        assert_eq!((0..200).filter(|_| pace.take(1, at).is_ok()).count(), 100);
        let wait = pace.take(1, at).unwrap_err();
        assert_eq!(wait, Duration::from_millis(10));
        assert!(pace.take(1, at + wait).is_ok());
        assert!(pace.take(1, at + wait).is_err());
    }

    #[test]
    fn a_batch_larger_than_the_bucket_is_not_refused_for_ever() {
        let pace = Pace::new(100);
        assert!(pace.take(500, Duration::from_secs(9)).is_ok());
        let wait = pace.take(500, Duration::from_secs(9)).unwrap_err();
        assert_eq!(wait, Duration::from_secs(5));
    }
}
