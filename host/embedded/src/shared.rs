//! What all namespaces of one log share, and a namespace with its lock.
//!
//! In: drafts. Out: submitted frames; frames read back.

use crate::alone::Alone;
use crate::cache::Cache;
use crate::codec::Writer;
use crate::commit::{Keeper, Ticket, Waiter, classify};
use crate::extents::Extent;
use crate::frame;
use crate::frame::append::Stored;
use crate::frame::fact::Fact;
use crate::idempotency::tend::RunFiles;
use crate::limits;
use crate::view::View;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, oneshot};
use walhost_core::disk::Disk;
use walhost_core::{Clock, Error, Kind, Random, Result};
use walhost_log::{Failure, FrameDraft, Log, Refused, Urgency};

/// What all namespaces share.
pub(crate) struct Shared {
    pub log: Arc<Log<Keeper>>,
    pub disk: Arc<dyn Disk>,
    pub snapshots: PathBuf,
    pub wal: PathBuf,
    /// Bytes that must stay free on the file system.
    pub min_free_bytes: u64,
    /// Segments that the log may take beyond twice the bytes that are needed, before it is cleaned.
    pub clean_slack_segments: u64,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<Random>,
    /// Of the log at this open.
    pub epoch: u32,
    pub tail: Mutex<Cache>,
    pub cold: Mutex<Cache>,
    /// The last log sequence number whose frame is in the views.
    pub applied: AtomicU64,
    pub unsaved: Mutex<Unsaved>,
    pub index: Index,
    pub run_files: RunFiles,
    /// Which counted suspect is on its way.
    pub alone: Alone,
    pub closed: AtomicBool,
    #[cfg(any(test, feature = "planted"))]
    pub planted: Option<crate::Planted>,
}

/// Memory for what is known of open records and dead letters, over all namespaces, as the last housekeeping
/// has found it: it may be exceeded by what one second of ingest brings.
pub(crate) struct Index {
    pub bytes: AtomicU64,
    pub bytes_max: AtomicU64,
}

impl Index {
    pub(crate) fn new() -> Index {
        Index { bytes: AtomicU64::new(0), bytes_max: AtomicU64::new(limits::INDEX_BYTES_MAX) }
    }

    /// Nothing more is to be appended.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.bytes_max.load(Ordering::Relaxed)
    }

    /// Nothing more is to be dead-lettered either.
    pub(crate) fn is_overfull(&self) -> bool {
        let max = self.bytes_max.load(Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed) >= max.saturating_add(max / 4)
    }
}

/// Facts that are true in memory and could not be written.
#[derive(Default)]
pub(crate) struct Unsaved {
    waiting: VecDeque<(Arc<Namespace>, Bytes)>,
    bytes: usize,
}

impl Unsaved {
    pub(crate) fn add(&mut self, namespace: &Arc<Namespace>, body: Bytes) {
        self.bytes += body.len();
        self.waiting.push_back((Arc::clone(namespace), body));
    }

    fn first(&mut self) -> Option<(Arc<Namespace>, Bytes)> {
        let (namespace, body) = self.waiting.pop_front()?;
        self.bytes -= body.len();
        Some((namespace, body))
    }

    fn put_back(&mut self, namespace: Arc<Namespace>, body: Bytes) {
        self.bytes += body.len();
        self.waiting.push_front((namespace, body));
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= limits::UNSAVED_BYTES_MAX
    }
}

/// A namespace on the log.
pub(crate) struct Namespace {
    pub number: u32,
    pub shared: Arc<Shared>,
    pub view: Mutex<View>,
    pub closed: AtomicBool,
    /// The frame that removes it is on its way: nothing may be appended after it.
    pub removing: AtomicBool,
    /// Wakes the leases of all targets that wait.
    woken: Notify,
}

impl Namespace {
    pub(crate) fn new(shared: Arc<Shared>, view: View) -> Arc<Namespace> {
        let number = view.number;
        Arc::new(Namespace {
            number,
            shared,
            view: Mutex::new(view),
            closed: AtomicBool::new(false),
            removing: AtomicBool::new(false),
            woken: Notify::new(),
        })
    }

    /// True when it is removed, or its removal is on its way: after that frame nothing of it may come.
    pub(crate) fn is_ending(&self, view: &View) -> bool {
        view.removed || self.removing.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Something may be ready.
    pub(crate) fn wake(&self) {
        self.woken.notify_waiters();
    }

    /// Resolves at the next wake after it was enabled.
    pub(crate) fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.woken.notified()
    }

    /// A draft of facts.
    pub(crate) fn facts_draft(&self, facts: &[Fact], urgency: Urgency) -> (FrameDraft, Bytes) {
        let mut writer = Writer::default();
        facts.iter().for_each(|fact| fact.put(&mut writer));
        let body = writer.finish();
        (self.facts_frame(body.clone(), facts.len(), urgency), body)
    }

    pub(crate) fn facts_frame(&self, body: Bytes, count: usize, urgency: Urgency) -> FrameDraft {
        FrameDraft {
            kind: frame::FACTS,
            view: self.number,
            first_offset: 0,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            first_sequence: 0,
            parts: vec![body],
            urgency,
        }
    }
}

/// Waits for the answer of the commit thread.
pub(crate) async fn durable(operation: &'static str, answer: oneshot::Receiver<Result<(), Failure>>) -> Result<()> {
    match answer.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(classify(operation, &failure)),
        Err(_) => Err(Error::new(Kind::OutcomeUnknown, operation, "the log stopped before it answered")),
    }
}

