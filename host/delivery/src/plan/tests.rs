//! Each sentence of contract.md §7 about attempts, as a test.

use super::*;
use crate::policy::{BreakerPolicy, Jitter, RetryPolicy};

/// A target with its memory; batches are planned one after the other.
struct Bench {
    policy: Policy,
    memory: Memory,
    now_ms: u64,
    probe: bool,
}

fn failure(code: &str, blame: Blame) -> Failure {
    Failure::new(code, "", blame)
}
fn of_target(code: &str) -> Said {
    Said::Retry(failure(code, Blame::Target), None)
}
fn of_record(code: &str) -> Said {
    Said::Retry(failure(code, Blame::Record), None)
}
fn reject(code: &str) -> Said {
    Said::Reject(failure(code, Blame::Record))
}

impl Bench {
    fn new() -> Bench {
        let retry = RetryPolicy { initial_ms: 100, jitter: Jitter::None, max_attempts: 3, ..RetryPolicy::default() };
        let breaker = BreakerPolicy { failures: 5, rejects: 4, open_ms: 1_000, max_open_ms: 4_000 };
        let policy = Policy { retry, breaker, ..Policy::default() };
        Bench { policy, memory: Memory::default(), now_ms: 1_000_000, probe: false }
    }

    fn plan(&mut self, said: &[(&str, Said)]) -> (Vec<Decision>, Effects) {
        self.plan_spent(said, Spent::default())
    }

    fn plan_spent(&mut self, said: &[(&str, Said)], spent: Spent) -> (Vec<Decision>, Effects) {
        let ids: Vec<RecordId> = said.iter().map(|(id, _)| RecordId::new(id)).collect();
        let subjects: Vec<_> = ids.iter().map(|id| Subject { id, attempt: spent.attempts + 1, spent }).collect();
        let answers: Vec<_> = said.iter().map(|(_, said)| Answer { said: said.clone(), digest: None }).collect();
        let moment = Moment {
            policy: &self.policy,
            now_ms: self.now_ms,
            now: Duration::from_millis(self.now_ms),
            probe: self.probe,
            delivered_before: self.memory.delivered,
        };
        plan(&moment, &subjects, &answers, &mut self.memory, &mut |bound| bound / 2)
    }

    fn endings(&mut self, said: &[(&str, Said)]) -> Vec<Ending> {
        self.plan(said).0.iter().map(|decision| decision.ending).collect()
    }

    fn open(&mut self) {
        self.plan(&vec![("o1", of_target("connect")); 5]);
        assert!(self.memory.breaker.is_open());
    }
}

#[test]
fn i18_each_record_of_a_batch_is_settled_by_its_own_verdict() {
    let mut bench = Bench::new();
    let (decisions, _) = bench.plan(&[
        ("1", Said::Delivered),
        ("2", of_record("http-500")),
        ("3", reject("http-400")),
        ("4", Said::Filtered),
        ("5", of_target("http-503")),
        ("6", Said::Nothing),
    ]);
    let endings: Vec<_> = decisions.iter().map(|decision| decision.ending).collect();
    use Ending::{Dead, Delivered, Filtered, Held, Retrying};
    assert_eq!(endings, [Delivered, Retrying, Dead(None), Filtered, Held, Held]);
    assert!(matches!(decisions[0].settlement(), Settlement::Done { outcome: Done::Delivered, attempt: Some(_) }));
    assert!(matches!(decisions[1].settlement(), Settlement::Later { due_ms: 1_000_100, spent: Some(_) }));
    assert!(matches!(decisions[2].settlement(), Settlement::Dead { exhausted: None, .. }));
    assert!(matches!(decisions[4].settlement(), Settlement::Later { spent: None, .. }));
}

#[test]
fn i22_a_failure_that_says_nothing_of_the_record_spends_no_attempt() {
    let mut bench = Bench::new();
    bench.policy.breaker.failures = 0;
    for _ in 0..1_000 {
        assert_eq!(bench.endings(&[("1", of_target("connect"))]), [Ending::Held]);
    }
}

