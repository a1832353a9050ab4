//! When each request is to be sent.
//!
//! In: a rate and a time. Out: turns, one after another, each with its own time.

/// One request: its first record, and when it is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Number of its first record.
    pub first: u64,
    /// In microseconds since the run began; none: at once.
    pub at_us: Option<u64>,
}

/// Hands out turns until the time is up.
pub struct Schedule {
    rate: Option<u64>,
    batch: u64,
    duration_us: u64,
    begun_us: u64,
    next: u64,
}

impl Schedule {
    /// `rate` in records a second; none: as fast as turns are asked for.
    pub fn new(rate: Option<u64>, batch: u64, duration_us: u64) -> Schedule {
        Schedule { rate, batch, duration_us, begun_us: 0, next: 0 }
    }

    /// From now on.
    pub fn begin(&mut self, now_us: u64) {
        self.begun_us = now_us;
    }

    /// The next turn; none when the time is up. With a rate, turns that are late are handed out all the
    /// same: their records were to be sent within the time.
    pub fn turn(&mut self, now_us: u64) -> Option<Turn> {
        let first = self.next;
        let at_us = self.rate.map(|rate| {
            let after = u128::from(first) * 1_000_000 / u128::from(rate);
            self.begun_us + u64::try_from(after).unwrap_or(u64::MAX / 2)
        });
        if at_us.unwrap_or(now_us) >= self.begun_us + self.duration_us {
            return None;
        }
        self.next += self.batch;
        Some(Turn { first, at_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_has_as_many_turns_as_rate_and_time_say_however_late_they_are_taken() {
        let mut schedule = Schedule::new(Some(1_000), 10, 1_000_000);
        schedule.begin(500);
        let turns: Vec<Turn> = std::iter::from_fn(|| schedule.turn(9_999_999)).collect();
        assert_eq!(turns.len(), 100);
        assert_eq!(turns[1], Turn { first: 10, at_us: Some(10_500) });
    }

    #[test]
    fn a_closed_loop_ends_with_its_time() {
        let mut schedule = Schedule::new(None, 1, 1_000);
        assert_eq!(schedule.turn(999), Some(Turn { first: 0, at_us: None }));
        assert_eq!(schedule.turn(1_000), None);
    }
}
