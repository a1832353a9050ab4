//! A data directory looked at offline: whose everything is, and what damage has taken, by name (I6, I11).

use super::world::World;
use crate::backend::EmbeddedConfig;
use crate::survey::Survey;
use std::path::Path;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::disk::Disk;
use walhost_core::queue::{Done, From, LeaseRequest, QueueContext, Settlement};
use walhost_core::testkit::queue_suite;
use walhost_core::{Attempt, BatchBuilder, NamespaceName, Queue, Subscription, TargetName, VerdictKind};
use walhost_log::inspect::Inspector;

type Opened = (Arc<dyn Queue>, Arc<dyn Subscription>);

fn open(world: &mut World) -> Opened {
    world.open().unwrap();
    let embedded = world.embedded();
    let context = QueueContext { namespace: NamespaceName::new("orders").unwrap(), policy: queue_suite::policy() };
    let queue = world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
    let sub = world.wait(queue.subscribe(&TargetName::new("hook").unwrap(), From::Latest)).unwrap();
    (queue, sub)
}

fn append(world: &mut World, queue: &Arc<dyn Queue>, values: &[&str], due_ms: Option<u64>) -> Vec<String> {
    let mut builder = BatchBuilder::default();
    values.iter().for_each(|value| builder.record_with(None, [], value.as_bytes()));
    let mut batch = builder.build().unwrap();
    batch.due_ms = due_ms;
    let queue = Arc::clone(queue);
    let appended = world.wait(async move { queue.append(batch).await }).unwrap();
    appended.ids.iter().map(ToString::to_string).collect()
}

fn survey(world: &World) -> Survey {
    let inspector = Inspector::open(&world.disk, Path::new("/data/wal")).unwrap();
    let damage = inspector.verify().unwrap();
    Survey::read(&inspector, &world.disk, Path::new("/data"), &damage, true).unwrap()
}

/// Where these bytes are in the log's files: file and bit.
fn find(world: &World, bytes: &[u8]) -> (std::path::PathBuf, u64) {
    for found in world.disk.list(Path::new("/data/wal")).unwrap() {
        let path = Path::new("/data/wal").join(&found.name);
        let content = walhost_core::disk::read_all(&world.disk, &path, 1 << 30).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            return (path, at as u64 * 8);
        }
    }
    panic!("they are in no file");
}

#[test]
fn i06_what_is_where_and_what_was_lost_is_told_by_name() {
    let mut world = World::new(11, 1 << 16, None);
    let (queue, sub) = open(&mut world);
    append(&mut world, &queue, &["one", "two"], None);
    let lost = append(&mut world, &queue, &["unlucky", "unhappy"], None);
    append(&mut world, &queue, &["three"], None);
    let due_ms = 1_700_000_000_000 + 3_600_000;
    append(&mut world, &queue, &["much later"], Some(due_ms));
    let request = LeaseRequest { records_max: 2, bytes_max: usize::MAX, visibility_ms: 30_000, wait_ms: 0 };
    let leases = world.wait(sub.lease(request)).unwrap();
    let attempt = |verdict, code: &str| Attempt {
        number: 1,
        at_ms: 5,
        verdict,
        code: code.to_owned(),
        message: String::new(),
        digest: None,
    };
    let done = Settlement::Done { outcome: Done::Delivered, attempt: None };
    let dead = Settlement::Dead { attempt: attempt(VerdictKind::Reject, "bad"), exhausted: None };
    world.wait(sub.settle(vec![(leases[0].token, done), (leases[1].token, dead)])).unwrap();
    world.flush();
    drop((queue, sub));
    world.end(false);

    let whole = survey(&world);
    assert!(whole.is_clean(), "{:?}", whole.lost);
    let [orders] = &whole.namespaces[..] else { panic!("{whole:?}") };
    assert_eq!((orders.name.as_deref(), orders.records, orders.dead_letters), (Some("orders"), 4, 1));
    assert_eq!((orders.delayed_frames, orders.next_offset, orders.targets.len()), (1, 6, 1));
    let counts = orders.targets[0].accounting;
    assert_eq!((counts.accepted, counts.delivered, counts.dead, counts.pending), (6, 1, 1, 4));
    assert!(counts.balances() && whole.kinds["append"] == 3 && whole.kinds["dead"] == 1);
    assert!(whole.live.values().sum::<u64>() >= 4, "{:?}", whole.live);

    let (file, bit) = find(&world, b"unlucky");
    world.disk.flip_bit(&file, bit).unwrap();
    let damaged = survey(&world);
    assert!(!damaged.is_clean());
    let said = damaged.lost.join("\n");
    assert!(said.contains("namespace orders") && said.contains("0:2 to 0:3"), "{said}");
    assert!(lost.iter().all(|id| said.contains(id.as_str())), "{lost:?}: {said}");

    // The open says the same, and delivers everything else.
    let (queue, sub) = open(&mut world);
    let report = world.embedded().report().clone();
    assert!(!report.clean && report.damage.iter().any(|said| said.contains("0:2 to 0:3")), "{report:?}");
    let stats = queue.stats().targets.values().next().copied().unwrap();
    assert!(stats.accounting.balances(), "{stats:?}");
    let leases = world.wait(sub.lease(LeaseRequest { records_max: 9, ..request })).unwrap();
    assert_eq!(leases.iter().map(|lease| &lease.record.value[..]).collect::<Vec<_>>(), [b"three"]);
}

