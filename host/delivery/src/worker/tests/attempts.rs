//! What spends attempts, what holds, what becomes a dead letter.

use super::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use walhost_core::Verdict;
use walhost_core::queue::Done;
use walhost_core::testkit::scripted::{fault, record_failure, reject, target_failure, throttle};

fn poison(values: &'static [&'static str], verdict: impl Fn() -> Verdict + Send + 'static) -> Arc<Scripted> {
    Arc::new(Scripted::each(move |record| {
        let value = std::str::from_utf8(&record.value).unwrap_or_default();
        if values.contains(&value) { verdict() } else { Verdict::Delivered }
    }))
}

#[test]
fn what_is_appended_is_delivered_once_and_settled() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(100).await;
        world.settle().await;
        assert_eq!(world.stats().accounting.delivered, 100);
        assert!(target.delivered().values().all(|times| *times == 1));
        assert_eq!(world.heard.latencies_ms.lock().len(), 100);
    });
}

#[test]
fn i22_a_target_that_is_down_for_an_hour_spends_no_attempt_and_everything_drains_after() {
    simulate(async {
        let world = World::new();
        let down = Arc::new(AtomicBool::new(true));
        let is_down = down.clone();
        let target = Arc::new(Scripted::each(move |_| {
            if is_down.load(Ordering::Relaxed) { target_failure("connect") } else { Verdict::Delivered }
        }));
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(200).await;
        world.pass(3_600_000).await;
        assert!(matches!(worker.status().state, TargetState::Open { .. }), "{:?}", worker.status());
        assert_eq!((world.stats().accounting.dead, world.stats().accounting.pending), (0, 200));
        assert!(
            world.heard.records.lock().iter().all(|(_, attempt, ending, _)| (*attempt, *ending) == (1, Ending::Held))
        );
        let calls = target.calls().len();
        assert!(calls < 600, "{calls} calls in an hour: it is left alone");
        down.store(false, Ordering::Relaxed);
        world.pass(60_000).await;
        assert_eq!(world.stats().accounting.delivered, 200);
        assert_eq!(worker.status().breaker.opened_at_ms, None);
    });
}

#[test]
fn a_poison_record_ends_in_the_dead_letters_alone_while_others_flow() {
    simulate(async {
        let world = World::new();
        let target = poison(&["5"], || record_failure("http-500"));
        let _worker = world.start(pipeline(1, &target), policy()).await;
        let ids = world.append_many(50).await;
        world.settle().await;
        assert_eq!(world.stats().accounting.delivered, 49, "nobody waits for it");
        world.pass(60_000).await;
        let letters = world.letters().await;
        assert_eq!(letters.len(), 1);
        assert_eq!((&letters[0].record, letters[0].exhausted), (&ids[5], Some(Exhausted::Attempts)));
        assert_eq!((letters[0].last.number, letters[0].last.code.as_str()), (4, "http-500"));
        assert!(world.heard.breaker.lock().is_empty(), "a lone poison record opens nothing");
    });
}

#[test]
fn a_poison_record_that_looks_like_a_target_failure_ends_in_the_dead_letters_too() {
    simulate(async {
        let world = World::new();
        let target = poison(&["5"], || target_failure("http-503"));
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(8).await;
        for _ in 0..200 {
            world.pass(1_000).await;
            world.append_many(1).await;
        }
        world.settle().await;
        assert_eq!((world.letters().await.len(), world.stats().accounting.pending), (1, 0));
    });
}

#[test]
fn i22_a_broken_target_does_not_empty_the_queue_into_the_dead_letters() {
    simulate(async {
        let world = World::new();
        let broken = Arc::new(AtomicBool::new(true));
        let is_broken = broken.clone();
        let target = Arc::new(Scripted::each(move |_| {
            if is_broken.load(Ordering::Relaxed) { record_failure("http-500") } else { Verdict::Delivered }
        }));
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(500).await;
        world.pass(600_000).await;
        assert!(world.letters().await.is_empty());
        broken.store(false, Ordering::Relaxed);
        world.pass(60_000).await;
        assert_eq!(world.stats().accounting.delivered, 500);
    });
}

#[test]
fn i34_a_target_that_rejects_everything_opens_its_breaker_before_it_fills_the_dead_letters() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::each(|_| reject("http-401")));
        let worker = world.start(pipeline(1, &target), Policy { concurrency: 1, ..policy() }).await;
        world.append_many(500).await;
        world.pass(600_000).await;
        assert_eq!(world.letters().await.len(), 8, "one batch below the threshold of ten");
        let probed: BTreeSet<_> = target.calls().iter().skip(2).map(|call| call.records[0].id.clone()).collect();
        assert!(probed.len() > 50, "probes take different records in turn: {}", probed.len());
        let TargetState::Open { code, .. } = worker.status().state else { panic!("{:?}", worker.status()) };
        assert_eq!(code, "http-401");
        target.rewrite(|_| Verdict::Delivered);
        world.pass(60_000).await;
        assert_eq!(world.stats().accounting.delivered, 492);
    });
}

