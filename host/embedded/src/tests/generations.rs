//! Two generations of snapshots before a segment goes (I9).
//!
//! In: a host on which nothing happens. Out: two files, and a segment given back only then.

use super::world::World;
use crate::backend::EmbeddedConfig;
use std::path::Path;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::BatchBuilder;
use walhost_core::queue::QueueContext;
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{Headers, NamespaceName};
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
