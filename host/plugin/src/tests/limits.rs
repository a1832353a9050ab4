//! Bounds on instances, time and what is kept between calls.

use super::guest::{Guest, does, passes};
use super::*;

#[tokio::test]
async fn i32_a_warm_instance_is_used_again_and_a_cancelled_one_never() {
    let bench = Bench::new();
    let transform = bench.transform(does("(loop $again (br $again))"), |_| {}).await.unwrap();
    for _ in 0..5 {
        serves(&*transform).await;
    }
    assert_eq!(bench.calls().snapshot().instances, 1);
    let batch = evil();
    let mut call = Box::pin(transform.apply(&batch));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending(), "it gives way at a tick");
    drop(call);
    serves(&*transform).await;
    let snapshot = bench.calls().snapshot();
    assert_eq!(snapshot.instances, 2);
    assert!(snapshot.endings.contains(&("cancelled", 1)) && snapshot.endings.contains(&("ok", 6)));
}

#[tokio::test]
async fn i32_state_of_a_guest_survives_good_calls_only() {
    // Counts its calls in a global and passes; on `!` it traps unless it has counted at least two.
    let items = "(global $calls (mut i32) (i32.const 0))";
    let guest = Guest {
        items,
        run: "(global.set $calls (i32.add (global.get $calls) (i32.const 1))) (if (i32.gt_u (global.get $calls) (i32.const 2)) (then unreachable))",
        ..Guest::default()
    };
    let bench = Bench::new();
    let transform = bench.transform(guest.build(), |_| {}).await.unwrap();
    for _ in 0..3 {
        assert!(transform.apply(&evil()).await.is_ok());
        assert!(transform.apply(&evil()).await.is_ok());
        assert_eq!(transform.apply(&evil()).await.unwrap_err().code, "plugin-trap");
    }
}

#[tokio::test]
async fn an_instance_that_used_half_its_memory_is_replaced() {
    let bench = Bench::new();
    let grows = bench.transform(does("(drop (memory.grow (i32.const 40)))"), |_| {}).await.unwrap();
    for _ in 0..3 {
        assert!(grows.apply(&evil()).await.is_ok());
    }
    assert_eq!(bench.calls().snapshot().instances, 3);
}

#[tokio::test]
async fn no_more_instances_than_the_limit_and_the_others_wait_for_their_turn() {
    let bench = Bench::with(|options| options.compute_threads = 2);
    let spins = "(loop $again (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 20000000))))";
    let transform = bench.transform(does(spins), |spec| spec.limits.instances = Some(2)).await.unwrap();
    let batch = evil();
    let ended = futures_util::future::join_all((0..8).map(|_| transform.apply(&batch))).await;
    assert!(ended.iter().all(std::result::Result::is_ok));
    assert!(bench.calls().snapshot().instances <= 2, "{}", bench.calls().snapshot().instances);
}

#[tokio::test]
async fn idle_instances_of_one_slot_make_room_for_another() {
    let bench = Bench::with(|options| options.pool_instances = 2);
    let mut slots = Vec::new();
    for _ in 0..5 {
        slots.push(bench.transform(passes(), |_| {}).await.unwrap());
    }
    for _ in 0..2 {
        for slot in &slots {
            serves(&**slot).await;
        }
    }
    assert_eq!(slots.len(), 5);
}

#[tokio::test]
async fn a_slot_that_waits_for_room_gets_it_when_another_ones_call_ends() {
    let bench = Bench::with(|options| options.pool_instances = 1);
    let spins = "(loop $again (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 20000000))))";
    let first = bench.transform(does(spins), |_| {}).await.unwrap();
    let second = bench.transform(passes(), |_| {}).await.unwrap();
    let (long, short) = (evil(), good());
    for _ in 0..3 {
        let (first, second) = tokio::join!(first.apply(&long), second.apply(&short));
        assert!(first.is_ok() && second.is_ok());
    }
}

#[tokio::test]
async fn slots_of_one_component_share_its_code() {
    let bench = Bench::new();
    let digest = bench.stored(passes()).await;
    let first = bench.plugins.transform(&spec(digest)).await.unwrap();
    let compiled = std::fs::read_dir(bench.dir.path().join("compiled")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(&compiled).unwrap();
    std::fs::remove_dir_all(bench.dir.path().join("components")).unwrap();
    let second = bench.plugins.transform(&spec(digest)).await.unwrap();
    serves(&*second).await;
    serves(&*first).await;
    drop((first, second));
    assert!(bench.plugins.transform(&spec(digest)).await.is_err(), "nobody uses it, nothing is kept");
}

#[tokio::test]
async fn i30_hostile_neighbours_leave_compute_threads_to_others() {
    let bench = Bench::with(|options| {
        options.compute_threads = 1;
        options.pool_instances = 16;
    });
    let neighbour = bench.transform(passes(), |_| {}).await.unwrap();
    let hostile =
        bench.transform(does("(loop $again (br $again))"), |spec| spec.limits.instances = Some(4)).await.unwrap();
    let batch = evil();
    let storms = futures_util::future::join_all((0..4).map(|_| hostile.apply(&batch)));
    let served = async {
        let mut served = 0;
        for _ in 0..10 {
            serves(&*neighbour).await;
            served += 1;
        }
        served
    };
    let (faults, served) = tokio::join!(storms, served);
    assert!(faults.iter().all(|ended| ended.as_ref().unwrap_err().code == "plugin-deadline"));
    assert_eq!(served, 10);
}
