//! One sentence that says what a record is waiting for.
//!
//! In: where it stands in the queue, what its target is doing, what holds the target from above. Out: its state
//! as people see it, and `why`. Pure.

use crate::status::{PauseReason, TargetState, TargetStatus};
use walhost_core::attempt::HOST_CRASH;
use walhost_core::inspect::{State, TargetState as Standing};

/// What is known of a target beside its records.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// What its worker is doing; none: no worker has it.
    pub status: Option<&'a TargetStatus>,
    /// What holds it above the worker, in words: the namespace is paused, its slot is empty. It wins over
    /// what the worker says.
    pub above: Option<&'a str>,
}

/// Where a record stands as people see it. `held` waits for somebody else: what is ready while its target takes
/// nothing, and what was put back by a failure of the target (it has spent no attempt). `retrying` waits for its
/// own backoff.
pub fn shown_state(standing: &Standing, holder: Holder<'_>) -> State {
    let holds = holder.above.is_some() || holder.status.is_some_and(|status| status.state != TargetState::Active);
    match standing.state {
        State::Ready if holds => State::Held,
        // A probe's record stays with the worker until another one was tried, so that probes take turns.
        State::InFlight if holder.status.is_some_and(is_kept) => State::Held,
        State::Retrying if holds && standing.attempts.is_empty() => State::Held,
        state => state,
    }
}

/// Whether what is leased is kept by the worker: while the breaker is open nothing is sent, but what was sent before
/// may still be at the target.
fn is_kept(status: &TargetStatus) -> bool {
    matches!(status.state, TargetState::Open { .. }) && status.in_flight == 0
}

/// What the record is waiting for, or how it ended. `time` writes milliseconds since the Unix epoch for people.
pub fn why(standing: &Standing, holder: Holder<'_>, time: &dyn Fn(u64) -> String) -> String {
    let due = || standing.due_ms.map_or_else(|| "its time".to_owned(), time);
    let last = standing.attempts.last();
    let held = || holder.above.map(str::to_owned).or_else(|| held_by(holder.status?, time));
    match standing.state {
        State::Delivered => match last {
            Some(last) => format!("delivered with attempt {} at {}", last.number, time(last.at_ms)),
            None => "delivered".to_owned(),
        },
        State::Filtered => "left out by the transform".to_owned(),
        State::Cancelled => "cancelled".to_owned(),
        State::Dead => match last {
            Some(last) if last.code == HOST_CRASH => {
                format!("given up: {} ({HOST_CRASH}); redrive sends it again", last.message)
            }
            Some(last) => {
                format!("given up after attempt {} failed with {}; redrive sends it again", last.number, last.code)
            }
            None => "given up; redrive sends it again".to_owned(),
        },
        State::Scheduled => format!("scheduled for {}", due()),
        State::Held => "waits for an earlier record of its key".to_owned(),
        State::Retrying => {
            let own = format!("{}; the next one is due at {}", failed(standing, holder.status), due());
            match held() {
                Some(held) => format!("{own}; {held}"),
                None => own,
            }
        }
        State::InFlight => match holder.status.map(|status| (&status.alarm, &status.state)) {
            Some((Some(alarm), _)) => {
                format!("tried, and the queue cannot settle it since {}: {}", time(alarm.since_ms), alarm.error)
            }
            Some((None, TargetState::Open { .. })) if !holder.status.is_some_and(is_kept) => {
                "at the target now".to_owned()
            }
            Some((None, TargetState::Open { .. } | TargetState::Probing)) => {
                held().unwrap_or_else(|| "the breaker is open".to_owned())
            }
            _ if holder.status.is_some_and(|status| status.suspects > 0) => {
                "at the target now, alone: the host had stopped uncleanly, and it may be why".to_owned()
            }
            _ => "at the target now".to_owned(),
        },
        State::Ready => held().unwrap_or_else(|| match holder.status {
            Some(status) if status.suspects > 0 => {
                "ready; the host had stopped uncleanly, and what may be why goes one by one".to_owned()
            }
            Some(status) if status.in_flight >= status.concurrency => {
                format!("ready; all {} batches that may be at the target at once are", status.concurrency)
            }
            Some(status) if status.rate_limited => "ready; the target's rate is used up for the moment".to_owned(),
            _ => "ready; it goes with the next batch".to_owned(),
        }),
    }
}

/// Which try failed last, and with what. A failure of the target is in no record's attempts: it spent none.
fn failed(standing: &Standing, status: Option<&TargetStatus>) -> String {
    let last = standing.attempts.last();
    let of_target = status.and_then(|status| status.last_error.as_ref());
    match (last, of_target) {
        (Some(last), Some(error)) if error.at_ms > last.at_ms && error.failure.code != last.code => {
            let said = said(&error.failure);
            format!("attempt {} failed with {}, the target's last failure is {said}", last.number, last.code)
        }
        (Some(last), _) if last.message.is_empty() => format!("attempt {} failed with {}", last.number, last.code),
        (Some(last), _) => format!("attempt {} failed with {}: {}", last.number, last.code, last.message),
        (None, Some(error)) => format!("the target failed with {} and no attempt was spent", said(&error.failure)),
        (None, None) => "the target failed and no attempt was spent".to_owned(),
    }
}

/// Code and message of a failure.
fn said(failure: &walhost_core::Failure) -> String {
    if failure.message.is_empty() { failure.code.clone() } else { format!("{} ({})", failure.code, failure.message) }
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
