//! When each request is to be sent.
//!
//! In: a rate and a time. Out: turns, one after another, each with its own time.

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// To be sent now: its first record, and when it was to be sent, in microseconds; none: whenever it is.
    Now(u64, Option<u64>),
    /// The next one is to be sent then.
    At(u64),
    /// There is none any more.
    Over,
}

/// Hands out turns until the time is up.
pub struct Schedule {
    rate: Option<u64>,
    batch: u64,
    duration_us: u64,
    patience_us: u64,
    begun_us: u64,
    first: u64,
    next: u64,
}

impl Schedule {
    /// Records are numbered from `first` on; `rate` in records a second, none: as fast as turns are asked for.
    /// Turns that are late are handed out all the same, but not later than `patience_us` after the time.
    pub fn new(first: u64, rate: Option<u64>, batch: u64, duration_us: u64, patience_us: u64) -> Schedule {
        Schedule { rate, batch, duration_us, patience_us, begun_us: 0, first, next: 0 }
    }

    /// From now on.
    pub fn begin(&mut self, now_us: u64) {
        self.begun_us = now_us;
    }

    /// The next turn. With a rate, turns that are late are handed out all the same: their records were to be
    /// sent within the time.
    pub fn turn(&mut self, now_us: u64) -> Turn {
        if self.is_over(now_us) {
            return Turn::Over;
        }
        let at_us = self.at_us();
        if let Some(at_us) = at_us.filter(|at_us| *at_us > now_us) {
            return Turn::At(at_us);
        }
        let first = self.first + self.next;
        self.next += self.batch;
        Turn::Now(first, at_us)
    }

    /// Whether there is none any more.
    pub fn is_over(&self, now_us: u64) -> bool {
        let end_us = self.begun_us + self.duration_us;
        self.at_us().unwrap_or(now_us) >= end_us || now_us >= end_us.saturating_add(self.patience_us)
    }

    fn at_us(&self) -> Option<u64> {
        self.rate.map(|rate| {
            let after = u128::from(self.next) * 1_000_000 / u128::from(rate);
            self.begun_us.saturating_add(u64::try_from(after).unwrap_or(u64::MAX / 2))
        })
    }

    /// Records of turns that were to come within the time and were not handed out.
    pub fn unsent(&self) -> u64 {
        let due = |rate: u64| u128::from(rate) * u128::from(self.duration_us) / 1_000_000;
        self.rate.map_or(0, |rate| u64::try_from(due(rate)).unwrap_or(u64::MAX).saturating_sub(self.next))
    }

    /// Number of the first record that was not handed out.
    pub fn next(&self) -> u64 {
        self.first + self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(schedule: &mut Schedule, now_us: u64) -> Vec<Turn> {
        std::iter::from_fn(|| Some(schedule.turn(now_us)).filter(|turn| *turn != Turn::Over)).collect()
    }

    #[test]
    fn an_open_loop_has_as_many_turns_as_rate_and_time_say_however_late_they_are_taken() {
        let mut schedule = Schedule::new(7, Some(1_000), 10, 1_000_000, u64::MAX / 2);
        schedule.begin(500);
        let turns = all(&mut schedule, 9_999_999);
        assert_eq!((turns.len(), schedule.unsent(), schedule.next()), (100, 0, 1_007));
        assert_eq!(turns[1], Turn::Now(17, Some(10_500)));
    }

    #[test]
    fn an_open_loop_waits_for_a_turn_s_time() {
        let mut schedule = Schedule::new(0, Some(1_000), 1, 1_000_000, 0);
        schedule.begin(0);
        assert_eq!((schedule.turn(0), schedule.turn(0)), (Turn::Now(0, Some(0)), Turn::At(1_000)));
    }

    #[test]
    fn what_a_server_does_not_take_in_time_is_left_unsent() {
        let mut schedule = Schedule::new(0, Some(1_000), 1, 1_000_000, 500_000);
        schedule.begin(0);
        assert!(matches!(schedule.turn(1_400_000), Turn::Now(0, Some(0))));
        assert_eq!((schedule.turn(1_500_000), schedule.unsent()), (Turn::Over, 999));
    }

    #[test]
    fn a_closed_loop_ends_with_its_time() {
        let mut schedule = Schedule::new(0, None, 1, 1_000, 0);
        assert_eq!(schedule.turn(999), Turn::Now(0, None));
        assert_eq!((schedule.turn(1_000), schedule.unsent()), (Turn::Over, 0));
    }
}