#[test]
fn a_failure_that_may_be_the_records_spends_one_until_the_budget_is_used_up() {
    let mut bench = Bench::new();
    let plan = |bench: &mut Bench, attempts| {
        let first_at_ms = (attempts > 0).then_some(bench.now_ms);
        bench.plan_spent(&[("1", of_record("http-500"))], Spent { attempts, first_at_ms }).0[0].clone()
    };
    assert_eq!(plan(&mut bench, 0).due_ms, 1_000_100);
    assert_eq!(plan(&mut bench, 1).due_ms, 1_000_200);
    let dead = plan(&mut bench, 2);
    assert_eq!(dead.ending, Ending::Dead(Some(Exhausted::Attempts)));
    let Settlement::Dead { attempt, .. } = dead.settlement() else { panic!("it is dead") };
    assert_eq!((attempt.number, attempt.code.as_str(), attempt.verdict), (3, "http-500", VerdictKind::Retry));
}

#[test]
fn max_age_is_looked_at_only_when_a_failure_has_spent_an_attempt() {
    let mut bench = Bench::new();
    let old = Spent { attempts: 1, first_at_ms: Some(0) };
    bench.policy.retry.max_age_ms = 1_000;
    assert_eq!(bench.plan_spent(&[("1", of_target("connect"))], old).0[0].ending, Ending::Held);
    assert_eq!(bench.plan_spent(&[("1", of_record("http-500"))], old).0[0].ending, Ending::Dead(Some(Exhausted::Age)));
}

#[test]
fn a_target_failure_counts_as_the_records_when_others_were_delivered_between_two_of_its_attempts() {
    let mut bench = Bench::new();
    assert_eq!(bench.endings(&[("1", of_target("http-503")), ("2", Said::Delivered)])[0], Ending::Held);
    assert_eq!(bench.endings(&[("1", of_target("http-503"))])[0], Ending::Held, "beside it is not between");
    bench.plan(&[("3", Said::Delivered)]);
    assert_eq!(bench.endings(&[("1", of_target("http-503"))])[0], Ending::Retrying);
    assert_eq!(bench.endings(&[("1", of_target("http-503"))])[0], Ending::Held, "and none since");
}

#[test]
fn a_throttle_never_counts_as_the_records() {
    let mut bench = Bench::new();
    let throttle = || Said::Throttle(failure("http-429", Blame::Target), None);
    for number in 0..20 {
        assert_eq!(bench.endings(&[("1", throttle())])[0], Ending::Held, "{number}");
        bench.plan(&[("2", Said::Delivered)]);
    }
}

#[test]
fn a_throttle_holds_the_whole_target_for_the_longest_time_asked_for() {
    let mut bench = Bench::new();
    let throttle = |seconds| Said::Throttle(failure("http-429", Blame::Target), Some(Duration::from_secs(seconds)));
    let (decisions, effects) = bench.plan(&[("1", throttle(3)), ("2", throttle(7)), ("3", Said::Delivered)]);
    assert_eq!(effects.throttled_until, Some(Duration::from_millis(1_007_000)));
    assert_eq!((decisions[0].ending, decisions[0].due_ms), (Ending::Held, 1_000_000));
    let without = Said::Throttle(failure("http-429", Blame::Target), None);
    let (_, first) = bench.plan(&[("1", without.clone())]);
    let (_, second) = bench.plan(&[("1", without)]);
    assert!(second.throttled_until > first.throttled_until, "the backoff grows while nobody says for how long");
}

#[test]
fn a_410_pauses_the_target_holds_the_record_and_spends_nothing() {
    let mut bench = Bench::new();
    let (decisions, effects) = bench.plan(&[("1", Said::Pause(failure("http-410", Blame::Target)))]);
    assert_eq!(decisions[0].ending, Ending::Held);
    assert_eq!(effects.pause.map(|failure| failure.code), Some("http-410".to_owned()));
}

