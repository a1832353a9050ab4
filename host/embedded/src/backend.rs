//! The embedded queue as a kind of queue: one log a data directory, opened once a process.
//!
//! In: options, namespaces as the catalogue names them. Out: their queues; metrics; orphans.

use crate::alone::Alone;
use crate::cache::Cache;
use crate::cleaner::{Cleaned, Cleaner};
use crate::commit::Keeper;
use crate::frame::fact::Fact;
use crate::idempotency::tend::RunFiles;
use crate::keep::{Generations, tidy};
use crate::limits;
use crate::queue::{EmbeddedQueue, durability};
use crate::replay::Recovery;
use crate::shared::{Index, Namespace, Shared, Unsaved, durable};
use crate::snapshot;
use crate::view::View;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use walhost_core::backend::{Complaint, QueueBackend};
use walhost_core::disk::Disk;
use walhost_core::limits::{BATCH_BYTES_HARD_MAX, RECORD_BYTES_HARD_MAX};
use walhost_core::queue::{Capability, Queue, QueueContext};
use walhost_core::{Clock, Error, Kind, NamespaceName, Random, Result};
use walhost_log::{Committer, Log, Preparer};

/// What the log is opened with.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// The data directory; the log is in `wal`, the snapshots are in `snapshots`.
    pub dir: PathBuf,
    /// Bytes that must stay free on the file system (I10).
    pub min_free_bytes: u64,
    /// Bytes of one segment.
    pub segment_bytes: u32,
    /// Bytes of recent frames kept in memory.
    pub tail_bytes_max: usize,
    /// Segments that the log may take beyond twice the bytes that are needed, before it is cleaned.
    pub clean_slack_segments: u64,
    /// Told how far an open is; nobody by default.
    pub progress: Option<Arc<dyn Fn(walhost_log::Progress) + Send + Sync>>,
    /// Bugs on purpose, for the harness that must catch them.
    #[cfg(any(test, feature = "planted"))]
    pub planted: Option<Planted>,
}

impl EmbeddedOptions {
    /// The values for production.
    pub fn new(dir: PathBuf) -> EmbeddedOptions {
        EmbeddedOptions {
            dir,
            min_free_bytes: 1 << 30,
            segment_bytes: walhost_log::limits::SEGMENT_BYTES,
            tail_bytes_max: limits::TAIL_BYTES_MAX,
            clean_slack_segments: limits::CLEAN_SLACK_SEGMENTS,
            progress: None,
            #[cfg(any(test, feature = "planted"))]
            planted: None,
        }
    }
}

/// Bugs on purpose.
#[cfg(any(test, feature = "planted"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Progress moves when a record is handed out, not when it is settled.
    SettledBeforeDelivered,
    /// A settlement as dead returns before the dead letter is durable.
    DeadLetterNotAwaited,
    /// A segment is given back when one snapshot holds its facts.
    ReleasedAfterOneSnapshot,
    /// A snapshot says that it holds more facts than it does.
    SnapshotAsOfTooHigh,
    /// The cleaner gives its segments back before its copies are durable.
    ReleasedBeforeCopied,
    /// After a restart a record that waits for its retry does not hold its key.
    HeldKeyForgotten,
    /// One of the log's own.
    Log(walhost_log::Planted),
}

/// What a person writes in the `queue` table, beside `type`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// `fsync` (the default): an answer means that the record survives a power cut. `os`: receipts promise
    /// less; with one synced stream for all namespaces they are answered at the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
}

/// What an open found.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Records that damage has taken, over all targets.
    pub lost: u64,
    /// Each damaged place, in words (I6).
    pub damage: Vec<String>,
    /// Frames of the torn tail that were cut.
    pub torn_frames: u64,
    /// Whether the process before has ended in order; true for a new directory. If not, what may have been in
    /// flight is suspect (I15).
    pub clean: bool,
}

/// A namespace in the log that nobody has opened (I11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its number in the log.
    pub view: u32,
    /// Its name; none when the frame that made it is lost.
    pub name: Option<NamespaceName>,
    /// Records that it holds and that some target has not settled.
    pub records: u64,
    /// Dead letters that it holds.
    pub dead_letters: u64,
}

