//! A target's `rate`: a bucket of records that fills with time. Pure: every call is told the time.
//!
//! In: the rate, the time, how many records went. Out: how many may go, and when more may.

use std::time::Duration;

/// A tenth of a second's records may go at once after a pause.
const BURST_PER_SECOND: u64 = 10;
/// A batch waits for so much of a second's records, so that a busy target does not get them one by one.
const SHARE_PER_SECOND: u64 = 100;

/// The bucket. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub struct Bucket {
    /// In billionths of a record.
    level: u128,
    filled_at: Option<Duration>,
}

const ONE: u128 = 1_000_000_000;

impl Bucket {
    /// How many records may go now, at most `wanted`; none of them is taken out. `Err`: when to ask again.
    pub fn available(&mut self, per_second: u64, wanted: usize, now: Duration) -> Result<usize, Duration> {
        let burst = (per_second / BURST_PER_SECOND).max(1);
        let filled = match self.filled_at.replace(now) {
            None => u128::from(burst) * ONE,
            Some(before) => self.level + u128::from(per_second) * now.saturating_sub(before).as_nanos(),
        };
        self.level = filled.min(u128::from(burst) * ONE);
        let share = (per_second / SHARE_PER_SECOND).max(1).min(burst).min(wanted.max(1) as u64);
        let needed = u128::from(share) * ONE;
        if self.level >= needed {
            return Ok(usize::try_from(self.level / ONE).unwrap_or(usize::MAX).min(wanted));
        }
        let missing = (needed - self.level).div_ceil(u128::from(per_second.max(1)));
        Err(now + Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX)))
    }

    /// So many went.
    pub fn take(&mut self, records: usize) {
        self.level = self.level.saturating_sub(records as u128 * ONE);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_through_the_rate_and_one_burst_at_most() {
        for per_second in [1, 7, 500, 20_000] {
            let mut bucket = Bucket::default();
            let (mut now, mut went) = (Duration::ZERO, 0_u64);
            while now < Duration::from_secs(10) {
                match bucket.available(per_second, 128, now) {
                    Ok(records) => {
                        assert!(records > 0);
                        bucket.take(records);
                        went += records as u64;
                    }
                    Err(later) => {
                        assert!(later > now);
                        now = later;
                    }
                }
            }
            let most = per_second * 10 + per_second / 10 + 1;
            assert!((per_second * 99 / 10..=most).contains(&went), "{per_second}/s let {went} through in 10 s");
        }
    }

    #[test]
    fn what_was_not_used_is_not_saved_beyond_one_burst() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.available(100, 1_000, Duration::ZERO), Ok(10));
        assert_eq!(bucket.available(100, 1_000, Duration::from_secs(60)), Ok(10));
        bucket.take(10);
        assert!(bucket.available(100, 1_000, Duration::from_secs(60)).is_err());
    }
}
