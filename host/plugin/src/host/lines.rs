//! Log lines of guests: bounded in length and rate, control characters escaped (I44).
//!
//! In: text from a guest. Out: `LogLine`s to the host's sink; over the rate they are counted and dropped.

use crate::host::Context;
use crate::limits;
use crate::options::{LogLevel, LogLine, LogSink};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::attempt::clean;

/// The lines of one slot.
pub(crate) struct Lines {
    sink: Arc<dyn LogSink>,
    /// Lines that may come now, in thousandths, and when that was counted.
    bucket: Mutex<(u64, Duration)>,
}

impl Lines {
    pub fn new(sink: Arc<dyn LogSink>, now: Duration) -> Lines {
        Lines { sink, bucket: Mutex::new((u64::from(limits::LOG_LINES_BURST) * 1_000, now)) }
    }

    /// Whether a line of this level would be kept.
    pub fn enabled(&self, level: LogLevel) -> bool {
        self.sink.enabled(level)
    }

    fn admit(&self, now: Duration) -> bool {
        let mut bucket = self.bucket.lock();
        let passed = u64::try_from(now.saturating_sub(bucket.1).as_millis()).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(u64::from(limits::LOG_LINES_PER_SECOND));
        if gained > 0 {
            *bucket = (bucket.0.saturating_add(gained).min(u64::from(limits::LOG_LINES_BURST) * 1_000), now);
        }
        match bucket.0.checked_sub(1_000) {
            Some(left) => {
                bucket.0 = left;
                true
            }
            None => false,
        }
    }
}

impl Context {
    /// One line of a guest.
    pub fn line(&self, level: LogLevel, text: &str, fields: &[(String, String)]) {
        if !self.lines.enabled(level) {
            return;
        }
        if !self.lines.admit(self.clock.monotonic()) {
            self.calls.line_dropped();
            return;
        }
        let mut line = clean(text, limits::LOG_LINE_BYTES_MAX);
        for (name, value) in fields.iter().take(limits::LOG_FIELDS_MAX) {
            let room = limits::LOG_LINE_BYTES_MAX - line.len();
            line += &clean(&format!(" {name}={value}"), room);
        }
        self.lines.sink.line(LogLine {
            namespace: self.namespace.clone(),
            target: self.target.clone(),
            digest: self.digest,
            level,
            text: line,
        });
    }
}
