//! The only room that reads a clock or sleeps. Simulated in tests.
//!
//! In: nothing. Out: the time of day, a monotonic time, and waiting.

use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A future that a `Clock` gives.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time of day, monotonic time, waiting.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch. May jump.
    fn now_us(&self) -> u64;

    /// Time since some fixed point; never goes back.
    fn monotonic(&self) -> Duration;

    /// Resolves when so much monotonic time has passed.
    fn sleep(&self, duration: Duration) -> Sleep;

    /// Milliseconds since the Unix epoch. May jump.
    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }
}

/// The machine's clock; sleeps on tokio's timer.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is advanced.
#[derive(Debug)]
pub struct SimClock {
    state: Mutex<SimState>,
}

#[derive(Debug)]
struct SimState {
    wall_us: u64,
    monotonic: Duration,
    sleepers: Vec<(Duration, tokio::sync::oneshot::Sender<()>)>,
}

impl SimClock {
    /// Begins at this time of day.
    pub fn new(wall_ms: u64) -> SimClock {
        let state = SimState { wall_us: wall_ms * 1_000, monotonic: Duration::ZERO, sleepers: Vec::new() };
        SimClock { state: Mutex::new(state) }
    }

    /// Lets so much time pass, and wakes who slept until then.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state.lock();
        state.wall_us += u64::try_from(duration.as_micros()).expect("simulated time fits");
        state.monotonic += duration;
        let now = state.monotonic;
        for (_, waker) in state.sleepers.extract_if(.., |(until, _)| *until <= now) {
            let _ = waker.send(());
        }
    }

    /// Moves the time of day only, forwards or back, as an operator or a time server may.
    pub fn jump_to_ms(&self, wall_ms: u64) {
        self.state.lock().wall_us = wall_ms * 1_000;
    }

    /// How long until the next sleeper wakes; none when nobody sleeps.
    pub fn next_wake(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        state.sleepers.retain(|(_, waker)| !waker.is_closed());
        let now = state.monotonic;
        state.sleepers.iter().map(|(until, _)| until.saturating_sub(now)).min()
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        self.state.lock().wall_us
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (waker, woken) = tokio::sync::oneshot::channel();
        let mut state = self.state.lock();
        let until = state.monotonic + duration;
        state.sleepers.push((until, waker));
        Box::pin(async move {
            // A clock that is gone wakes nobody: its simulation has ended.
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_sleeper_wakes_when_its_time_has_come_and_no_sooner() {
        let clock = SimClock::new(1_000);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut sleep = clock.sleep(Duration::from_millis(10));
        clock.advance(Duration::from_millis(9));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.next_wake(), Some(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert_eq!(clock.now_ms(), 1_010);
    }
}
