//! The log's space: what stands still pins neither the disk nor memory (I9, I10, B16).
//!
//! In: namespaces of which one stands still. Out: a log that is not much larger than what is needed of it, and
//! every record and dead letter of the one that stood still, also after a power cut.

use super::run::target;
use super::world::World;
use crate::backend::{EmbeddedConfig, Space};
use crate::cleaner::Cleaned;
use crate::limits::CLEAN_SLACK_SEGMENTS;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::BatchBuilder;
use walhost_core::inspect::DeadLetterFilter;
use walhost_core::queue::{Done, From, LeaseRequest, QueueContext, QueuePolicy, Settlement};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{Attempt, Clock, Kind, NamespaceName, Queue, RecordId, Subscription, VerdictKind};

const SEGMENT: u32 = 64 * 1024;
const FLOWING: usize = 9;

/// A host with one namespace that stands still and some that flow.
struct Host {
    world: World,
    still: Arc<dyn Queue>,
    flowing: Vec<Arc<dyn Queue>>,
}

fn quiet() -> QueuePolicy {
    QueuePolicy { history_ms: 0, dlq_retention_ms: u64::MAX / 4, ..policy() }
}

impl Host {
    fn new(seed: u64) -> Host {
        let mut world = World::new(seed, SEGMENT, None);
        world.open().unwrap();
        let (still, flowing) = Host::queues(&mut world);
        Host { world, still, flowing }
    }

    fn queues(world: &mut World) -> (Arc<dyn Queue>, Vec<Arc<dyn Queue>>) {
        let mut open = |name: &str| {
            let context = QueueContext { namespace: NamespaceName::new(name).unwrap(), policy: quiet() };
            let embedded = world.embedded();
            let queue = world.wait(QueueBackend::open(&*embedded, context, EmbeddedConfig::default())).unwrap();
            world.wait(queue.subscribe(&target("t"), From::Earliest)).unwrap();
            queue
        };
        let still = open("still");
        (still, (0..FLOWING).map(|number| open(&format!("flowing-{number}"))).collect())
    }

    fn reopen(&mut self, power: bool) {
        self.world.end(power);
        self.world.open().unwrap();
        assert_eq!(self.world.embedded().report().lost, 0);
        (self.still, self.flowing) = Host::queues(&mut self.world);
    }

    fn append(&mut self, queue: &Arc<dyn Queue>, value: &[u8], due_ms: Option<u64>) -> walhost_core::Result<RecordId> {
        let mut builder = BatchBuilder::default();
        builder.record(None, &walhost_core::Headers::default(), value);
        let mut batch = builder.build().unwrap();
        batch.due_ms = due_ms;
        self.world.wait(queue.append(batch)).map(|mut appended| appended.ids.remove(0))
    }

    fn sub(&mut self, queue: &Arc<dyn Queue>) -> Arc<dyn Subscription> {
        self.world.wait(queue.subscribe(&target("t"), From::Earliest)).unwrap()
    }

    /// Many records that are settled at once in the namespaces that flow, and a few that stay open in the one that
    /// stands still; answers these.
    fn one_still_among_those_that_flow(&mut self, rounds: u8) -> Vec<(RecordId, Vec<u8>)> {
        let still = Arc::clone(&self.still);
        let mut kept = Vec::new();
        for round in 0..rounds {
            let value = vec![round; 900];
            kept.push((self.append(&still, &value, None).unwrap(), value));
            for number in 0..80 {
                let queue = Arc::clone(&self.flowing[number % FLOWING]);
                self.append(&queue, &[7; 1_000], None).unwrap();
                self.settle(&queue, false);
            }
        }
        kept
    }

    /// Settles all that is ready; answers the values.
    fn settle(&mut self, queue: &Arc<dyn Queue>, dead: bool) -> Vec<(RecordId, Vec<u8>)> {
        let sub = self.sub(queue);
        let mut settled = Vec::new();
        loop {
            let request = LeaseRequest { records_max: 1_000, bytes_max: 1 << 24, visibility_ms: 5_000, wait_ms: 0 };
            let leases = self.world.wait(sub.lease(request)).unwrap();
            if leases.is_empty() {
                return settled;
            }
            let mut call = Vec::new();
            for lease in leases {
                settled.push((lease.record.id.clone(), lease.record.value.to_vec()));
                let (code, message) = ("no".to_owned(), String::new());
                let attempt =
                    Attempt { number: 1, at_ms: 1, verdict: VerdictKind::Reject, code, message, digest: None };
                call.push(match dead {
                    true => (lease.token, Settlement::Dead { attempt, exhausted: None }),
                    false => (lease.token, Settlement::Done { outcome: Done::Delivered, attempt: None }),
                });
            }
            self.world.wait(sub.settle(call)).unwrap();
        }
    }

