//! Batches, outputs, order, rate.

use super::*;
use std::collections::BTreeMap;
use walhost_core::config::Rate;
use walhost_core::testkit::ScriptedTransform;
use walhost_core::testkit::scripted::record_failure;
use walhost_core::transform::Output;
use walhost_core::{Outcome, Verdict};

#[test]
fn batches_keep_their_bounds_and_no_more_are_in_flight_than_allowed() {
    simulate(async {
        let world = World::new();
        let target = Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(1));
        let target = Arc::new(target);
        let worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(100).await;
        world.settle().await;
        let status = worker.status();
        assert_eq!((status.in_flight, status.in_flight_records, status.concurrency), (4, 32, 4));
        world.pass(4_000).await;
        assert_eq!(world.stats().accounting.delivered, 100);
        assert!(target.calls().iter().all(|call| call.records.len() <= 8));
    });
}

#[test]
fn a_batch_lingers_for_more_and_a_full_one_goes_at_once() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let batch = BatchPolicy { records: 4, bytes: 1024 * 1024, linger_ms: 50 };
        let _worker = world.start(pipeline(1, &target), Policy { batch, ..policy() }).await;
        world.append_many(2).await;
        world.pass(49).await;
        assert!(target.calls().is_empty());
        world.append_many(1).await;
        world.pass(1).await;
        assert_eq!(target.calls()[0].records.len(), 3, "what came meanwhile goes along");
        world.append_many(4).await;
        world.settle().await;
        assert_eq!(target.calls()[1].records.len(), 4);
    });
}

#[test]
fn i13_a_long_linger_keeps_its_leases() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let batch = BatchPolicy { records: 4, bytes: 1024 * 1024, linger_ms: 100_000 };
        let _worker = world.start(pipeline(1, &target), Policy { batch, ..policy() }).await;
        world.append_many(2).await;
        world.pass(70_000).await;
        world.append_many(1).await;
        world.pass(31_000).await;
        assert_eq!((target.calls().len(), target.calls()[0].records.len()), (1, 3));
        assert_eq!(world.stats().accounting.delivered, 3);
    });
}

#[test]
fn a_slow_target_keeps_its_leases() {
    simulate(async {
        let world = World::new();
        let target = Scripted::delivering().taking(world.clock.clone(), Duration::from_secs(300));
        let target = Arc::new(target);
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.append_many(3).await;
        world.pass(301_000).await;
        assert_eq!((world.stats().accounting.delivered, target.calls().len()), (3, 1));
    });
}

#[test]
fn the_rate_is_kept_over_all_batches() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::delivering());
        let worker = world.start(pipeline(1, &target), Policy { rate: Some(Rate(50)), ..policy() }).await;
        world.append_many(1_000).await;
        world.settle().await;
        assert!(worker.status().rate_limited);
        world.pass(10_000).await;
        let delivered = world.stats().accounting.delivered;
        assert!((480..=506).contains(&delivered), "{delivered} in 10 s at 50/s");
    });
}

#[test]
fn i19_one_key_goes_in_order_through_retries_and_others_flow() {
    simulate(async {
        let world = World::ordered(true);
        let mut failures = BTreeMap::new();
        let target = Arc::new(Scripted::each(move |record| {
            let times = failures.entry(record.id.clone()).or_insert(0);
            *times += 1;
            if *times < 3 && record.key.as_deref() == Some(b"k") { record_failure("busy") } else { Verdict::Delivered }
        }));
        let _worker = world.start(pipeline(1, &target), policy()).await;
        world.append(&[("k", "k1"), ("l", "l1"), ("k", "k2"), ("l", "l2"), ("k", "k3")]).await;
        world.settle().await;
        assert_eq!(world.stats().accounting.delivered, 2, "`l` does not wait for `k`");
        world.pass(10_000).await;
        let mut seen = Vec::new();
        for call in target.calls() {
            let values = call.records.iter().filter(|record| record.key.as_deref() == Some(b"k"));
            seen.extend(values.map(|record| (record.value.clone(), record.attempt)));
        }
        let expected: Vec<_> =
            ["k1", "k2", "k3"].iter().flat_map(|v| (1..=3).map(move |a| (v.as_bytes(), a))).collect();
        assert_eq!(seen.iter().map(|(v, a)| (&v[..], *a)).collect::<Vec<_>>(), expected);
    });
}

fn splitting() -> ScriptedTransform {
    let output =
        |text: &str| Output { key: None, headers: walhost_core::Headers::default(), value: text.to_owned().into() };
    ScriptedTransform::each(move |_| Outcome::Emit(vec![output("a"), output("b"), output("c")]))
}

#[test]
fn a_retry_leaves_out_the_outputs_that_were_confirmed_before() {
    simulate(async {
        let world = World::new();
        let mut first = true;
        let target = Arc::new(Scripted::each(move |record| {
            let fails = record.value == "b" && std::mem::replace(&mut first, false);
            if fails { record_failure("busy") } else { Verdict::Delivered }
        }));
        let _worker = world.start(with_transform(1, splitting(), &target), policy()).await;
        let id = world.append_many(1).await.remove(0);
        world.pass(1_000).await;
        assert_eq!(target.calls()[1].ids(), [id.output(2).as_str()]);
        assert_eq!((world.stats().accounting.delivered, target.calls().len()), (1, 2));
    });
}

#[test]
fn another_plugin_version_sends_all_outputs_again() {
    simulate(async {
        let world = World::new();
        let target = Arc::new(Scripted::each(|record| {
            if record.value == "b" && record.attempt == 1 { record_failure("busy") } else { Verdict::Delivered }
        }));
        let worker = world.start(with_transform(1, splitting(), &target), policy()).await;
        world.append_many(1).await;
        world.settle().await;
        worker.swap(with_transform(2, splitting(), &target));
        world.pass(1_000).await;
        assert_eq!(target.calls()[1].records.len(), 3);
        assert_eq!(world.stats().accounting.delivered, 1);
    });
}

#[test]
fn a_parked_key_follows_its_dead_letter_when_the_policy_says_so() {
    simulate(async {
        let world = World::ordered(true);
        let target = Arc::new(Scripted::each(|record| {
            if record.value == "k1" { walhost_core::testkit::scripted::reject("bad") } else { Verdict::Delivered }
        }));
        let mut park = policy();
        park.retry.on_exhausted = crate::policy::OnExhausted::Park;
        let _worker = world.start(pipeline(1, &target), park).await;
        world.append(&[("k", "k1"), ("k", "k2"), ("l", "l1")]).await;
        world.settle().await;
        let codes: Vec<_> = world.letters().await.into_iter().map(|letter| letter.last.code).collect();
        assert_eq!((codes, world.stats().accounting.delivered), (vec!["bad".to_owned(), "key-parked".to_owned()], 1));
    });
}
