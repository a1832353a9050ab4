//! What a worker shows: its status.
//!
//! In: the shared state. Out: `TargetStatus`, times as time of day.

use super::shared::Shared;
use crate::status::{BreakerState, BreakerStatus, TargetState, TargetStatus};
use std::time::Duration;

impl Shared {
    pub fn status(&self) -> TargetStatus {
        let (now, now_ms) = (self.clock.monotonic(), self.clock.now_ms());
        // A time of the monotonic clock, as the time of day that it will be or was.
        let wall = |time: Duration| {
            let ahead = u64::try_from(time.saturating_sub(now).as_millis()).unwrap_or(u64::MAX);
            let ago = u64::try_from(now.saturating_sub(time).as_millis()).unwrap_or(u64::MAX);
            now_ms.saturating_add(ahead).saturating_sub(ago)
        };
        let pipeline = self.pipeline.load();
        let control = self.control.lock();
        let breaker = &control.memory.breaker;
        let opened = breaker.opened();
        let throttled_until = control.throttled_until.filter(|until| *until > now);
        let state = if control.stopped {
            TargetState::Stopped
        } else if let Some(reason) = &control.paused {
            TargetState::Paused { reason: reason.clone() }
        } else if pipeline.target.is_none() {
            TargetState::Idle
        } else if breaker.state() == BreakerState::Probing {
            TargetState::Probing
        } else if let Some((code, _, next_probe)) = opened {
            let until_ms = wall(next_probe.max(throttled_until.unwrap_or_default()));
            TargetState::Open { until_ms, code: code.to_owned() }
        } else if let Some(until) = throttled_until {
            TargetState::Throttled { until_ms: wall(until) }
        } else {
            TargetState::Active
        };
        TargetStatus {
            state,
            breaker: BreakerStatus {
                state: breaker.state(),
                failures: breaker.failures(),
                rejects: breaker.rejects(),
                code: opened.map(|(code, _, _)| code.to_owned()),
                opened_at_ms: opened.map(|(_, since, _)| wall(since)),
                next_probe_at_ms: opened.map(|(_, _, next_probe)| wall(next_probe)),
            },
            last_error: control.last_error.clone(),
            last_delivered_at_ms: control.last_delivered_at_ms,
            in_flight: control.in_flight,
            in_flight_records: control.in_flight_records,
            suspects: control.suspects,
            concurrency: self.policy.load().concurrency.max(1),
            generation: pipeline.generation,
            alarm: control.alarm.clone(),
            rate_limited: control.rate_limited,
        }
    }
}