    /// So much goes through the namespaces that flow.
    fn flow(&mut self, records: usize) {
        for number in 0..records {
            let queue = Arc::clone(&self.flowing[number % FLOWING]);
            self.append(&queue, &[number as u8; 1_000], None).unwrap();
            self.settle(&queue, false);
        }
        self.keep();
    }

    /// Housekeeping and cleaning, until there is nothing to do.
    fn keep(&mut self) {
        for _ in 0..4 {
            self.world.embedded().keep().unwrap();
            self.world.flush();
            while self.clean() != Cleaned::Idle {}
        }
    }

    fn clean(&mut self) -> Cleaned {
        let cleaned = self.world.embedded().clean().unwrap();
        self.world.advance(1);
        cleaned
    }

    fn space(&self) -> Space {
        self.world.embedded().space()
    }

    fn assert_small(&self) {
        let space = self.space();
        let bound = 2 * space.needed_bytes + (CLEAN_SLACK_SEGMENTS + 2) * u64::from(SEGMENT);
        assert!(space.disk_bytes <= bound, "B16: {space:?} of {bound}");
        assert!(space.write_amplification() <= 1.5, "B16: {space:?}");
        assert!(space.index_bytes <= space.needed_bytes + 100_000, "B16: {space:?}");
    }
}

#[test]
fn i09_b16_one_namespace_that_stands_still_does_not_pin_the_segments_of_those_that_flow() {
    let mut host = Host::new(1);
    let still = Arc::clone(&host.still);
    let mut kept = Vec::new();
    for round in 0..40_u32 {
        for number in 0..8_u32 {
            let value = [round.to_le_bytes(), number.to_le_bytes()].concat().repeat(120);
            kept.push((host.append(&still, &value, None).unwrap(), value));
        }
        host.flow(80);
        host.assert_small();
    }
    let space = host.space();
    assert!(space.cleaned_segments > 20 && space.cleaned_bytes > 0, "{space:?}");
    for power in [false, true] {
        host.reopen(power);
        let stats = host.still.stats();
        assert_eq!(stats.backlog_records, kept.len() as u64);
        assert!(stats.targets.values().all(|target| target.accounting.balances()));
    }
    let still = Arc::clone(&host.still);
    assert_eq!(host.settle(&still, false), kept, "every record, unchanged in id, bytes and order");
    host.keep();
    assert_eq!(host.space().needed_bytes, 0);
}

#[test]
fn i09_b16_one_dead_letter_a_segment_is_copied_and_can_be_read_and_sent_again() {
    let mut host = Host::new(2);
    let still = Arc::clone(&host.still);
    let mut kept = Vec::new();
    for round in 0..50_u8 {
        let value = vec![round; 300];
        kept.push((host.append(&still, &value, None).unwrap(), value));
        host.settle(&still, true);
        host.flow(70);
        host.assert_small();
    }
    assert!(host.space().cleaned_segments > 20, "{:?}", host.space());
    host.reopen(true);
    let still = Arc::clone(&host.still);
    let page = host.world.wait(still.dead_letters(&DeadLetterFilter::default(), None, 1_000)).unwrap();
    assert_eq!(page.items.len(), kept.len());
    for (letter, (id, value)) in page.items.iter().zip(&kept) {
        let detail = host.world.wait(still.dead_letter(&letter.id)).unwrap().unwrap();
        assert_eq!((&detail.record.id, &detail.record.value[..]), (id, &value[..]));
    }
    let ids: Vec<_> = page.items.into_iter().map(|letter| letter.id).collect();
    assert_eq!(host.world.wait(still.redrive(&ids)).unwrap(), kept.len() as u64);
    assert_eq!(host.settle(&still, false), kept);
    assert!(still.stats().targets.values().all(|target| target.accounting.balances()));
}

