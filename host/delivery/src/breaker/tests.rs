//! Each sentence of contract.md §7 about the breaker, as a test.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> BreakerPolicy {
    BreakerPolicy { failures: 5, rejects: 4, open_ms: 1_000, max_open_ms: 4_000 }
}

fn id(number: usize) -> RecordId {
    RecordId::new(&format!("r{number}"))
}

fn opened() -> Breaker {
    let mut breaker = Breaker::default();
    for number in 0..5 {
        breaker.failed(&policy(), Duration::ZERO, &id(number), "connect", true);
    }
    assert!(breaker.is_open());
    breaker
}

#[test]
fn opens_after_failures_in_a_row_without_a_delivery() {
    let mut breaker = Breaker::default();
    for number in 0..4 {
        assert!(!breaker.failed(&policy(), Duration::ZERO, &id(number), "connect", true));
    }
    breaker.delivered();
    for number in 0..4 {
        assert!(!breaker.failed(&policy(), Duration::ZERO, &id(number), "connect", true), "a delivery ends the row");
    }
    assert!(breaker.failed(&policy(), SECOND, &id(9), "timeout", true));
    assert_eq!(breaker.opened(), Some(("timeout", SECOND, 2 * SECOND)));
}

#[test]
fn one_record_is_enough_when_the_failures_are_the_targets() {
    let mut breaker = Breaker::default();
    let opened: Vec<bool> = (0..5).map(|_| breaker.failed(&policy(), SECOND, &id(1), "dns", true)).collect();
    assert_eq!(opened, [false, false, false, false, true]);
}

#[test]
fn where_they_may_be_the_records_three_different_records_must_be_among_them() {
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        assert!(!breaker.failed(&policy(), SECOND, &id(1), "http-500", false), "a lone poison record opens nothing");
    }
    assert!(!breaker.failed(&policy(), SECOND, &id(2), "http-500", false), "nor do two");
    assert!(breaker.failed(&policy(), SECOND, &id(3), "http-500", false));
}

#[test]
fn i34_opens_when_different_records_in_a_row_are_rejected_with_one_code() {
    let mut breaker = Breaker::default();
    for number in 0..3 {
        assert!(!breaker.rejected(&policy(), SECOND, &id(number), "http-401"));
    }
    assert!(!breaker.rejected(&policy(), SECOND, &id(2), "http-401"), "the same record again is no other one");
    assert!(breaker.rejected(&policy(), SECOND, &id(3), "http-401"));
    assert_eq!(breaker.rejects(), 4);
}

#[test]
fn another_code_or_a_delivery_ends_a_row_of_rejects_and_other_failures_do_not() {
    let mut breaker = Breaker::default();
    for number in 0..3 {
        breaker.rejected(&policy(), SECOND, &id(number), "http-401");
    }
    assert!(!breaker.rejected(&policy(), SECOND, &id(3), "http-400"));
    for number in 4..6 {
        assert!(!breaker.rejected(&policy(), SECOND, &id(number), "http-400"));
    }
    breaker.delivered();
    for number in 6..9 {
        assert!(!breaker.rejected(&policy(), SECOND, &id(number), "http-400"));
    }
    breaker.failed(&policy(), SECOND, &id(20), "connect", true);
    assert!(breaker.rejected(&policy(), SECOND, &id(9), "http-400"));
}

#[test]
fn zero_is_never() {
    let never = BreakerPolicy { failures: 0, rejects: 0, ..policy() };
    let mut breaker = Breaker::default();
    for number in 0..1_000 {
        breaker.failed(&never, SECOND, &id(number), "connect", true);
        breaker.rejected(&never, SECOND, &id(number), "http-401");
    }
    assert_eq!(breaker.gate(SECOND), Gate::Closed);
}

#[test]
fn while_it_is_open_one_probe_at_a_time_goes_and_its_failure_doubles_the_wait_up_to_the_longest() {
    let mut breaker = opened();
    let mut now = Duration::ZERO;
    for wait in [1, 2, 4, 4] {
        let due = now + wait * SECOND;
        assert_eq!(breaker.gate(due - Duration::from_millis(1)), Gate::Wait(due));
        assert_eq!(breaker.gate(due), Gate::Probe);
        breaker.probe_began();
        assert_eq!((breaker.gate(due), breaker.state()), (Gate::Probing, BreakerState::Probing));
        now = due;
        breaker.probe_failed(&policy(), now);
    }
}

#[test]
fn a_delivered_probe_closes_and_the_counts_start_anew() {
    let mut breaker = opened();
    breaker.probe_began();
    assert!(breaker.delivered());
    assert_eq!((breaker.gate(SECOND), breaker.failures()), (Gate::Closed, 0));
    assert!(!breaker.failed(&policy(), SECOND, &id(1), "connect", true));
}

#[test]
fn a_probe_that_says_nothing_lets_the_next_one_go_at_once() {
    let mut breaker = opened();
    breaker.probe_began();
    breaker.probe_was_void();
    assert_eq!(breaker.gate(SECOND), Gate::Probe);
}

#[test]
fn resume_closes_it_and_starts_the_counts_anew() {
    let mut breaker = opened();
    assert!(breaker.reset());
    assert_eq!((breaker.gate(Duration::ZERO), breaker.failures(), breaker.rejects()), (Gate::Closed, 0, 0));
    assert!(!breaker.reset());
}

#[test]
fn a_new_pipeline_is_probed_at_once_and_a_throttle_is_waited_for() {
    let mut breaker = opened();
    breaker.probe_at_once(&policy(), Duration::ZERO);
    assert_eq!(breaker.gate(Duration::ZERO), Gate::Probe);
    breaker.probe_not_before(9 * SECOND);
    assert_eq!(breaker.gate(SECOND), Gate::Wait(9 * SECOND));
}