/// The log's space, and what cleaning has cost since the open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of all files of the log.
    pub disk_bytes: u64,
    /// Bytes that must be kept: open records and dead letters.
    pub needed_bytes: u64,
    /// Bytes that were written for others than the cleaner.
    pub appended_bytes: u64,
    /// Bytes that the cleaner has copied.
    pub cleaned_bytes: u64,
    /// Segments that the cleaner has emptied.
    pub cleaned_segments: u64,
    /// Bytes of all snapshots that were written.
    pub snapshot_bytes: u64,
    /// Bytes of memory for what is known of open records and dead letters, about; once a second.
    pub index_bytes: u64,
}

impl Space {
    /// Bytes written for each byte that was to be written, snapshots left out: they replace one another.
    pub fn write_amplification(&self) -> f64 {
        (self.appended_bytes + self.cleaned_bytes) as f64 / self.appended_bytes.max(1) as f64
    }
}

/// The embedded queues of one data directory.
pub struct Embedded {
    shared: Arc<Shared>,
    registry: Mutex<Registry>,
    generations: Mutex<Generations>,
    cleaner: Mutex<Cleaner>,
    making: tokio::sync::Mutex<()>,
    report: OpenReport,
}

#[derive(Default)]
struct Registry {
    /// All namespaces in the log, by number.
    all: BTreeMap<u32, Arc<Namespace>>,
    /// Those that were opened.
    open: BTreeMap<NamespaceName, Arc<EmbeddedQueue>>,
    next_view: u32,
}

/// The committer and the preparer of an embedded log that is stepped by a simulation.
pub struct Steps {
    committer: Committer<Keeper>,
    preparer: Preparer<Keeper>,
}

impl Steps {
    /// Makes segments ready, then one commit of what waits.
    pub fn step(&mut self) -> walhost_log::Step {
        self.preparer.step();
        self.committer.step()
    }
}