#[test]
fn i09_b16_one_delayed_record_a_segment_is_copied_and_keeps_its_time() {
    let mut host = Host::new(3);
    let still = Arc::clone(&host.still);
    let due_ms = host.world.clock.now_ms() + 3_600_000;
    let mut kept = Vec::new();
    for round in 0..50_u8 {
        let value = vec![round; 300];
        kept.push((host.append(&still, &value, Some(due_ms)).unwrap(), value));
        host.flow(70);
        host.assert_small();
    }
    assert!(host.space().cleaned_segments > 20, "{:?}", host.space());
    host.reopen(true);
    let still = Arc::clone(&host.still);
    assert!(host.settle(&still, false).is_empty(), "I20: never early");
    assert_eq!(still.stats().targets[&target("t")].scheduled, kept.len() as u64);
    host.world.advance(3_700_000);
    assert_eq!(host.settle(&still, false), kept);
}

#[test]
fn i09_a_crash_while_copies_are_on_their_way_loses_nothing_and_doubles_nothing() {
    for stop in 1..25 {
        let mut host = Host::new(100 + stop);
        let kept = host.one_still_among_those_that_flow(20);
        host.world.flush();
        for _ in 0..3 {
            host.world.embedded().keep().unwrap();
            host.world.flush();
        }
        host.world.disk.stop_after(stop);
        for _ in 0..20 {
            if host.world.embedded().clean().is_err() {
                break;
            }
            host.world.advance(1);
            let _ = host.world.embedded().keep();
            host.world.advance(60);
        }
        host.world.end(true);
        host.world.disk.go_on();
        host.world.open().unwrap();
        assert_eq!(host.world.embedded().report().lost, 0);
        (host.still, host.flowing) = Host::queues(&mut host.world);
        host.keep();
        let still = Arc::clone(&host.still);
        assert_eq!(host.settle(&still, false), kept, "stopped after {stop} operations of the disk");
    }
}

#[test]
fn i09_what_is_settled_while_its_copy_is_on_its_way_stays_settled_and_a_new_target_finds_the_rest() {
    let mut host = Host::new(4);
    let kept = host.one_still_among_those_that_flow(24);
    let still = Arc::clone(&host.still);
    let embedded = host.world.embedded();
    for _ in 0..3 {
        embedded.keep().unwrap();
        host.world.flush();
    }
    let mut handed_over = false;
    while !handed_over {
        handed_over = matches!(embedded.clean().unwrap(), Cleaned::Worked(bytes) if bytes > 0);
    }
    // The copies wait in the log; nothing was committed since.
    let sub = host.sub(&still);
    let request = LeaseRequest { records_max: 8, bytes_max: 1 << 20, visibility_ms: 5_000, wait_ms: 0 };
    let leases = host.world.wait(sub.lease(request)).unwrap();
    let done = leases.iter().map(|lease| (lease.token, Settlement::Done { outcome: Done::Delivered, attempt: None }));
    host.world.wait(sub.settle(done.collect())).unwrap();
    drop(embedded);
    host.keep();
    host.reopen(true);
    let still = Arc::clone(&host.still);
    let late = host.world.wait(still.subscribe(&target("late"), From::Earliest)).unwrap();
    let leases = host.world.wait(late.lease(LeaseRequest { records_max: 100, ..request })).unwrap();
    let values: Vec<_> = leases.iter().map(|lease| lease.record.value.to_vec()).collect();
    assert!(kept[8..].iter().all(|(_, value)| values.contains(value)));
    let settled =
        leases.iter().map(|lease| (lease.token, Settlement::Done { outcome: Done::Delivered, attempt: None }));
    host.world.wait(late.settle(settled.collect())).unwrap();
    assert_eq!(host.settle(&still, false), kept[8..].to_vec());
    assert!(still.stats().targets.values().all(|target| target.accounting.balances()));
}

#[test]
fn i10_with_a_full_disk_delivery_and_reclaiming_go_on_and_ingest_resumes_by_itself() {
    let mut host = Host::new(5);
    let still = Arc::clone(&host.still);
    host.world.disk.set_capacity_bytes(40 * u64::from(SEGMENT));
    let flowing = Arc::clone(&host.flowing[0]);
    let mut kept = Vec::new();
    let mut waiting = 0;
    let full = loop {
        let value = vec![kept.len() as u8; 1_000];
        match host.append(&still, &value, None) {
            Ok(id) => kept.push((id, value)),
            Err(error) => break error,
        }
        for _ in 0..12 {
            match host.append(&flowing, &[1; 1_000], None) {
                Ok(_) => waiting += 1,
                Err(error) => assert_eq!(error.kind(), Kind::DiskFull, "{error}"),
            }
        }
        host.world.embedded().keep().unwrap();
    };
    assert_eq!(full.kind(), Kind::DiskFull, "no false acknowledgement");
    // The namespace that flows is delivered all the same; nothing else goes, and the disk stays as small.
    assert_eq!(host.settle(&flowing, false).len(), waiting);
    let resumed = (0..200).any(|_| {
        host.world.embedded().keep().unwrap();
        while host.clean() == Cleaned::Worked(0) {}
        host.world.advance(1_100);
        host.append(&flowing, &[2; 1_000], None).is_ok()
    });
    assert!(resumed, "{:?}", host.space());
    host.reopen(true);
    let still = Arc::clone(&host.still);
    assert_eq!(host.settle(&still, false), kept);
}

