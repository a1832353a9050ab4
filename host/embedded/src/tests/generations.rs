//! Two generations of snapshots before a segment goes (I9).
//!
//! In: a host on which nothing happens. Out: two files, and a segment given back only then.

use super::world::World;
use crate::backend::EmbeddedConfig;
use std::future::Future;
use std::path::Path;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::BatchBuilder;
use walhost_core::queue::{From, QueueContext};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{Headers, NamespaceName, TargetName};
use walhost_log::snapshot::read_newest;

#[test]
fn i09_a_segment_stays_until_two_snapshots_are_on_disk_also_when_nothing_is_appended() {
    let mut world = World::new(3, 64 * 1024, None);
    world.open().unwrap();
    let embedded = world.embedded();
    let context = QueueContext { namespace: NamespaceName::new("quiet").unwrap(), policy: policy() };
    let queue = world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
    let one = || {
        let mut builder = BatchBuilder::default();
        builder.record(None, &Headers::default(), b"1");
        builder.build().unwrap()
    };
    for _ in 0..2 {
        world.wait(queue.append(one())).unwrap();
        embedded.roll();
        world.flush();
    }
    let generations = |world: &World| read_newest(&world.disk, Path::new("/data/snapshots")).unwrap();
    for _ in 0..4 {
        embedded.keep().unwrap();
        embedded.snapshot().unwrap();
        world.flush();
    }
    assert!(generations(&world).previous.is_some());
    for _ in 0..4 {
        world.wait(queue.append(one())).unwrap();
        embedded.roll();
        world.flush();
    }
    assert!(embedded.stats().recycled > 0, "a segment was given back");
}

#[test]
fn i01_a_namespace_that_is_being_made_is_in_every_snapshot_that_knows_of_its_making() {
    let mut world = World::new(5, 64 * 1024, None);
    world.open().unwrap();
    let embedded = world.embedded();
    let name = NamespaceName::new("young").unwrap();
    let context = || QueueContext { namespace: name.clone(), policy: policy() };
    let mut opening = Box::pin(QueueBackend::open(&*embedded, context(), EmbeddedConfig::default()));
    let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(opening.as_mut().poll(&mut nobody).is_pending());
    // The frame is durable, and whoever waits for it has not run since; the snapshot is as of that frame.
    world.step();
    embedded.snapshot().unwrap();
    let queue = world.wait(opening).unwrap();
    world.wait(queue.subscribe(&TargetName::new("t").unwrap(), From::Latest)).unwrap();
    let mut builder = BatchBuilder::default();
    builder.record(None, &Headers::default(), b"1");
    let id = world.wait(queue.append(builder.build().unwrap())).unwrap().ids[0].clone();
    drop((queue, embedded));
    world.end(false);
    world.open().unwrap();
    let embedded = world.embedded();
    assert_eq!(embedded.orphans().into_iter().map(|orphan| orphan.name).collect::<Vec<_>>(), [Some(name.clone())]);
    let queue = world.wait(QueueBackend::open(&*embedded, context(), EmbeddedConfig::default())).unwrap();
    assert!(world.wait(queue.find(&id)).unwrap().is_some(), "an acknowledged record is lost");
}