impl Embedded {
    /// Opens the log of a data directory, replays it, and starts its threads and the housekeeper, on the
    /// runtime of the caller. Errors: `Conflict` when another process has the directory (I8).
    pub fn open(
        options: EmbeddedOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Result<Arc<Embedded>> {
        let (embedded, steps) = Embedded::open_stepped(options, disk, clock, random)?;
        steps.committer.start(Arc::new(Keeper), steps.preparer)?;
        let weak = Arc::downgrade(&embedded);
        let clock = Arc::clone(&embedded.shared.clock);
        walhost_core::exec::task(async move {
            let mut wait_ms = limits::FIRST_ROUNDS_MS.into_iter();
            loop {
                let wait_ms = wait_ms.next().unwrap_or(limits::HOUSEKEEPING_MS);
                clock.sleep(Duration::from_millis(wait_ms)).await;
                let Some(embedded) = weak.upgrade() else { break };
                if embedded.shared.closed.load(Ordering::Acquire) {
                    break;
                }
                let keep = walhost_core::exec::blocking(move || embedded.keep());
                if let Ok(Err(error)) = keep.await {
                    tracing::error!(%error, "housekeeping of the log failed; it is tried again");
                }
            }
        });
        let weak = Arc::downgrade(&embedded);
        let clock = Arc::clone(&embedded.shared.clock);
        walhost_core::exec::task(async move {
            let mut wait_ms = limits::HOUSEKEEPING_MS;
            loop {
                clock.sleep(Duration::from_millis(wait_ms)).await;
                let Some(embedded) = weak.upgrade() else { break };
                if embedded.shared.closed.load(Ordering::Acquire) {
                    break;
                }
                wait_ms = match walhost_core::exec::blocking(move || embedded.clean()).await {
                    Ok(Ok(Cleaned::Waits | Cleaned::Worked(_))) => limits::CLEAN_PAUSE_MS,
                    Ok(Ok(Cleaned::Idle)) => limits::HOUSEKEEPING_MS,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "cleaning of the log was interrupted; it is tried again");
                        limits::HOUSEKEEPING_MS
                    }
                    Err(_) => limits::HOUSEKEEPING_MS,
                };
            }
        });
        Ok(embedded)
    }

    /// Opens it without threads: whoever has the steps takes them.
    pub fn open_stepped(
        options: EmbeddedOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<Random>,
    ) -> Result<(Arc<Embedded>, Steps)> {
        let snapshots = options.dir.join("snapshots");
        disk.create_dir_all(&snapshots).map_err(|error| {
            Error::new(Kind::Unavailable, "embedded.open", "the data directory cannot be made").source(error)
        })?;
        let found = walhost_log::snapshot::read_newest(&*disk, &snapshots)?;
        for name in &found.damaged {
            tracing::error!(name, "a snapshot is damaged; an older one serves");
        }
        let (as_of, next_view, views) = match &found.newest {
            Some((as_of, bytes)) => {
                let (next_view, views) = snapshot::get(bytes)?;
                (*as_of, next_view, views)
            }
            None => (0, 1, BTreeMap::new()),
        };
        let mut recovery = Recovery::new(as_of, next_view, views);
        let mut log_options = walhost_log::Options::new(Arc::clone(&clock), Arc::clone(&random));
        log_options.segment_bytes = options.segment_bytes;
        log_options.min_free_bytes = options.min_free_bytes;
        log_options.progress = options.progress.clone();
        #[cfg(any(test, feature = "planted"))]
        if let Some(Planted::Log(planted)) = options.planted {
            log_options.planted = Some(planted);
        }
        let opened = Log::<Keeper>::open(Arc::clone(&disk), &options.dir.join("wal"), log_options, &mut recovery)?;
        let (clean, lost) = (opened.clean, recovery.finish());
        let keys = options.dir.join("keys");
        let run_files =
            RunFiles::open(&*disk, keys, opened.epoch, clock.now_ms(), &mut recovery.views, &mut recovery.damage)?;
        let damage = std::mem::take(&mut recovery.damage);
        let report = OpenReport { lost, damage, torn_frames: opened.torn_frames, clean };
        for damage in &report.damage {
            tracing::error!(damage, "the log is damaged");
        }
        if lost > 0 {
            tracing::error!(lost, "records are lost to damage; the counters were corrected");
        }
        let shared = Arc::new(Shared {
            log: opened.log,
            disk,
            snapshots,
            wal: options.dir.join("wal"),
            min_free_bytes: options.min_free_bytes,
            clean_slack_segments: options.clean_slack_segments,
            clock,
            random,
            epoch: opened.epoch,
            tail: Mutex::new(Cache::new(options.tail_bytes_max)),
            cold: Mutex::new(Cache::new(limits::COLD_BYTES_MAX)),
            applied: AtomicU64::new(recovery.last),
            unsaved: Mutex::new(Unsaved::default()),
            index: Index::new(),
            run_files,
            alone: Alone::default(),
            closed: AtomicBool::new(false),
            #[cfg(any(test, feature = "planted"))]
            planted: options.planted,
        });
        let all = recovery.views.into_iter().map(|(number, view)| (number, Namespace::new(Arc::clone(&shared), view)));
        let registry = Registry { all: all.collect(), open: BTreeMap::new(), next_view: recovery.next_view };
        if !clean {
            tracing::info!("the last stop was not clean: what may have been in flight goes one by one");
        }
        for namespace in registry.all.values() {
            let mut view = namespace.view.lock();
            let facts = view.after_stop(clean, shared.clock.now_ms());
            shared.apply_lazily(namespace, &mut view, facts)?;
        }
        let embedded = Embedded {
            shared,
            registry: Mutex::new(registry),
            generations: Mutex::new(Generations::default()),
            cleaner: Mutex::new(Cleaner::default()),
            making: tokio::sync::Mutex::new(()),
            report,
        };
        let mut steps = Steps { committer: opened.committer, preparer: opened.preparer };
        steps.committer.attach(Arc::new(Keeper));
        Ok((Arc::new(embedded), steps))
    }

    /// What the open found.
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// The log's counters: fsync histogram, bytes on disk, corrupt frames.
    pub fn stats(&self) -> walhost_log::Stats {
        self.shared.log.stats()
    }

    /// How the log is.
    pub fn state(&self) -> walhost_log::State {
        self.shared.log.state()
    }

    /// True while settlements wait for the disk.
    #[cfg(test)]
    pub(crate) fn has_unsaved(&self) -> bool {
        !self.shared.unsaved.lock().is_empty()
    }

    /// Namespaces in the log that nobody has opened: they are kept, and reported (I11).
    pub fn orphans(&self) -> Vec<Orphan> {
        let registry = self.registry.lock();
        let open: Vec<u32> = registry.open.values().map(|queue| queue.namespace.number).collect();
        let orphan = |namespace: &Arc<Namespace>| {
            let view = namespace.view.lock();
            let dead_letters = view.dead.len();
            Orphan { view: view.number, name: view.name.clone(), records: view.backlog_records, dead_letters }
        };
        registry.all.values().filter(|namespace| !open.contains(&namespace.number)).map(orphan).collect()
    }

    pub(crate) fn namespaces(&self) -> (Vec<Arc<Namespace>>, u32) {
        let registry = self.registry.lock();
        (registry.all.values().cloned().collect(), registry.next_view)
    }

    /// Takes a snapshot now.
    pub fn snapshot(&self) -> Result<()> {
        self.generations.lock().snapshot(&self.shared, || self.namespaces())
    }

    /// One round of housekeeping. Blocks on the disk; the housekeeper calls it once a second.
    pub fn keep(&self) -> Result<()> {
        let (namespaces, _) = self.namespaces();
        if !self.shared.save_again() {
            tracing::warn!("settlements wait for the disk");
        }
        tidy(&self.shared, &namespaces);
        let cleaned = self.cleaner.lock().awaits_release(&self.shared, &namespaces);
        let mut generations = self.generations.lock();
        let short = self.shared.log.state() == walhost_log::State::DiskFull;
        if short || cleaned || generations.is_due(&self.shared) {
            generations.snapshot(&self.shared, || self.namespaces())?;
        }
        let released = generations.release(&self.shared, &namespaces);
        if !released.is_empty() {
            tracing::debug!(?released, "segments given back");
        }
        Ok(())
    }

    /// One step of the cleaner: a slice of copies at most. Blocks on reads; a task of its own calls it.
    pub fn clean(&self) -> Result<Cleaned> {
        let settled = self.generations.lock().settled();
        let (namespaces, _) = self.namespaces();
        self.cleaner.lock().step(&self.shared, &namespaces, settled)
    }

    /// What the log takes on the disk, what of it is needed, and what cleaning has cost.
    pub fn space(&self) -> Space {
        let stats = self.shared.log.stats();
        let (namespaces, _) = self.namespaces();
        let needed_bytes = namespaces.iter().map(|namespace| namespace.view.lock().extents.needed_bytes()).sum();
        let snapshot_bytes = self.generations.lock().bytes();
        let cleaner = self.cleaner.lock();
        let (cleaned_bytes, cleaned_segments) = (cleaner.bytes(), cleaner.segments());
        Space {
            disk_bytes: stats.disk_bytes,
            needed_bytes,
            appended_bytes: stats.bytes.saturating_sub(cleaned_bytes),
            cleaned_bytes,
            cleaned_segments,
            snapshot_bytes,
            index_bytes: self.shared.index.bytes.load(Ordering::Relaxed),
        }
    }

    /// For tests that need not fill a gigabyte.
    #[cfg(test)]
    pub(crate) fn set_index_bytes_max(&self, bytes: u64) {
        self.shared.index.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Asks the log for a new segment before its next commit.
    pub fn roll(&self) {
        self.shared.log.roll();
    }

    /// Ends all queues, takes a snapshot, and gives the data directory back. Idempotent.
    pub async fn close(self: &Arc<Self>) -> Result<()> {
        let queues: Vec<_> = self.registry.lock().open.values().cloned().collect();
        let mut failed = Ok(());
        for queue in queues {
            failed = queue.close().await.and(failed);
        }
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let embedded = Arc::clone(self);
        let closed = walhost_core::exec::blocking(move || {
            let snapshot = embedded.snapshot();
            embedded.shared.log.close();
            snapshot
        });
        let closed = closed
            .await
            .map_err(|error| Error::new(Kind::Internal, "embedded.close", "closing was given up").source(error))?;
        closed.and(failed)
    }

    fn capability(&self, policy: &walhost_core::queue::QueuePolicy) -> Result<Capability> {
        Ok(Capability { durability: durability(policy)?, ..Embedded::can() })
    }

    /// What every embedded queue can do, whatever its config says; durability as it is unless a weaker one is
    /// opted into.
    pub fn can() -> Capability {
        Capability {
            kind: <Embedded as QueueBackend>::KIND,
            durability: "fsync",
            durable: true,
            ordered: true,
            batch_atomic: true,
            attempts_durable: true,
            accounting_durable: true,
            idempotency: true,
            find: true,
            cancel: true,
            peek: true,
            suspects: true,
            delay_ms_max: None,
            record_bytes_max: RECORD_BYTES_HARD_MAX as u64,
            batch_bytes_max: BATCH_BYTES_HARD_MAX as u64,
        }
    }

    async fn make(&self, name: &NamespaceName) -> Result<Arc<Namespace>> {
        let known = |registry: &Registry| {
            registry.all.values().find(|namespace| namespace.view.lock().name.as_ref() == Some(name)).cloned()
        };
        let number = {
            let mut registry = self.registry.lock();
            if let Some(namespace) = known(&registry) {
                return Ok(namespace);
            }
            registry.next_view += 1;
            registry.next_view - 1
        };
        let incarnation = (self.shared.random.next_u64() as u32).max(1);
        let view = View::new(number, Some(name.clone()), incarnation);
        let namespace = Namespace::new(Arc::clone(&self.shared), view);
        let at_ms = self.shared.clock.now_ms();
        let fact = Fact::Made { name: name.as_str().to_owned(), incarnation, at_ms };
        // It is there before its frame is: a snapshot that holds all facts up to that frame must hold it too.
        self.registry.lock().all.insert(number, Arc::clone(&namespace));
        let made = match self.shared.propose("embedded.open", &namespace, vec![fact]) {
            Ok(answer) => durable("embedded.open", answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            self.registry.lock().all.remove(&number);
            return Err(error);
        }
        Ok(namespace)
    }
}

#[async_trait]
impl QueueBackend for Embedded {
    const KIND: &'static str = "embedded";
    type Config = EmbeddedConfig;

    fn check_config(config: &EmbeddedConfig, context: &QueueContext) -> Vec<Complaint> {
        let mut policy = context.policy.clone();
        policy.durability = policy.durability.or_else(|| config.durability.clone());
        match durability(&policy) {
            Ok(_) => Vec::new(),
            Err(error) => vec![Complaint {
                key: "durability".to_owned(),
                what: error.detail().to_owned(),
                help: "write \"fsync\", or \"os\" for a weaker promise".to_owned(),
            }],
        }
    }

    async fn open(&self, context: QueueContext, config: EmbeddedConfig) -> Result<Arc<dyn Queue>> {
        let mut policy = context.policy;
        policy.durability = policy.durability.or(config.durability);
        let capability = self.capability(&policy)?;
        let _one_at_a_time = self.making.lock().await;
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(crate::queue::closed("embedded.open"));
        }
        let open = self.registry.lock().open.get(&context.namespace).cloned();
        let queue = match open {
            Some(queue) if queue.capability == capability => queue,
            _ => {
                let namespace = self.make(&context.namespace).await?;
                let queue = Arc::new(EmbeddedQueue { namespace, capability, control: tokio::sync::Mutex::new(()) });
                self.registry.lock().open.insert(context.namespace.clone(), Arc::clone(&queue));
                queue
            }
        };
        queue.configure(&policy)?;
        queue.namespace.closed.store(false, Ordering::Release);
        Ok(queue)
    }

    async fn remove(&self, namespace: &NamespaceName) -> Result<()> {
        const OPERATION: &str = "embedded.remove";
        let _one_at_a_time = self.making.lock().await;
        let known = {
            let registry = self.registry.lock();
            registry.all.values().find(|one| one.view.lock().name.as_ref() == Some(namespace)).cloned()
        };
        let Some(known) = known else { return Ok(()) };
        let proposed = {
            // Whoever appends has the lock: what is of this namespace comes before this frame, or not at all.
            let _view = known.view.lock();
            known.removing.store(true, Ordering::Release);
            self.shared.propose(OPERATION, &known, vec![Fact::Removed])
        };
        let removed = match proposed {
            Ok(answer) => durable(OPERATION, answer).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            known.removing.store(false, Ordering::Release);
            return Err(error);
        }
        known.closed.store(true, Ordering::Release);
        known.wake();
        self.shared.run_files.forget(known.number, &known.view.lock().keys, self.shared.clock.now_ms());
        let mut registry = self.registry.lock();
        registry.all.remove(&known.number);
        registry.open.remove(namespace);
        drop(registry);
        self.shared.tail.lock().forget(known.number);
        self.shared.cold.lock().forget(known.number);
        Ok(())
    }
}
