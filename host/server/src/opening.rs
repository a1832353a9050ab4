//! Says how far the opening of the log has come, when that takes longer than a moment.
//!
//! In: progress, as the log tells it. Out: a line that moves on a terminal, else a log line now and then.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::Clock;
use walhost_log::Progress;

/// Nothing is said of an open that is done by then.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two log lines.
const PAUSE: Duration = Duration::from_secs(3);

struct Opening {
    clock: Arc<dyn Clock>,
    began: Duration,
    terminal: bool,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    bar: Option<ProgressBar>,
    at: Option<Duration>,
}

/// Whom the log is to tell.
pub(crate) fn progress(clock: Arc<dyn Clock>) -> Arc<dyn Fn(Progress) + Send + Sync> {
    let terminal = std::io::stderr().is_terminal();
    let opening = Opening { began: clock.monotonic(), clock, terminal, said: Mutex::default() };
    Arc::new(move |progress| drop(opening.say(progress)))
}

impl Opening {
    /// Answers the line that was written to the log, if one was.
    fn say(&self, progress: Progress) -> Option<String> {
        let now = self.clock.monotonic();
        let took = now.saturating_sub(self.began);
        let mut said = self.said.lock();
        if self.terminal {
            if progress.segments >= progress.segments_total {
                if let Some(bar) = said.bar.take() {
                    bar.finish_and_clear();
                }
            } else if took >= PATIENCE {
                let bar = said.bar.get_or_insert_with(|| bar(progress.bytes_total));
                bar.set_position(progress.bytes);
            }
            return None;
        }
        let last = said.at.unwrap_or(self.began);
        let wait = if said.at.is_some() { PAUSE } else { PATIENCE };
        if now.saturating_sub(last) < wait {
            return None;
        }
        said.at = Some(now);
        let line = line(&progress, took);
        tracing::info!("{line}");
        Some(line)
    }
}

fn line(progress: &Progress, took: Duration) -> String {
    format!(
        "the log is read: {} of {} segments, {} of {} MiB, after {:.1} s",
        progress.segments,
        progress.segments_total,
        progress.bytes >> 20,
        progress.bytes_total >> 20,
        took.as_secs_f64()
    )
}

fn bar(bytes_all: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes_all), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("the log is read  {wide_bar}  {bytes} of {total_bytes}  {eta}");
    bar.with_style(style.expect("the template is a constant"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::time::SimClock;

    #[test]
    fn a_short_open_says_nothing_and_a_long_one_a_line_now_and_then() {
        let clock = Arc::new(SimClock::new(0));
        let opening = Opening {
            began: clock.monotonic(),
            clock: Arc::clone(&clock) as _,
            terminal: false,
            said: Mutex::default(),
        };
        let at = |segments| Progress { segments, segments_total: 4, bytes: segments << 26, bytes_total: 4 << 26 };
        assert_eq!(opening.say(at(0)), None);
        clock.advance(Duration::from_millis(999));
        assert_eq!(opening.say(at(1)), None);
        clock.advance(Duration::from_millis(501));
        let line = opening.say(at(2)).unwrap();
        assert_eq!(line, "the log is read: 2 of 4 segments, 128 of 256 MiB, after 1.5 s");
        clock.advance(Duration::from_secs(2));
        assert_eq!(opening.say(at(3)), None);
        clock.advance(Duration::from_secs(1));
        assert!(opening.say(at(4)).is_some());
    }
}