/// What a refused draft means to its caller.
pub(crate) fn refused(operation: &'static str, refused: Refused) -> Error {
    let (kind, detail) = match refused {
        Refused::Full => (Kind::Overloaded, "more is waiting to be written than the host allows"),
        Refused::DiskFull => (Kind::DiskFull, "the disk is full"),
        Refused::ReadOnly => (Kind::Unavailable, "the log is read-only after a failed sync"),
        Refused::Closed => (Kind::Closed, "the queue is closing"),
        Refused::Invalid => (Kind::TooLarge, "the batch is larger than one frame of the log can hold"),
    };
    Error::new(kind, operation, detail)
}

impl Shared {
    /// Submits a frame that delivery and operators need also when the disk is full: it may then use the
    /// log's reserve.
    // The ticket comes back whole, so that what is in it is not lost.
    #[allow(clippy::result_large_err)]
    pub(crate) fn submit_fact(&self, draft: FrameDraft, ticket: Ticket) -> std::result::Result<(), (Refused, Ticket)> {
        let lazy = FrameDraft { urgency: Urgency::Lazy, ..draft.clone() };
        match self.log.submit(draft, ticket) {
            Err((Refused::DiskFull, ticket)) => self.log.submit(lazy, ticket),
            other => other,
        }
    }

    /// Applies facts now and writes them without a commit of their own. When the log cannot take them they
    /// wait in memory, up to a bound; beyond, nothing is applied.
    pub(crate) fn apply_lazily(&self, namespace: &Arc<Namespace>, view: &mut View, mut facts: Vec<Fact>) -> Result<()> {
        // Of a namespace that was removed nobody will ask: its number must not come back with a late fact.
        if facts.is_empty() || view.removed {
            return Ok(());
        }
        if self.unsaved.lock().is_full() {
            return Err(Error::new(Kind::Unavailable, "queue.settle", "too many settlements wait for the disk"));
        }
        view.number(&mut facts);
        let (draft, body) = namespace.facts_draft(&facts, Urgency::Lazy);
        let ticket = Ticket::Applied { namespace: Arc::clone(namespace), body: body.clone(), waiter: None };
        // Those that wait go first, so that facts stay in order.
        if !self.save_again() {
            self.unsaved.lock().add(namespace, body);
        } else {
            match self.log.submit(draft, ticket) {
                Ok(()) => {}
                Err((Refused::Closed, _)) => return Err(refused("queue.settle", Refused::Closed)),
                Err(_) => self.unsaved.lock().add(namespace, body),
            }
        }
        view.apply_all(&facts);
        Ok(())
    }

    /// Submits what could not be written, in order; true when nothing waits any more.
    pub(crate) fn save_again(&self) -> bool {
        let mut unsaved = self.unsaved.lock();
        while let Some((namespace, body)) = unsaved.first() {
            let draft = namespace.facts_frame(body.clone(), 0, Urgency::Lazy);
            let ticket = Ticket::Applied { namespace, body, waiter: None };
            if let Err((_, Ticket::Applied { namespace, body, .. })) = self.log.submit(draft, ticket) {
                unsaved.put_back(namespace, body);
                return false;
            }
        }
        true
    }

    /// Applies facts now, and answers with who tells when they are durable.
    pub(crate) fn apply_durably(
        &self,
        operation: &'static str,
        namespace: &Arc<Namespace>,
        view: &mut View,
        facts: &[Fact],
    ) -> Result<oneshot::Receiver<Result<(), Failure>>> {
        let mut facts = facts.to_vec();
        view.number(&mut facts);
        // Those that wait go first: what is durable must not be without what came before it.
        self.save_again();
        let (draft, body) = namespace.facts_draft(&facts, Urgency::Now);
        let (waiter, answer) = oneshot::channel();
        let ticket = Ticket::Applied { namespace: Arc::clone(namespace), body, waiter: Some(waiter) };
        self.submit_fact(draft, ticket).map_err(|(why, _)| refused(operation, why))?;
        view.apply_all(&facts);
        Ok(answer)
    }

    /// Submits facts that become true when they are durable.
    pub(crate) fn propose(
        &self,
        operation: &'static str,
        namespace: &Arc<Namespace>,
        facts: Vec<Fact>,
    ) -> Result<oneshot::Receiver<Result<(), Failure>>> {
        let (draft, _) = namespace.facts_draft(&facts, Urgency::Now);
        let (waiter, answer): (Waiter, _) = oneshot::channel();
        let ticket = Ticket::Facts { namespace: Arc::clone(namespace), facts, waiter };
        self.submit_fact(draft, ticket).map_err(|(why, _)| refused(operation, why))?;
        Ok(answer)
    }

    /// A frame from memory.
    pub(crate) fn cached(&self, view: u32, first_offset: u64) -> Option<Stored> {
        let recent = self.tail.lock().get(view, first_offset);
        recent.or_else(|| self.cold.lock().get(view, first_offset))
    }

    /// Reads frames from disk, verified (I3), and keeps them for a while. Blocks.
    pub(crate) fn read(&self, view: u32, extents: &[Extent]) -> Vec<(Extent, Result<Stored>)> {
        let one = |extent: &Extent| {
            let stored = self.log.read(extent.place).and_then(|(_, body)| Stored::decode(&body, extent.count));
            if let Ok(stored) = &stored {
                self.cold.lock().insert(view, extent.first_offset, stored.clone());
            }
            (*extent, stored)
        };
        extents.iter().map(one).collect()
    }
}
