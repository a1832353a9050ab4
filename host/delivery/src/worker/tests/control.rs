//! Swap, configure, pause, resume, idle, stop.

use super::*;
use walhost_core::Verdict;
use walhost_core::testkit::scripted::target_failure;

#[test]
fn i33_batches_in_flight_end_on_the_version_they_began_with_and_a_swap_waits_for_nothing() {
    simulate(async {
        let world = World::new();
        let old = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(5)));
        let new = Arc::new(Scripted::delivering());
        let worker = world.start(pipeline(1, &old), policy()).await;
        world.append_many(32).await;
        world.settle().await;
        assert_eq!(worker.status().in_flight, 4);
        assert_eq!(worker.swap(pipeline(2, &new)).generation, 1);
        assert_eq!(worker.status().generation, 2);
        world.append_many(8).await;
        world.pass(5_000).await;
        assert_eq!(world.stats().accounting.delivered, 40);
        assert_eq!((old.delivered().len(), new.delivered().len()), (32, 8));
        let heard = world.heard.records.lock();
        assert_eq!(heard.iter().filter(|(.., generation)| *generation == 1).count(), 32);
    });
}

#[test]
fn a_swap_under_load_loses_nothing_and_mixes_nothing() {
    simulate(async {
        let world = World::new();
        let targets: Vec<_> = (0..50)
            .map(|_| Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_millis(7))))
            .collect();
        let worker = world.start(pipeline(0, &targets[0]), policy()).await;
        for (generation, target) in targets.iter().enumerate().skip(1) {
            world.append_many(13).await;
            world.pass(5).await;
            worker.swap(pipeline(generation as u64, target));
        }
        world.pass(10_000).await;
        let delivered: usize = targets.iter().map(|target| target.delivered().values().sum::<usize>()).sum();
        assert_eq!((delivered, world.stats().accounting.delivered), (49 * 13, 49 * 13));
    });
}

#[test]
fn an_idle_slot_holds_its_records_without_leasing() {
    simulate(async {
        let world = World::new();
        let idle = Arc::new(Pipeline { generation: 1, transform: None, target: None });
        let worker = world.start(idle, policy()).await;
        world.append_many(5).await;
        world.pass(60_000).await;
        assert_eq!((worker.status().state, world.stats().in_flight), (TargetState::Idle, 0));
        let target = Arc::new(Scripted::delivering());
        worker.swap(pipeline(2, &target));
        world.settle().await;
        assert_eq!(world.stats().accounting.delivered, 5);
    });
}

#[test]
fn a_pause_holds_and_resume_lets_go() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.settle().await;
        worker.pause(PauseReason::Operator);
        world.append_many(5).await;
        world.pass(60_000).await;
        assert_eq!((target.calls().len(), world.stats().in_flight), (0, 0), "what had been asked for was given back");
        assert_eq!(worker.status().state, TargetState::Paused { reason: PauseReason::Operator });
        worker.resume();
        world.settle().await;
        assert_eq!(world.stats().accounting.delivered, 5);
        assert!(target.calls()[0].records.iter().all(|record| record.attempt == 1));
    });
}

#[test]
fn resume_closes_an_open_breaker_at_once() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::each(|_| target_failure("connect")));
        let mut slow = policy();
        (slow.breaker.open_ms, slow.breaker.max_open_ms) = (3_600_000, 3_600_000);
        let worker = world.start(pipeline(1, &target), slow).await;
        world.append_many(8).await;
        world.pass(60_000).await;
        assert!(matches!(worker.status().state, TargetState::Open { .. }));
        assert_eq!(*world.heard.breaker.lock(), [Some("connect".to_owned())]);
        target.rewrite(|_| Verdict::Delivered);
        worker.resume();
        world.settle().await;
        assert_eq!((world.stats().accounting.delivered, worker.status().breaker.failures), (8, 0));
        assert_eq!(world.heard.breaker.lock().last(), Some(&None));
    });
}

