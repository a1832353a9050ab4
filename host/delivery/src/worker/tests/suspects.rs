//! After an unclean stop (I15): one by one, given up after the third, and fast again.

use super::*;
use async_trait::async_trait;
use walhost_core::Verdict;
use walhost_core::attempt::HOST_CRASH;
use walhost_core::testkit::scripted::target_failure;

/// The host dies whenever this target gets the poison; it remembers what it confirmed.
#[derive(Default)]
struct Deadly {
    killed: Mutex<usize>,
    confirmed: Mutex<Vec<String>>,
    batches: Mutex<Vec<usize>>,
}

#[async_trait]
impl Target for Deadly {
    async fn deliver(
        &self,
        records: &[walhost_core::Record],
    ) -> std::result::Result<Vec<Verdict>, walhost_core::Fault> {
        self.batches.lock().push(records.len());
        if records.iter().any(|record| record.value == "poison") {
            *self.killed.lock() += 1;
            return std::future::pending().await;
        }
        let values = records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned());
        self.confirmed.lock().extend(values);
        Ok(vec![Verdict::Delivered; records.len()])
    }

    async fn check(&self) -> walhost_core::Result<String> {
        Ok("deadly".to_owned())
    }
}

#[test]
fn i15_a_record_takes_the_host_down_three_times_and_its_neighbours_are_delivered() {
    simulate(async {
        let world = World::new();
        let deadly = Arc::new(Deadly::default());
        let target: Arc<dyn Target> = deadly.clone();
        let pipeline = Arc::new(Pipeline { generation: 1, transform: None, target: Some(target) });
        let mut worker = world.start(pipeline.clone(), policy()).await;
        let mut values: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        values[5] = "poison".to_owned();
        let ids = world.append(&values.iter().map(|value| ("", value.as_str())).collect::<Vec<_>>()).await;
        for kills in 1..=3 {
            world.settle().await;
            assert_eq!(*deadly.killed.lock(), kills, "it was tried again");
            drop(worker);
            world.settle().await;
            world.queue.crash();
            deadly.batches.lock().clear();
            worker = world.start(pipeline.clone(), policy()).await;
        }
        world.pass(60_000).await;
        assert_eq!(*deadly.killed.lock(), 3, "and not once more");
        let letters = world.letters().await;
        assert_eq!((letters.len(), &letters[0].record, letters[0].last.code.as_str()), (1, &ids[5], HOST_CRASH));
        assert_eq!((letters[0].exhausted, letters[0].last.number), (None, 2));
        let mut confirmed = deadly.confirmed.lock().clone();
        confirmed.sort();
        confirmed.dedup();
        assert_eq!(confirmed.len(), 29, "all the others");
        assert_eq!(world.stats().accounting.delivered, 29);
        let endings = world.heard.records.lock();
        assert!(endings.iter().any(|(id, _, ending, _)| *id == ids[5].to_string() && *ending == Ending::Dead(None)));
    });
}

#[test]
fn i15_suspects_go_one_by_one_and_then_it_is_fast_again() {
    simulate(async {
        let world = World::new();
        let slow = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_millis(10)));
        let worker = world.start(pipeline(1, &slow), policy()).await;
        world.append_many(40).await;
        world.settle().await;
        assert_eq!(worker.status().in_flight, 4);
        drop(worker);
        world.settle().await;
        world.queue.crash();
        let slow = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_millis(10)));
        let worker = world.start(pipeline(1, &slow), policy()).await;
        world.settle().await;
        assert_eq!((worker.status().in_flight, worker.status().suspects), (1, 1));
        world.append_many(40).await;
        world.pass(2_000).await;
        let calls = slow.calls();
        // Four batches of eight were in flight.
        assert!(calls[..32].iter().all(|call| call.records.len() == 1), "{:?}", calls.len());
        assert!(calls[..32].windows(2).all(|pair| pair[1].at >= pair[0].at + Duration::from_millis(10)), "one by one");
        assert!(calls[32..].iter().any(|call| call.records.len() == 8), "and then in batches");
        assert_eq!((world.stats().accounting.delivered, worker.status().suspects), (80, 0));
    });
}

#[test]
fn i15_an_open_breaker_probes_with_suspects_in_turn_and_counts_nothing() {
    simulate(async {
        let world = World::new();
        let slow = Arc::new(Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(5)));
        let worker = world.start(pipeline(1, &slow), policy()).await;
        world.append_many(10).await;
        world.settle().await;
        drop(worker);
        world.settle().await;
        world.queue.crash();
        let down = Arc::new(Scripted::each(|_| target_failure("connect")));
        let worker = world.start(pipeline(1, &down), policy()).await;
        world.pass(60_000).await;
        assert!(matches!(worker.status().state, TargetState::Open { .. }), "{:?}", worker.status());
        let probed: std::collections::BTreeSet<String> =
            down.calls().iter().rev().take(4).map(|call| call.records[0].id.to_string()).collect();
        assert!(probed.len() > 1, "probes take different records: {probed:?}");
        assert!(down.calls().iter().all(|call| call.records.len() == 1));
        worker.swap(pipeline(2, &Arc::new(Scripted::delivering())));
        world.pass(60_000).await;
        assert_eq!((world.stats().accounting.delivered, world.letters().await.len()), (10, 0));
        assert!(world.heard.records.lock().iter().all(|(_, attempt, ..)| *attempt == 1), "nothing was spent");
    });
}
