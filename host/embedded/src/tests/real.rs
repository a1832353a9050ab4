//! The embedded queue with its real threads, clock and disk.
//!
//! In: a temporary directory. Out: records that are there after a reopen; a second process is refused.

use crate::backend::{Embedded, EmbeddedConfig, EmbeddedOptions};
use std::path::PathBuf;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::batch::BatchBuilder;
use walhost_core::disk::OsDisk;
use walhost_core::queue::{Done, From, LeaseRequest, QueueContext, Settlement};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::time::SystemClock;
use walhost_core::{Kind, NamespaceName, Queue, Random, TargetName};

const PRODUCERS: usize = 16;
const BATCHES: usize = 20;
const RECORDS: usize = 5;

fn options(dir: &std::path::Path) -> EmbeddedOptions {
    EmbeddedOptions { min_free_bytes: 0, segment_bytes: 1 << 20, ..EmbeddedOptions::new(PathBuf::from(dir)) }
}

fn open(dir: &std::path::Path) -> walhost_core::Result<Arc<Embedded>> {
    Embedded::open(options(dir), Arc::new(OsDisk), Arc::new(SystemClock::default()), Arc::new(Random::seeded(1)))
}

async fn queue(embedded: &Embedded) -> Arc<dyn Queue> {
    let context = QueueContext { namespace: NamespaceName::new("real").unwrap(), policy: policy() };
    QueueBackend::open(embedded, context, EmbeddedConfig::default()).await.unwrap()
}

async fn take_all(queue: &Arc<dyn Queue>, wanted: usize) -> usize {
    let sub = queue.subscribe(&TargetName::new("t").unwrap(), From::Latest).await.unwrap();
    let mut taken = 0;
    while taken < wanted {
        let request = LeaseRequest { records_max: 64, bytes_max: 1 << 20, visibility_ms: 30_000, wait_ms: 2_000 };
        let leases = sub.lease(request).await.unwrap();
        if leases.is_empty() {
            break;
        }
        taken += leases.len();
        let done = Settlement::Done { outcome: Done::Delivered, attempt: None };
        sub.settle(leases.iter().map(|lease| (lease.token, done.clone())).collect()).await.unwrap();
    }
    taken
}

#[test]
fn i08_records_of_many_producers_survive_a_reopen_and_a_second_owner_is_refused() {
    let dir = std::env::temp_dir().join(format!("walhost-embedded-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let embedded = open(&dir).unwrap();
        assert_eq!(open(&dir).err().map(|error| error.kind()), Some(Kind::Conflict));
        let first = queue(&embedded).await;
        first.subscribe(&TargetName::new("t").unwrap(), From::Latest).await.unwrap();
        let producers = (0..PRODUCERS).map(|_| {
            let queue = Arc::clone(&first);
            tokio::spawn(async move {
                for _ in 0..BATCHES {
                    let mut builder = BatchBuilder::default();
                    (0..RECORDS).for_each(|_| builder.record(None, &walhost_core::Headers::default(), &[7; 900]));
                    queue.append(builder.build().unwrap()).await.unwrap();
                }
            })
        });
        for producer in producers.collect::<Vec<_>>() {
            producer.await.unwrap();
        }
        let all = PRODUCERS * BATCHES * RECORDS;
        let taken = take_all(&first, all / 2).await;
        embedded.close().await.unwrap();
        drop((first, embedded));
        let embedded = open(&dir).unwrap();
        let again = queue(&embedded).await;
        assert_eq!(take_all(&again, all - taken).await, all - taken);
        let accounting = again.stats().targets.values().next().unwrap().accounting;
        assert_eq!((accounting.accepted, accounting.delivered, accounting.pending), (all as u64, all as u64, 0));
        embedded.close().await.unwrap();
        assert_eq!(again.append(one()).await.err().map(|error| error.kind()), Some(Kind::Closed));
    });
    std::fs::remove_dir_all(&dir).unwrap();
}

fn one() -> walhost_core::RecordBatch {
    let mut builder = BatchBuilder::default();
    builder.record(None, &walhost_core::Headers::default(), b"1");
    builder.build().unwrap()
}
