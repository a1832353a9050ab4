//! One clock for sender and receiver, and what a thread has cost.
//!
//! In: nothing. Out: microseconds.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use walhost_core::Clock;
use walhost_core::time::SystemClock;

/// Microseconds since it was made; clones count from the same moment.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Arc<SystemClock>);

impl Timeline {
    /// Since the beginning.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.0.monotonic().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Processor time of the calling thread so far, in microseconds.
pub fn thread_cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Lets this thread's waits end when they should: the kernel's default is up to 50 µs later.
pub fn wake_exactly() {
    // A kernel that refuses wakes later; the figures then say so.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