#[test]
fn i34_the_batch_in_which_rejects_reach_the_threshold_is_held_as_far_as_it_is_of_the_row() {
    let mut bench = Bench::new();
    assert_eq!(bench.endings(&[("1", reject("http-401")), ("2", reject("http-401"))]), [Ending::Dead(None); 2]);
    let (decisions, effects) = bench.plan(&[
        ("3", reject("http-400")),
        ("4", Said::Delivered),
        ("5", reject("http-401")),
        ("6", reject("http-401")),
        ("7", reject("http-401")),
        ("8", reject("http-401")),
        ("9", reject("http-403")),
    ]);
    let endings: Vec<_> = decisions.iter().map(|decision| decision.ending).collect();
    use Ending::{Dead, Delivered, Held};
    assert_eq!(endings, [Dead(None), Delivered, Held, Held, Held, Held, Held]);
    assert_eq!(effects.opened.as_deref(), Some("http-401"));
    assert_eq!(bench.endings(&[("10", reject("http-401"))]), [Held], "and so is every reject while it is open");
}

#[test]
fn i34_a_budget_that_is_used_up_while_the_breaker_opens_is_held() {
    let mut bench = Bench::new();
    bench.policy.retry.max_attempts = 1;
    let all: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    let said: Vec<_> = all.iter().map(|id| (id.as_str(), of_record("http-500"))).collect();
    assert!(bench.endings(&said).iter().all(|ending| *ending == Ending::Held));
}

#[test]
fn a_failure_that_comes_in_while_the_breaker_is_open_spends_nothing() {
    let mut bench = Bench::new();
    let all: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    let said: Vec<_> = all.iter().map(|id| (id.as_str(), of_record("http-500"))).collect();
    let endings = bench.endings(&said);
    assert_eq!(endings[..5], [Ending::Retrying; 5], "those that opened it were spent");
    assert_eq!(endings[5..], [Ending::Held; 3]);
    assert_eq!(bench.endings(&said), [Ending::Held; 8]);
}

#[test]
fn a_probe_spends_nothing_and_its_reject_is_held() {
    for said in [of_record("http-500"), of_target("connect"), reject("http-400")] {
        let mut bench = Bench::new();
        bench.open();
        (bench.probe, bench.policy.retry.max_attempts) = (true, 1);
        bench.memory.breaker.probe_began();
        let (decisions, effects) = bench.plan(&[("1", said.clone())]);
        assert_eq!(decisions[0].ending, Ending::Held, "{said:?}");
        assert!(!effects.closed && bench.memory.breaker.is_open());
    }
}

#[test]
fn a_delivered_probe_closes_the_breaker() {
    let mut bench = Bench::new();
    bench.open();
    bench.probe = true;
    bench.memory.breaker.probe_began();
    let (decisions, effects) = bench.plan(&[("1", Said::Delivered)]);
    assert_eq!((decisions[0].ending, effects.closed), (Ending::Delivered, true));
    assert!(!bench.memory.breaker.is_open());
}

#[test]
fn a_target_failure_backs_off_by_the_failures_in_a_row_and_an_open_breaker_needs_no_backoff() {
    let mut bench = Bench::new();
    let dues: Vec<u64> = (0..5).map(|_| bench.plan(&[("1", of_target("connect"))]).0[0].due_ms - 1_000_000).collect();
    assert_eq!(dues, [100, 200, 400, 800, 0]);
}

#[test]
fn a_retry_verdict_gets_the_time_that_it_asks_for() {
    let mut bench = Bench::new();
    let asks = Said::Retry(failure("busy", Blame::Record), Some(Duration::from_secs(9)));
    assert_eq!(bench.plan(&[("1", asks)]).0[0].due_ms, 1_009_000);
}
