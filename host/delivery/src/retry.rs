//! When a failed record is tried again, and when it is given up. Pure: the time and the die are told.
//!
//! In: what was spent so far. Out: when it is due, or which budget is used up.

use crate::limits;
use crate::policy::{Jitter, RetryPolicy};
use std::time::Duration;
use walhost_core::attempt::Exhausted;

/// What becomes of a record whose failure has spent an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Again, not before this time, in milliseconds since the Unix epoch.
    At(u64),
    /// Never: this budget is used up.
    GiveUp(Exhausted),
}

/// The attempts of the present budget, before the failure that is now looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spent {
    /// How many were spent.
    pub attempts: u32,
    /// When the first one was, in milliseconds since the Unix epoch.
    pub first_at_ms: Option<u64>,
}

/// A failure has spent an attempt at `now_ms`. `after` is what the verdict asked for; without it the wait is
/// the policy's. `dice` answers a number below its argument.
pub fn next(
    policy: &RetryPolicy,
    spent: Spent,
    now_ms: u64,
    after: Option<Duration>,
    dice: &mut dyn FnMut(u64) -> u64,
) -> Next {
    let attempts = spent.attempts.saturating_add(1);
    let age_ms = now_ms.saturating_sub(spent.first_at_ms.unwrap_or(now_ms));
    if policy.max_attempts > 0 && attempts >= policy.max_attempts {
        Next::GiveUp(Exhausted::Attempts)
    } else if policy.max_age_ms > 0 && age_ms >= policy.max_age_ms {
        Next::GiveUp(Exhausted::Age)
    } else {
        let wait_ms = after.map_or_else(|| wait_ms(policy, attempts, dice), after_ms);
        Next::At(now_ms.saturating_add(wait_ms))
    }
}

/// The wait after the `failures`th failure, counted from 1, spread as the policy says.
pub fn wait_ms(policy: &RetryPolicy, failures: u32, dice: &mut dyn FnMut(u64) -> u64) -> u64 {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = policy.initial_ms as f64 * policy.factor.max(1.0).powi(exponent);
    // A cast from a float saturates, also from infinity.
    let whole = (grown as u64).min(policy.max_interval_ms);
    match policy.jitter {
        Jitter::None => whole,
        Jitter::Full => dice(whole.saturating_add(1)),
    }
}

/// What a verdict asked for, bounded.
pub fn after_ms(after: Duration) -> u64 {
    u64::try_from(after.as_millis()).unwrap_or(u64::MAX).min(limits::AFTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy { jitter: Jitter::None, max_attempts: 3, max_age_ms: 10_000, ..RetryPolicy::default() }
    }

    fn none(_: u64) -> u64 {
        unreachable!("without jitter no die is rolled")
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_longest() {
        let policy = RetryPolicy { initial_ms: 200, factor: 2.0, max_interval_ms: 1_000, ..policy() };
        let waits: Vec<u64> = (1..=6).map(|failures| wait_ms(&policy, failures, &mut none)).collect();
        assert_eq!(waits, [200, 400, 800, 1_000, 1_000, 1_000]);
        assert_eq!(wait_ms(&policy, u32::MAX, &mut none), 1_000, "no overflow, however often");
        assert_eq!(wait_ms(&RetryPolicy { factor: 1.0, ..policy }, 9, &mut none), 200);
    }

    #[test]
    fn full_jitter_lies_between_nothing_and_the_whole_wait() {
        let policy = RetryPolicy { initial_ms: 200, jitter: Jitter::Full, ..policy() };
        let mut asked = 0;
        assert_eq!(
            wait_ms(&policy, 1, &mut |bound| {
                asked = bound;
                bound - 1
            }),
            200
        );
        assert_eq!((asked, wait_ms(&policy, 1, &mut |_| 0)), (201, 0));
    }

    #[test]
    fn the_last_allowed_attempt_gives_up() {
        let spent = |attempts| Spent { attempts, first_at_ms: Some(1_000) };
        assert_eq!(next(&policy(), spent(1), 1_000, None, &mut none), Next::At(1_400));
        assert_eq!(next(&policy(), spent(2), 1_000, None, &mut none), Next::GiveUp(Exhausted::Attempts));
        let unbounded = RetryPolicy { max_attempts: 0, ..policy() };
        assert!(matches!(next(&unbounded, spent(1_000), 1_000, None, &mut none), Next::At(_)));
    }

    #[test]
    fn age_counts_from_the_first_spent_attempt_only() {
        let held_for_long = Spent::default();
        assert_eq!(next(&policy(), held_for_long, 99_000_000, None, &mut none), Next::At(99_000_200));
        let spent = Spent { attempts: 1, first_at_ms: Some(5_000) };
        assert!(matches!(next(&policy(), spent, 14_999, None, &mut none), Next::At(_)));
        assert_eq!(next(&policy(), spent, 15_000, None, &mut none), Next::GiveUp(Exhausted::Age));
        let clock_went_back = Spent { attempts: 1, first_at_ms: Some(50_000) };
        assert!(matches!(next(&policy(), clock_went_back, 15_000, None, &mut none), Next::At(_)));
    }

    #[test]
    fn a_verdict_that_asks_for_a_time_gets_it_within_bounds() {
        let ask = |ms| next(&policy(), Spent::default(), 0, Some(Duration::from_millis(ms)), &mut none);
        assert_eq!(ask(7_000), Next::At(7_000));
        assert_eq!(ask(u64::MAX), Next::At(limits::AFTER_MS_MAX));
    }
}