#[test]
fn i09_b16_a_target_that_is_paused_keeps_its_records_and_nothing_else() {
    let mut host = Host::new(6);
    let still = Arc::clone(&host.still);
    let paused = host.world.wait(still.subscribe(&target("paused"), From::Latest)).unwrap();
    let mut kept = Vec::new();
    for round in 0..30_u8 {
        for _ in 0..4 {
            let value = vec![round; 900];
            kept.push((host.append(&still, &value, None).unwrap(), value));
        }
        host.settle(&still, false);
        host.flow(80);
        host.assert_small();
    }
    assert!(host.space().cleaned_segments > 10, "{:?}", host.space());
    let request = LeaseRequest { records_max: 1_000, bytes_max: 1 << 24, visibility_ms: 5_000, wait_ms: 0 };
    let mut values = Vec::new();
    loop {
        let leases = host.world.wait(paused.lease(request)).unwrap();
        if leases.is_empty() {
            break;
        }
        values.extend(leases.iter().map(|lease| (lease.record.id.clone(), lease.record.value.to_vec())));
    }
    assert_eq!(values, kept);
}

#[test]
fn i25_dead_letters_count_against_the_backlog_and_nothing_is_dropped_to_make_room() {
    let mut host = Host::new(7);
    let still = Arc::clone(&host.still);
    still.configure(&QueuePolicy { backlog_bytes_max: 5_000, ..quiet() }).unwrap();
    let mut kept = 0;
    let refused = loop {
        match host.append(&still, &[1; 700], None) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        host.settle(&still, true);
    };
    assert_eq!((refused.kind(), kept > 2), (Kind::QuotaExceeded, true), "{refused}");
    assert!(still.stats().backlog_bytes > 3_000);
    let page = host.world.wait(still.dead_letters(&DeadLetterFilter::default(), None, 1_000)).unwrap();
    assert_eq!(page.items.len(), kept);
    let ids: Vec<_> = page.items.into_iter().map(|letter| letter.id).collect();
    host.world.wait(still.purge(&ids)).unwrap();
    assert_eq!(still.stats().backlog_bytes, 0);
    assert!(host.append(&still, &[1; 700], None).is_ok());
}

#[test]
fn i25_where_memory_is_used_up_appends_are_refused_and_records_are_held_instead_of_dead_lettered() {
    let mut host = Host::new(8);
    let still = Arc::clone(&host.still);
    for _ in 0..20 {
        host.append(&still, &[1; 100], None).unwrap();
    }
    host.world.embedded().set_index_bytes_max(100);
    host.world.embedded().keep().unwrap();
    assert_eq!(host.append(&still, &[1; 100], None).unwrap_err().kind(), Kind::Overloaded);
    let sub = host.sub(&still);
    let request = LeaseRequest { records_max: 1, bytes_max: 1 << 20, visibility_ms: 5_000, wait_ms: 0 };
    let lease = host.world.wait(sub.lease(request)).unwrap().remove(0);
    let (code, message) = ("no".to_owned(), String::new());
    let attempt = Attempt { number: 1, at_ms: 1, verdict: VerdictKind::Reject, code, message, digest: None };
    let dead = vec![(lease.token, Settlement::Dead { attempt, exhausted: None })];
    assert_eq!(host.world.wait(sub.settle(dead)).unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(still.stats().backlog_records, 20, "held, not dropped");
    host.world.advance(6_000);
    assert_eq!(host.settle(&still, false).len(), 20, "delivery goes on");
    host.world.embedded().set_index_bytes_max(1 << 20);
    assert!(host.append(&still, &[1; 100], None).is_ok());
}
