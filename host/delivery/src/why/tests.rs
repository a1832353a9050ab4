//! A sentence for every state of a record.

use super::*;
use crate::status::{BreakerState, BreakerStatus, LastError, SettleAlarm};
use walhost_core::{Attempt, Blame, Failure, VerdictKind};

fn status(state: TargetState) -> TargetStatus {
    let breaker = BreakerStatus {
        state: BreakerState::Closed,
        failures: 0,
        rejects: 0,
        code: None,
        opened_at_ms: None,
        next_probe_at_ms: None,
    };
    TargetStatus {
        state,
        breaker,
        last_error: None,
        last_delivered_at_ms: None,
        in_flight: 0,
        in_flight_records: 0,
        suspects: 0,
        concurrency: 16,
        generation: 1,
        alarm: None,
        rate_limited: false,
    }
}

fn standing(state: State) -> Standing {
    let (code, message) = ("http-500".to_owned(), String::new());
    let attempt = Attempt { number: 2, at_ms: 0, verdict: VerdictKind::Retry, code, message, digest: None };
    Standing { state, attempts: vec![attempt], due_ms: Some(7) }
}

fn by(status: &TargetStatus) -> Holder<'_> {
    Holder { status: Some(status), above: None }
}

fn sentence(standing: &Standing, status: &TargetStatus) -> String {
    why(standing, by(status), &|ms| format!("T{ms}"))
}

#[test]
fn every_state_has_its_sentence() {
    let active = status(TargetState::Active);
    let mut open = status(TargetState::Open { until_ms: 9, code: "connect".into() });
    open.breaker.failures = 5;
    let mut rejected = status(TargetState::Open { until_ms: 9, code: "http-401".into() });
    rejected.breaker.rejects = 100;
    let gone = PauseReason::Gone(Failure::new("http-410", "", Blame::Target));
    let mut sent = open.clone();
    sent.in_flight = 1;
    assert_eq!(shown_state(&standing(State::InFlight), by(&sent)), State::InFlight);
    assert_eq!(shown_state(&standing(State::InFlight), by(&open)), State::Held);
    let mut full = active.clone();
    full.in_flight = 16;
    let mut limited = active.clone();
    limited.rate_limited = true;
    let mut alarmed = active.clone();
    alarmed.alarm = Some(SettleAlarm { since_ms: 3, error: "no dead letters".into(), batches: 1 });
    let mut suspecting = active.clone();
    (suspecting.in_flight, suspecting.suspects) = (1, 1);
    let table = [
        (State::Ready, &suspecting, "the host had stopped uncleanly, and what may be why goes one by one"),
        (State::InFlight, &suspecting, "at the target now, alone"),
        (State::Ready, &active, "ready; it goes with the next batch"),
        (State::Ready, &full, "all 16 batches"),
        (State::Ready, &limited, "rate"),
        (
            State::Ready,
            &open,
            "open after 5 failures in a row without a delivery, the last with connect; the next probe goes at T9",
        ),
        (State::Ready, &rejected, "open after 100 records in a row were rejected with http-401"),
        (State::Ready, &status(TargetState::Probing), "a probe is at the target"),
        (State::Ready, &status(TargetState::Idle), "no plugin"),
        (State::Ready, &status(TargetState::Throttled { until_ms: 9 }), "slow down: nothing is sent before T9"),
        (State::Ready, &status(TargetState::Paused { reason: PauseReason::Operator }), "paused"),
        (State::Ready, &status(TargetState::Paused { reason: gone }), "http-410"),
        (State::Ready, &status(TargetState::Stopped), "stopped"),
        (State::Retrying, &active, "attempt 2 failed with http-500; the next one is due at T7"),
        (State::Retrying, &open, "due at T7; the breaker is open"),
        (State::Scheduled, &active, "scheduled for T7"),
        (State::Held, &active, "earlier record of its key"),
        (State::InFlight, &active, "at the target now"),
        (State::InFlight, &open, "the breaker is open"),
        (State::InFlight, &sent, "at the target now"),
        (State::InFlight, &alarmed, "cannot settle it since T3: no dead letters"),
        (State::Dead, &active, "attempt 2 failed with http-500; redrive"),
    ];
    for (state, status, part) in table {
        let sentence = sentence(&standing(state), status);
        assert!(sentence.contains(part), "{state:?}, {:?}: {sentence}", status.state);
    }
}

#[test]
fn i15_what_has_taken_the_host_down_says_so() {
    let mut dead = standing(State::Dead);
    dead.attempts[0].code = HOST_CRASH.to_owned();
    dead.attempts[0].message = crate::plan::host_crash_failure().message;
    let said = sentence(&dead, &status(TargetState::Active));
    assert!(said.starts_with("given up: the host stopped 3 times while this record was on its way"), "{said}");
}

#[test]
fn what_waits_for_nothing_says_how_it_ended() {
    let idle = status(TargetState::Idle);
    for (state, part) in [
        (State::Delivered, "delivered with attempt 2"),
        (State::Filtered, "transform"),
        (State::Cancelled, "cancelled"),
    ] {
        let sentence = sentence(&standing(state), &idle);
        assert!(sentence.contains(part) && !sentence.contains("held"), "{sentence}");
        assert_eq!(shown_state(&standing(state), by(&idle)), state);
    }
}

#[test]
fn a_wait_after_a_failure_of_the_target_names_its_code() {
    let mut active = status(TargetState::Active);
    active.last_error = Some(LastError { failure: Failure::new("connect", "refused", Blame::Target), at_ms: 9 });
    let untried = Standing { state: State::Retrying, attempts: Vec::new(), due_ms: Some(7) };
    let said = sentence(&untried, &active);
    assert!(
        said.contains("failed with connect (refused) and no attempt was spent") && said.contains("due at T7"),
        "{said}"
    );
    let said = sentence(&standing(State::Retrying), &active);
    assert!(said.contains("http-500, the target's last failure is connect"), "{said}");
    active.last_error = None;
    assert!(sentence(&untried, &active).contains("the target failed"));
}

#[test]
fn what_holds_the_target_from_above_wins() {
    let paused = status(TargetState::Paused { reason: PauseReason::Operator });
    let above = Holder { status: Some(&paused), above: Some("the namespace is paused") };
    assert_eq!(why(&standing(State::Ready), above, &|ms| ms.to_string()), "the namespace is paused");
    assert_eq!(shown_state(&standing(State::Ready), Holder { status: None, above: Some("removed") }), State::Held);
    assert_eq!(shown_state(&standing(State::Scheduled), above), State::Scheduled);
}

#[test]
fn held_waits_for_somebody_else_and_retrying_for_its_own_backoff() {
    let (active, idle) = (status(TargetState::Active), status(TargetState::Idle));
    assert_eq!(shown_state(&standing(State::Ready), by(&active)), State::Ready);
    assert_eq!(shown_state(&standing(State::Ready), by(&idle)), State::Held);
    assert_eq!(shown_state(&standing(State::Retrying), by(&idle)), State::Retrying);
    let untried = Standing { state: State::Retrying, attempts: Vec::new(), due_ms: Some(7) };
    assert_eq!(shown_state(&untried, by(&idle)), State::Held);
    assert_eq!(shown_state(&untried, by(&active)), State::Retrying);
    let open = status(TargetState::Open { until_ms: 9, code: "connect".into() });
    assert_eq!(shown_state(&standing(State::InFlight), by(&open)), State::Held);
    assert_eq!(shown_state(&standing(State::InFlight), by(&active)), State::InFlight);
}
