//! One sentence that says what a record is waiting for.
//!
//! In: where it stands in the queue, what its target is doing. Out: `why`, for people. Pure.

use crate::status::{PauseReason, TargetState, TargetStatus};
use walhost_core::inspect::{State, TargetState as Standing};

/// Where a record stands as people see it: what is ready in the queue is `held` while its target takes nothing.
pub fn shown_state(standing: &Standing, status: &TargetStatus) -> State {
    match standing.state {
        State::Ready if holds(status) => State::Held,
        state => state,
    }
}

fn holds(status: &TargetStatus) -> bool {
    !matches!(status.state, TargetState::Active)
}

/// What the record is waiting for; none when it waits for nothing any more. `time` writes milliseconds since
/// the Unix epoch for people.
pub fn why(standing: &Standing, status: &TargetStatus, time: &dyn Fn(u64) -> String) -> Option<String> {
    let due = || standing.due_ms.map_or_else(|| "its time".to_owned(), time);
    let last = standing.attempts.last();
    Some(match standing.state {
        State::Delivered | State::Filtered | State::Cancelled => return None,
        State::Dead => match last {
            Some(last) => {
                format!("given up after attempt {} failed with {}; redrive sends it again", last.number, last.code)
            }
            None => "given up; redrive sends it again".to_owned(),
        },
        State::Scheduled => format!("scheduled for {}", due()),
        State::Held => "waits for an earlier record of its key".to_owned(),
        State::Retrying => {
            let own = match last {
                Some(last) => {
                    format!("attempt {} failed with {}; the next one is due at {}", last.number, last.code, due())
                }
                None => format!("held by the target's last failure; due at {}", due()),
            };
            match held_by(status, time) {
                Some(held) => format!("{own}; {held}"),
                None => own,
            }
        }
        State::InFlight => match (&status.alarm, &status.state) {
            (Some(alarm), _) => {
                format!("tried, and the queue cannot settle it since {}: {}", time(alarm.since_ms), alarm.error)
            }
            (None, TargetState::Open { .. }) => held_by(status, time)?,
            _ => "at the target now".to_owned(),
        },
        State::Ready => held_by(status, time).unwrap_or_else(|| {
            if status.in_flight >= status.concurrency {
                format!("ready; all {} batches that may be at the target at once are", status.concurrency)
            } else if status.rate_limited {
                "ready; the target's rate is used up for the moment".to_owned()
            } else {
                "ready; it goes with the next batch".to_owned()
            }
        }),
    })
}

/// Why the target takes nothing now.
fn held_by(status: &TargetStatus, time: &dyn Fn(u64) -> String) -> Option<String> {
    let breaker = &status.breaker;
    let because = |code: &str| {
        if breaker.failures > 0 && breaker.rejects == 0 {
            format!("{} failures in a row without a delivery, the last with {code}", breaker.failures)
        } else if breaker.rejects > 0 && breaker.failures == 0 {
            format!("{} records in a row were rejected with {code}", breaker.rejects)
        } else {
            format!("{} failures and {} rejects in a row, the last with {code}", breaker.failures, breaker.rejects)
        }
    };
    Some(match &status.state {
        TargetState::Active => return None,
        TargetState::Idle => "the target's slot has no plugin: held until one is loaded".to_owned(),
        TargetState::Paused { reason: PauseReason::Operator } => {
            "the target is paused: held until it is resumed".to_owned()
        }
        TargetState::Paused { reason: PauseReason::Gone(failure) } => {
            format!("the destination is gone for good ({}): held until the target is resumed", failure.code)
        }
        TargetState::Open { until_ms, code } => {
            format!("the breaker is open after {}; the next probe goes at {}", because(code), time(*until_ms))
        }
        TargetState::Probing => {
            let code = breaker.code.as_deref().unwrap_or("a failure");
            format!("the breaker is open after {}; a probe is at the target now", because(code))
        }
        TargetState::Throttled { until_ms } => {
            format!("the destination asked to slow down: nothing is sent before {}", time(*until_ms))
        }
        TargetState::Stopped => "the target's worker has stopped: held until it starts again".to_owned(),
    })
}

#[cfg(test)]
mod tests;
