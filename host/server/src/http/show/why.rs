//! The one sentence that says what a record is waiting for.
//!
//! In: what the queue knows of the record, and what the target is doing. Out: its state as the contract
//! names it, and the sentence.

use super::time;
use crate::host::Standing;
use walhost_core::TargetName;
use walhost_core::inspect::{State, TargetState};
use walhost_delivery as delivery;
use walhost_delivery::PauseReason;

/// Its state: `held` where the queue has it ready or retrying, and the target takes nothing.
pub fn state(record: &TargetState, standing: &Standing) -> &'static str {
    let waits = matches!(record.state, State::Ready | State::Retrying);
    if waits && holder(standing).is_some() { State::Held.as_str() } else { record.state.as_str() }
}

/// What holds all records of the target; none when it takes them.
fn holder(standing: &Standing) -> Option<String> {
    match standing {
        Standing::Removed => Some("the target was removed from the configuration".to_owned()),
        Standing::NamespacePaused => Some("the namespace is paused".to_owned()),
        Standing::Running { status, slot } => match &status.state {
            delivery::TargetState::Idle => Some(format!("no plugin is loaded into {slot}")),
            delivery::TargetState::Paused { reason: PauseReason::Operator } => Some("the target is paused".to_owned()),
            delivery::TargetState::Paused { reason: PauseReason::Gone(failure) } => {
                Some(format!("the target is paused since it said that it is gone ({}: {})", failure.code, failure.message))
            }
            delivery::TargetState::Open { until_ms, code } => {
                Some(format!("the target's breaker is open ({code}) and tries again at {}", time(*until_ms)))
            }
            delivery::TargetState::Probing => Some("the target's breaker is open and a probe is on its way".to_owned()),
            delivery::TargetState::Throttled { until_ms } => {
                Some(format!("the target asked to slow down until {}", time(*until_ms)))
            }
            delivery::TargetState::Stopped => Some("the host is shutting down".to_owned()),
            delivery::TargetState::Active => None,
        },
    }
}

/// The sentence.
pub fn why(target: &TargetName, record: &TargetState, standing: &Standing) -> String {
    let last = record.attempts.last();
    let failed = || match last.filter(|attempt| !attempt.code.is_empty()) {
        Some(attempt) => format!("attempt {} ({}: {})", attempt.number, attempt.code, attempt.message),
        None => "an attempt".to_owned(),
    };
    match record.state {
        State::Scheduled => match record.due_ms {
            Some(due) => format!("it waits for its own time, {}", time(due)),
            None => "it waits for its own time".to_owned(),
        },
        State::Ready | State::Retrying if holder(standing).is_some() => {
            format!("it is held: {}", holder(standing).expect("asked in the guard"))
        }
        State::Ready => match standing {
            Standing::Running { status, .. } if status.rate_limited => format!("{target} is at its configured rate"),
            Standing::Running { status, .. } if status.in_flight >= status.concurrency => {
                format!("{target} is at its concurrency of {} batches", status.concurrency)
            }
            _ => format!("it is about to go to {target}"),
        },
        State::InFlight => format!("{target} has it at this moment"),
        State::Retrying => match record.due_ms {
            Some(due) => format!("it is tried again at {} after {}", time(due), failed()),
            None => format!("it is tried again soon after {}", failed()),
        },
        State::Held => "it waits for an earlier record of its key".to_owned(),
        State::Delivered => match last {
            Some(attempt) => format!("{target} confirmed it at {} (attempt {})", time(attempt.at_ms), attempt.number),
            None => format!("{target} confirmed it"),
        },
        State::Dead => format!("it was given up after {} and waits in the dead-letter queue", failed()),
        State::Filtered => "the transform left it out".to_owned(),
        State::Cancelled => "it was cancelled".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walhost_delivery::{BreakerState, BreakerStatus, TargetStatus};

    fn running(state: delivery::TargetState) -> Standing {
        let breaker = BreakerStatus {
            state: BreakerState::Closed,
            failures: 0,
            rejects: 0,
            code: None,
            opened_at_ms: None,
            next_probe_at_ms: None,
        };
        let status = TargetStatus {
            state,
            breaker,
            last_error: None,
            last_delivered_at_ms: None,
            in_flight: 0,
            in_flight_records: 0,
            concurrency: 16,
            generation: 0,
            alarm: None,
            rate_limited: false,
        };
        Standing::Running { status: Box::new(status), slot: "search.sink".into() }
    }

    #[test]
    fn a_ready_record_is_held_by_a_breaker_a_pause_and_an_idle_slot_and_the_sentence_says_which() {
        let ready = TargetState { state: State::Ready, attempts: Vec::new(), due_ms: None };
        let name = TargetName::new("search").expect("a name");
        let cases = [
            (running(delivery::TargetState::Open { until_ms: 0, code: "connect".into() }), "breaker is open (connect)"),
            (running(delivery::TargetState::Paused { reason: PauseReason::Operator }), "the target is paused"),
            (running(delivery::TargetState::Idle), "no plugin is loaded into search.sink"),
            (Standing::NamespacePaused, "the namespace is paused"),
            (Standing::Removed, "removed"),
        ];
        for (standing, part) in cases {
            assert_eq!(state(&ready, &standing), "held");
            assert!(why(&name, &ready, &standing).contains(part), "{part}");
        }
        assert_eq!(state(&ready, &running(delivery::TargetState::Active)), "ready");
    }

    #[test]
    fn what_is_settled_is_not_held_by_anything() {
        let name = TargetName::new("a").expect("a name");
        for settled in [State::Delivered, State::Dead, State::Filtered, State::Cancelled, State::Scheduled] {
            let record = TargetState { state: settled, attempts: Vec::new(), due_ms: None };
            assert_eq!(state(&record, &Standing::NamespacePaused), settled.as_str());
            assert!(!why(&name, &record, &Standing::NamespacePaused).contains("paused"));
        }
    }
}