#[test]
fn a_new_pipeline_is_tried_at_once_though_the_breaker_is_open() {
    simulate(async {
        let world = World::new();
        let broken = Arc::new(Scripted::each(|_| target_failure("connect")));
        let mut slow = policy();
        (slow.breaker.open_ms, slow.breaker.max_open_ms) = (3_600_000, 3_600_000);
        let worker = world.start(pipeline(1, &broken), slow).await;
        world.append_many(8).await;
        world.pass(60_000).await;
        let repaired = Arc::new(Scripted::delivering());
        worker.swap(pipeline(2, &repaired));
        world.settle().await;
        assert_eq!((world.stats().accounting.delivered, worker.status().state), (8, TargetState::Active));
    });
}

#[test]
fn a_changed_policy_holds_for_the_next_decision() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(1)));
        let worker = world.start(pipeline(1, &target), Policy { concurrency: 1, ..policy() }).await;
        world.append_many(80).await;
        world.settle().await;
        assert_eq!(worker.status().in_flight, 1);
        worker.configure(Policy { concurrency: 8, ..policy() });
        world.settle().await;
        assert_eq!(worker.status().in_flight, 8);
    });
}

#[test]
fn i26_stopping_waits_for_batches_in_flight_and_no_longer_than_the_drain() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(5)));
        let worker = Arc::new(world.start(pipeline(1, &target), policy()).await);
        world.append_many(50).await;
        world.settle().await;
        let stopping = worker.clone();
        let stop = walhost_core::exec::task(async move { stopping.stop(Duration::from_secs(30)).await });
        world.pass(4_999).await;
        assert!(!stop.is_finished());
        world.pass(1).await;
        assert!(stop.is_finished());
        assert_eq!((world.stats().accounting.delivered, worker.status().state), (32, TargetState::Stopped));
        let stuck = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(500)));
        let worker = Arc::new(world.start(pipeline(1, &stuck), policy()).await);
        world.settle().await;
        let stopping = worker.clone();
        let stop = walhost_core::exec::task(async move { stopping.stop(Duration::from_secs(30)).await });
        world.pass(30_000).await;
        assert!(stop.is_finished());
        assert_eq!((worker.status().in_flight, world.stats().accounting.delivered), (0, 32));
        world.pass(40_000).await;
        assert_eq!(world.stats().in_flight, 0, "its leases have run out");
    });
}

#[test]
fn a_closed_queue_ends_nothing_but_leasing() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.queue.close().await.expect("closes");
        world.pass(60_000).await;
        assert_eq!((worker.status().state, target.calls().len()), (TargetState::Active, 0));
        worker.stop(Duration::from_secs(1)).await;
        assert_eq!(worker.status().state, TargetState::Stopped);
    });
}

#[test]
fn a_target_that_panics_costs_its_batch_one_visibility_and_nobody_else_anything() {
    simulate(async {
        let world = World::new();
        let mut first = true;
        let target = Arc::new(Scripted::each(move |record| {
            assert!(!std::mem::replace(&mut first, false), "planted: a bug of ours at {}", record.id);
            Verdict::Delivered
        }));
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(1).await;
        world.settle().await;
        world.append_many(3).await;
        world.settle().await;
        assert_eq!((world.stats().accounting.delivered, worker.status().in_flight), (3, 0));
        world.pass(30_000).await;
        assert_eq!(world.stats().accounting.delivered, 4);
    });
}

#[test]
fn stopping_twice_at_once_ends_both() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(5)));
        let worker = Arc::new(world.start(pipeline(1, &target), policy()).await);
        world.append_many(1).await;
        world.settle().await;
        let stops: Vec<_> = (0..2)
            .map(|_| {
                let worker = worker.clone();
                walhost_core::exec::task(async move { worker.stop(Duration::from_secs(60)).await })
            })
            .collect();
        world.pass(5_000).await;
        assert!(stops.iter().all(|stop| stop.is_finished()));
    });
}

#[test]
fn a_batch_that_lingers_is_held_when_its_target_is_paused_meanwhile() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let batch = BatchPolicy { records: 4, bytes: 1024 * 1024, linger_ms: 50 };
        let worker = world.start(pipeline(1, &target), Policy { batch, ..policy() }).await;
        world.append_many(2).await;
        world.pass(20).await;
        worker.pause(PauseReason::Operator);
        world.pass(60_000).await;
        assert_eq!((target.delivered().len(), world.stats().in_flight, worker.status().in_flight), (0, 0, 0));
        worker.resume();
        world.pass(100).await;
        assert_eq!(world.stats().accounting.delivered, 2);
    });
}