/// Bytes of a frame's head.
const HEAD_BYTES: u64 = 64;

/// Frames of every kind, for two targets: plain, for one target, delayed, facts, a dead letter and a redrive.
fn build(world: &mut World) {
    let (queue, hook) = open(world);
    let cache = world.wait(queue.subscribe(&TargetName::new("cache").unwrap(), From::Latest)).unwrap();
    append(world, &queue, &["a1", "a2", "a3"], None);
    append(world, &queue, &["later"], Some(1_700_000_000_000 + 60_000));
    append(world, &queue, &["b1"], None);
    let request = LeaseRequest { records_max: 2, bytes_max: usize::MAX, visibility_ms: 30_000, wait_ms: 0 };
    let settled = |code: &str| Attempt {
        number: 1,
        at_ms: 5,
        verdict: VerdictKind::Reject,
        code: code.to_owned(),
        message: String::new(),
        digest: None,
    };
    let leases = world.wait(hook.lease(request)).unwrap();
    let dead = |code| Settlement::Dead { attempt: settled(code), exhausted: None };
    world.wait(hook.settle(vec![(leases[0].token, dead("bad")), (leases[1].token, dead("worse"))])).unwrap();
    let letters = world.wait(queue.dead_letters(&Default::default(), None, 9)).unwrap().items;
    world.wait(queue.redrive(&[letters[0].id.clone()])).unwrap();
    let leases = world.wait(cache.lease(LeaseRequest { records_max: 1, ..request })).unwrap();
    let done = Settlement::Done { outcome: Done::Delivered, attempt: None };
    world.wait(cache.settle(vec![(leases[0].token, done)])).unwrap();
    world.flush();
}

/// Every record that can be had now and in an hour, of both targets; all are delivered.
fn drain(world: &mut World, queue: &Arc<dyn Queue>) -> Vec<String> {
    let mut values = Vec::new();
    for round in 0..2 {
        world.advance(round * 3_600_000);
        for name in ["hook", "cache"] {
            let sub = world.wait(queue.subscribe(&TargetName::new(name).unwrap(), From::Latest)).unwrap();
            let request = LeaseRequest { records_max: 99, bytes_max: usize::MAX, visibility_ms: 1_000, wait_ms: 0 };
            loop {
                let leases = world.wait(sub.lease(request)).unwrap();
                if leases.is_empty() {
                    break;
                }
                for lease in leases {
                    values.push(format!("{name} {}", String::from_utf8_lossy(&lease.record.value)));
                    let done = Settlement::Done { outcome: Done::Delivered, attempt: None };
                    world.wait(sub.settle(vec![(lease.token, done)])).unwrap();
                }
            }
        }
    }
    values
}

#[test]
fn i06_whatever_frame_is_damaged_it_is_named_the_rest_is_delivered_and_the_counters_balance() {
    let (mut number, mut kinds) = (0, std::collections::BTreeSet::new());
    loop {
        let mut world = World::new(21, 1 << 16, None);
        build(&mut world);
        world.end(false);
        let inspector = Inspector::open(&world.disk, Path::new("/data/wal")).unwrap();
        let mut frames = Vec::new();
        inspector
            .dump(|head, place, _| {
                frames.push((*head, place));
                true
            })
            .unwrap();
        let files = inspector.report().unwrap().segments;
        drop(inspector);
        let Some((head, place)) = frames.get(number).copied() else { break };
        number += 1;
        if head.bytes == 0 {
            continue;
        }
        kinds.insert(head.kind);
        let file = files.iter().find(|file| file.segment == place.segment).unwrap().file.clone();
        let path = Path::new("/data/wal").join(file);
        world.disk.flip_bit(&path, (u64::from(place.position) + HEAD_BYTES) * 8).unwrap();
        let said = survey(&world);
        assert!(!said.is_clean(), "frame {number} of kind {}", head.kind);
        let (queue, _sub) = open(&mut world);
        let report = world.embedded().report().clone();
        let names = head.view == 0 || report.damage.iter().any(|said| said.contains("namespace"));
        assert!(names, "frame {number} of kind {}: {:?}", head.kind, report.damage);
        for (target, stats) in queue.stats().targets {
            assert!(stats.accounting.balances(), "frame {number}, {target}: {:?}", stats.accounting);
        }
        let values = drain(&mut world, &queue);
        // Whatever is not in the damaged frame comes at each target that has not settled it.
        let all = ["hook a3", "hook later", "hook b1", "cache a2", "cache a3", "cache later", "cache b1"];
        let missing: Vec<&str> = all.into_iter().filter(|one| !values.iter().any(|value| value == one)).collect();
        let lost = match head.kind {
            crate::frame::APPEND if head.count == 3 => 3,
            crate::frame::APPEND | crate::frame::APPEND_WITH | crate::frame::APPEND_DELAYED => 2,
            // Without its subscriptions a namespace has no targets for what came before they were made anew.
            crate::frame::FACTS => usize::MAX,
            _ => 0,
        };
        assert!(missing.len() <= lost, "frame {number} of kind {}: {missing:?}", head.kind);
        for (target, stats) in queue.stats().targets {
            assert!(stats.accounting.balances(), "frame {number}, {target}: {:?}", stats.accounting);
            assert_eq!(stats.accounting.pending, 0, "frame {number}, {target}: {:?}", stats.accounting);
        }
    }
    assert!(kinds.len() == 5, "every kind was damaged once: {kinds:?}");
}