#[test]
fn probes_go_on_when_one_record_is_all_there_is() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::each(|_| target_failure("connect")));
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(1).await;
        world.pass(120_000).await;
        let before = target.calls().len();
        assert!(before > 10, "{before}");
        world.pass(80_000).await;
        assert!(target.calls().len() >= before + 9, "one each 8 s, and its lease does not end in between");
        target.rewrite(|_| Verdict::Delivered);
        world.pass(8_000).await;
        assert_eq!((world.stats().accounting.delivered, worker.status().state), (1, TargetState::Active));
    });
}

#[test]
fn a_throttle_stops_the_whole_target_for_as_long_as_it_asks_and_spends_nothing() {
    simulate(async {
        let world = World::new();
        let first = AtomicBool::new(true);
        let target = Arc::new(Scripted::each(move |_| {
            if first.swap(false, Ordering::Relaxed) {
                throttle(Some(Duration::from_secs(30)))
            } else {
                Verdict::Delivered
            }
        }));
        let worker = world.start(pipeline(1, &target), Policy { concurrency: 1, ..policy() }).await;
        world.append_many(20).await;
        world.pass(29_999).await;
        assert_eq!(world.stats().accounting.delivered, 7, "the rest of its batch");
        let until_ms = 1_700_000_030_000;
        assert_eq!(worker.status().state, TargetState::Throttled { until_ms });
        world.pass(1).await;
        assert_eq!(world.stats().accounting.delivered, 20);
        assert!(world.heard.records.lock().iter().all(|(_, attempt, ..)| *attempt == 1));
    });
}

#[test]
fn a_410_pauses_the_target_until_it_is_resumed_by_hand_and_holds_the_record() {
    simulate(async {
        let world = World::new();
        let gone = || Verdict::Pause { failure: Failure::new("http-410", "gone", walhost_core::Blame::Target) };
        let target = Arc::new(Scripted::each(move |_| gone()));
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(3).await;
        world.pass(3_600_000).await;
        assert_eq!((target.calls().len(), world.stats().accounting.pending), (1, 3));
        let TargetState::Paused { reason: PauseReason::Gone(failure) } = worker.status().state else {
            panic!("paused")
        };
        assert_eq!((failure.code.as_str(), world.heard.paused.lock().len()), ("http-410", 1));
        target.rewrite(|_| Verdict::Delivered);
        worker.resume();
        world.settle().await;
        assert_eq!(world.stats().accounting.delivered, 3);
        assert!(target.calls()[1].records.iter().all(|record| record.attempt == 1));
    });
}

#[test]
fn a_faulting_record_spends_attempts_and_its_batch_is_delivered() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::calls_answered(|records| {
            if records.iter().any(|record| record.value == "3") {
                return Err(fault("plugin-trap"));
            }
            Ok(records.iter().map(|_| Verdict::Delivered).collect())
        }));
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(8).await;
        world.settle().await;
        assert_eq!((world.stats().accounting.delivered, world.heard.faults.lock()[0]), (7, (1, 4)));
        world.pass(60_000).await;
        let letters = world.letters().await;
        assert_eq!((letters.len(), letters[0].last.code.as_str()), (1, "plugin-trap"));
        assert_eq!(letters[0].last.digest, Some(Digest([9; 32])));
    });
}

#[test]
fn i16_a_settlement_that_fails_keeps_the_records_held_and_is_tried_until_it_succeeds() {
    simulate(async {
        let world = World::new();
        let target = poison(&["1"], || reject("http-400"));
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.queue.refuse_settlements(true);
        world.append_many(3).await;
        world.pass(300_000).await;
        let status = worker.status();
        assert_eq!((status.in_flight, status.in_flight_records), (1, 3));
        let alarm = status.alarm.expect("it is alarmed");
        assert_eq!((alarm.batches, alarm.since_ms), (1, 1_700_000_000_000));
        assert!(*world.heard.settle_failures.lock() > 10);
        assert_eq!((world.stats().accounting.pending, target.calls().len()), (3, 1), "held, and not sent again");
        world.queue.refuse_settlements(false);
        world.pass(10_000).await;
        assert_eq!((world.stats().accounting.delivered, world.stats().accounting.dead), (2, 1));
        assert_eq!((worker.status().alarm, target.calls().len()), (None, 1));
    });
}

#[test]
fn retries_resume_after_a_restart_with_the_attempt_number_kept() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::each(|_| record_failure("http-500")));
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(1).await;
        world.pass(150).await;
        assert_eq!(target.calls().len(), 2);
        drop(worker);
        world.queue.end_leases();
        let target = Arc::new(Scripted::delivering());
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.pass(10_000).await;
        assert_eq!(target.calls()[0].records[0].attempt, 3);
        assert_eq!(world.stats().accounting.delivered, 1);
    });
}

#[test]
fn what_the_transform_leaves_out_is_filtered() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let transform = walhost_core::testkit::ScriptedTransform::each(|record| {
            if record.value == "0" { walhost_core::Outcome::Filter } else { walhost_core::Outcome::Pass }
        });
        let _worker = world.start(with_transform(1, transform, &target), policy()).await;
        world.append_many(3).await;
        world.settle().await;
        let accounting = world.stats().accounting;
        assert_eq!((accounting.filtered, accounting.delivered), (1, 2));
        assert_ne!(Done::Filtered, Done::Delivered);
    });
}
