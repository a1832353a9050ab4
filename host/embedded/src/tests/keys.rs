//! Idempotency keys in run files: found after any crash, forgotten with their window, named when they are lost.

use super::world::World;
use crate::backend::EmbeddedConfig;
use crate::limits::{KEYS_AT_ONCE, RUNS_ALIKE_MAX};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::disk::Disk;
use walhost_core::error::Kind;
use walhost_core::queue::{Appended, From, QueueContext, QueuePolicy};
use walhost_core::random::mix;
use walhost_core::testkit::queue_suite;
use walhost_core::{BatchBuilder, Idempotency, NamespaceName, Queue, Result, TargetName};

const KEYS: &str = "/data/keys";
const WINDOW_MS: u64 = 3_600_000;

fn open(world: &mut World, keys_max: u64) -> Arc<dyn Queue> {
    world.open().unwrap();
    let embedded = world.embedded();
    let namespace = NamespaceName::new("n").unwrap();
    let policy = QueuePolicy {
        idempotency_keys_max: keys_max,
        idempotency_window_ms: WINDOW_MS,
        history_ms: 1_000,
        ..queue_suite::policy()
    };
    let context = QueueContext { namespace, policy };
    let queue = world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
    world.wait(queue.subscribe(&TargetName::new("t").unwrap(), From::Latest)).unwrap();
    queue
}

fn append(world: &mut World, queue: &Arc<dyn Queue>, number: u64, content: u8) -> Result<Appended> {
    let mut builder = BatchBuilder::default();
    builder.record_with(None, [], format!("value {number}").as_bytes());
    let mut batch = builder.build().unwrap();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&mix(!number).to_be_bytes());
    batch.idempotency = Some(Idempotency { key, content: [content; 16] });
    let queue = Arc::clone(queue);
    world.wait(async move { queue.append(batch).await })
}

fn files(world: &World) -> Vec<String> {
    world.disk.list(Path::new(KEYS)).unwrap().into_iter().map(|found| found.name).collect()
}

/// Some rounds of housekeeping.
fn keep(world: &mut World) {
    for _ in 0..3 {
        world.embedded().keep().unwrap();
        world.flush();
    }
}

fn all_are_known(world: &mut World, queue: &Arc<dyn Queue>, first: &[Appended]) {
    for (number, appended) in first.iter().enumerate() {
        let again = append(world, queue, number as u64, 1).unwrap();
        assert_eq!((again.deduplicated, &again.ids), (true, &appended.ids), "key {number}");
    }
}

#[test]
fn i23_keys_are_found_in_runs_and_merged_runs_after_every_kind_of_stop() {
    let mut world = World::new(1, 1 << 16, None);
    let mut queue = open(&mut world, 100_000);
    let mut first = Vec::new();
    let mut files_max = 0;
    for round in 0..3 * RUNS_ALIKE_MAX {
        for _ in 0..KEYS_AT_ONCE {
            let number = first.len() as u64;
            first.push(append(&mut world, &queue, number, 1).unwrap());
        }
        keep(&mut world);
        files_max = files_max.max(files(&world).len());
        match round % 3 {
            0 => world.end(true),
            1 => world.end(false),
            _ => world.close().unwrap(),
        }
        queue = open(&mut world, 100_000);
        if round % 4 == 3 {
            all_are_known(&mut world, &queue, &first);
        }
    }
    assert!(files_max > RUNS_ALIKE_MAX, "runs were written: {files_max}");
    (0..3).for_each(|_| keep(&mut world));
    assert!(files(&world).len() < 2 * RUNS_ALIKE_MAX, "and merged, and the old ones are gone: {:?}", files(&world));
    assert!(world.embedded().report().damage.is_empty());
    all_are_known(&mut world, &queue, &first);
    assert_eq!(append(&mut world, &queue, 3, 2).unwrap_err().kind(), Kind::IdempotencyMismatch);
    assert!(!append(&mut world, &queue, 1 << 40, 1).unwrap().deduplicated);
}

#[test]
fn i23_files_go_when_the_window_of_their_keys_has_ended_and_the_bound_has_room_again() {
    let mut world = World::new(2, 1 << 16, None);
    let keys_max = 2 * KEYS_AT_ONCE as u64;
    let queue = open(&mut world, keys_max);
    for number in 0..keys_max {
        append(&mut world, &queue, number, 1).unwrap();
        world.advance(10);
    }
    keep(&mut world);
    assert_eq!(files(&world).len(), 1);
    assert_eq!(append(&mut world, &queue, keys_max, 1).unwrap_err().kind(), Kind::QuotaExceeded);
    assert!(append(&mut world, &queue, 0, 1).unwrap().deduplicated, "a known key needs no room");
    world.advance(WINDOW_MS);
    assert!(!append(&mut world, &queue, 0, 1).unwrap().deduplicated, "its window has ended");
    (0..3).for_each(|_| keep(&mut world));
    assert_eq!(files(&world), Vec::<String>::new());
    assert!(append(&mut world, &queue, 0, 1).unwrap().deduplicated);
}

#[test]
fn i11_a_missing_or_damaged_run_is_named_and_everything_else_works() {
    let mut world = World::new(3, 1 << 16, None);
    let mut queue = open(&mut world, 100_000);
    for half in 0..2 {
        for number in 0..KEYS_AT_ONCE as u64 {
            append(&mut world, &queue, half * 1_000 + number, 1).unwrap();
        }
        keep(&mut world);
    }
    let names = files(&world);
    assert_eq!(names.len(), 2);
    world.close().unwrap();
    world.disk.flip_bit(&PathBuf::from(KEYS).join(&names[1]), 20 * 8).unwrap();
    queue = open(&mut world, 100_000);
    let damage = world.embedded().report().damage.clone();
    assert!(
        damage.len() == 1 && damage[0].contains(&names[1]) && damage[0].contains("32 idempotency keys"),
        "{damage:?}"
    );
    assert!(append(&mut world, &queue, 0, 1).unwrap().deduplicated, "the other one is whole");
    assert!(!append(&mut world, &queue, 1_000, 1).unwrap().deduplicated);
    world.close().unwrap();
    world.disk.remove(&PathBuf::from(KEYS).join(&names[0])).unwrap();
    let _queue = open(&mut world, 100_000);
    assert!(world.embedded().report().damage[0].contains(&names[0]));
}

#[test]
fn i23_a_key_is_in_flight_until_its_append_has_an_answer() {
    let mut world = World::new(4, 1 << 16, None);
    let queue = open(&mut world, 100_000);
    let mut builder = BatchBuilder::default();
    builder.record_with(None, [], b"x");
    let mut batch = builder.build().unwrap();
    batch.idempotency = Some(Idempotency { key: [9; 16], content: [1; 16] });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut begun = Box::pin(queue.append(batch.clone()));
    assert!(begun.as_mut().poll(&mut context).is_pending());
    let refused = world.wait(queue.append(batch.clone())).unwrap_err();
    assert_eq!(refused.kind(), Kind::IdempotencyInFlight);
    let appended = world.wait(begun).unwrap();
    let again = world.wait(queue.append(batch)).unwrap();
    assert_eq!((again.deduplicated, again.ids), (true, appended.ids));
}
