//! Bounds a future in time, by the host's clock.
//!
//! In: a clock, a duration, a future. Out: its output, or nothing when the time was over first.

use std::future::Future;
use std::time::Duration;
use walhost_core::Clock;

/// The future's output; `None` when `duration` passed first. The future is dropped then.
pub async fn within<F: Future>(clock: &dyn Clock, duration: Duration, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = clock.sleep(duration) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walhost_core::time::SimClock;

    #[tokio::test]
    async fn what_is_ready_wins_and_what_hangs_is_ended_by_the_clock() {
        let clock = std::sync::Arc::new(SimClock::new(0));
        assert_eq!(within(&*clock, Duration::from_secs(1), std::future::ready(7)).await, Some(7));
        let asked = clock.clone();
        let waiting = walhost_core::exec::task(async move {
            within(&*asked, Duration::from_secs(1), std::future::pending::<()>()).await
        });
        while clock.next_wake().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiting.await.expect("the task ends"), None);
    }
}
