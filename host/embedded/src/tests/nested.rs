//! A log whose values are log files: of another data directory, and of this very one as it is at that moment.
//! Somebody may post them, and a frame inside of a value must never be taken for a frame.
//!
//! In: a simulated disk. Out: exactly the records that were posted, after every crash and every flipped bit.

use super::flips::filled;
use super::world::World;
use crate::backend::EmbeddedConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::BatchBuilder;
use walhost_core::disk::{Disk, SimDisk, read_all};
use walhost_core::queue::{Done, From, LeaseRequest, QueueContext, Settlement};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{Headers, NamespaceName, Queue, RecordId, TargetName};

const WAL: &str = "/data/wal";
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Frames of the log that holds logs.
const FRAMES: usize = 24;

/// The segments of a directory, as somebody may post them.
fn files(disk: &SimDisk) -> Vec<Vec<u8>> {
    let found = disk.list(Path::new(WAL)).unwrap();
    let segments = found.into_iter().filter(|file| file.bytes > 1_000);
    segments.map(|file| read_all(disk, &Path::new(WAL).join(file.name), FILE_BYTES_MAX).unwrap()).collect()
}

fn open(world: &mut World) -> Arc<dyn Queue> {
    world.open().unwrap();
    let context = QueueContext { namespace: NamespaceName::new("logs").unwrap(), policy: policy() };
    let embedded = world.embedded();
    let queue = world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
    world.wait(queue.subscribe(&TargetName::new("t").unwrap(), From::Latest)).unwrap();
    queue
}

/// Opens a copy of the disk and delivers all; answers how many frames were lost.
fn look(world: &World, disk: SimDisk, posted: &BTreeMap<RecordId, Vec<u8>>) -> usize {
    let mut world = world.with_disk(disk, 1);
    world.end(true);
    let queue = open(&mut world);
    let sub = world.wait(queue.subscribe(&TargetName::new("t").unwrap(), From::Latest)).unwrap();
    let mut left = posted.clone();
    loop {
        let request = LeaseRequest { records_max: 9, bytes_max: 1 << 22, visibility_ms: 5_000, wait_ms: 0 };
        let leases = world.wait(sub.lease(request)).unwrap();
        if leases.is_empty() {
            break;
        }
        let done = Settlement::Done { outcome: Done::Delivered, attempt: None };
        for lease in &leases {
            let value = left.remove(&lease.record.id).expect("a record that nobody posted, or twice");
            assert!(lease.record.value == value, "I3");
        }
        world.wait(sub.settle(leases.iter().map(|lease| (lease.token, done.clone())).collect())).unwrap();
    }
    let accounting = queue.stats().targets.values().next().unwrap().accounting;
    assert!(accounting.balances() && accounting.pending == 0, "{accounting:?}");
    let told = !world.embedded().report().damage.is_empty() || world.embedded().stats().corrupt_frames > 0;
    assert!(left.is_empty() || told, "lost without a word");
    left.len()
}

#[test]
fn i05_i06_a_log_whose_values_are_log_files_gives_back_exactly_what_was_posted() {
    let inner = files(&filled());
    let mut world = World::new(9, 512 * 1024, None);
    let queue = open(&mut world);
    let mut posted = BTreeMap::new();
    let mut wait = |world: &mut World, value: Vec<u8>| {
        let mut builder = BatchBuilder::default();
        builder.record(Some(b"log"), &Headers::default(), &value);
        let appended = world.wait(queue.append(builder.build().unwrap())).unwrap();
        posted.insert(appended.ids[0].clone(), value);
        posted.clone()
    };
    for at in 0..FRAMES {
        let own = files(&world.disk);
        let mut value = if at % 2 == 0 { inner[at % inner.len()].clone() } else { own[at % own.len()].clone() };
        // Frames at other places of a sector, too.
        value.drain(..(at % 3) * 100);
        value.truncate(200_000);
        let posted = wait(&mut world, value);
        if at % 5 == 4 {
            world.embedded().roll();
            world.embedded().keep().unwrap();
            world.embedded().snapshot().unwrap();
            world.flush();
        }
        assert_eq!(look(&world, world.disk.fork(at as u64), &posted), 0, "after {at} frames");
    }
    world.flush();
    let all = posted.clone();
    let files: Vec<PathBuf> =
        world.disk.list(Path::new(WAL)).unwrap().iter().map(|f| Path::new(WAL).join(&f.name)).collect();
    let mut lost = 0;
    for (at, file) in files.iter().cycle().take(120).enumerate() {
        let disk = world.disk.fork(at as u64);
        disk.flip_bit(file, (at as u64 * 104_729) % (512 * 1024 * 8)).unwrap();
        let gone = look(&world, disk, &all);
        assert!(gone <= 1, "one bit of {} has cost {gone} frames", file.display());
        lost += gone;
    }
    assert!(lost > 0, "some of the bits were in frames");
}
