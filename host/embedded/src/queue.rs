//! The queue port on a view: appending, subscriptions, policy, counters.
//!
//! In: batches, targets, policies. Out: receipts, subscriptions.

use crate::commit::Ticket;
use crate::extents::Extent;
use crate::frame::ALL_TARGETS;
use crate::frame::append::{Delay, Meta, Stored, encode};
use crate::frame::fact::Fact;
use crate::idempotency::First;
use crate::idempotency::claim::Asked;
use crate::identity::Identity;
use crate::limits;
use crate::shared::{Namespace, durable, refused};
use crate::subscription::TargetSubscription;
use crate::view::{Landed, View};
use async_trait::async_trait;
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;
use walhost_core::queue::{Appended, Capability, From, QueuePolicy, QueueStats, TargetStats};
use walhost_core::{Error, Kind, Queue, RecordBatch, Result, Subscription, TargetName};
use walhost_log::{BodySum, Failure, FrameDraft, Place, Urgency};

/// The queue of one namespace.
pub(crate) struct EmbeddedQueue {
    pub namespace: Arc<Namespace>,
    pub capability: Capability,
    /// One at a time: subscriptions come and go.
    pub control: tokio::sync::Mutex<()>,
}

/// An append that is on its way: its receipt, and who tells when it is durable.
type Begun = (Appended, oneshot::Receiver<std::result::Result<(), Failure>>);

pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(Kind::Closed, operation, "the queue is closed")
}

/// The levels that a policy may name, and the one that receipts then name.
pub(crate) fn durability(policy: &QueuePolicy) -> Result<&'static str> {
    match policy.durability.as_deref() {
        None | Some("fsync") => Ok("fsync"),
        Some("os") => Ok("os"),
        Some(other) => Err(Error::new(
            Kind::Unsupported,
            "queue.configure",
            format!("the embedded queue knows the durability levels fsync and os, not `{}`", other.escape_debug()),
        )),
    }
}

impl EmbeddedQueue {
    /// Takes the lock, to give it back before the ids are written.
    fn receipt(&self, view: MutexGuard<'_, View>, first: First, deduplicated: bool) -> Appended {
        let (incarnation, epoch) = (view.incarnation, first.epoch);
        let durability = view.policy.as_ref().and_then(|policy| durability(policy).ok()).unwrap_or("fsync");
        drop(view);
        let id = |offset| Identity { incarnation, epoch, offset }.record_id();
        let end = first.first_offset + u64::from(first.count);
        Appended {
            ids: (first.first_offset..end).map(id).collect(),
            first: format!("0:{}", first.first_offset),
            last: format!("0:{}", end - 1),
            durability,
            deduplicated,
        }
    }

    /// Gives offsets and sequences and hands the frame to the log, under the lock: order of offsets is
    /// order in the log.
    fn begin(&self, batch: &RecordBatch) -> Result<Begun> {
        const OPERATION: &str = "queue.append";
        let shared = &self.namespace.shared;
        let now_us = shared.clock.now_us();
        let now_ms = now_us / 1_000;
        let unknown =
            |name| Error::new(Kind::UnknownTarget, OPERATION, format!("the namespace has no target `{name}`"));
        let only = match &batch.target {
            None => ALL_TARGETS,
            Some(name) => self.namespace.view.lock().target(name).ok_or_else(|| unknown(name))?,
        };
        let waits = batch.due_ms.is_some_and(|due_ms| due_ms > now_ms) || batch.jitter_ms > 0;
        let delay = waits.then(|| Delay { due_ms: batch.due_ms.unwrap_or(now_ms), jitter_ms: batch.jitter_ms });
        let meta = Meta { appended_at_ms: now_ms, epoch: shared.epoch, only, delay, idempotency: batch.idempotency };
        let bytes = batch.bytes() as u64 + 12 * batch.count() as u64 + limits::FRAME_OVERHEAD_BYTES;
        // Whatever grows with the batch is done before the lock and after it: delivery and commits wait for it.
        let parts = encode(&meta, batch);
        let sum = BodySum::of(&parts);
        let count = batch.count() as u32;
        let stored = Stored::of_parts(&meta, &parts, count);
        let (waiter, answer) = oneshot::channel();
        let mut view = self.namespace.view.lock();
        let ends = self.namespace.closed.load(Ordering::Acquire) || self.namespace.removing.load(Ordering::Acquire);
        if ends || view.removed {
            return Err(closed(OPERATION));
        }
        if let Some(name) = batch.target.as_ref().filter(|name| view.target(name) != Some(only)) {
            return Err(unknown(name));
        }
        self.admit(&view, batch, bytes, now_ms)?;
        let first_sequence = match delay {
            None => now_us.max(view.last_sequence + 1),
            Some(delay) => delay.due_ms.saturating_mul(1_000),
        };
        let place = Place { segment: 0, position: 0, bytes: 0, log_sequence: 0 };
        let landed = Landed { first_offset: view.next_offset, count, first_sequence, place };
        let draft = FrameDraft {
            kind: meta.kind(),
            view: view.number,
            first_offset: landed.first_offset,
            count,
            first_sequence,
            parts,
            urgency: Urgency::Now,
        };
        let namespace = Arc::clone(&self.namespace);
        let ticket = Ticket::Append { namespace, landed, meta, stored, reserved_bytes: bytes, waiter };
        shared.log.submit_summed(draft, sum, ticket).map_err(|(why, _)| refused(OPERATION, why))?;
        view.given(&landed, delay.is_some());
        view.reserved_bytes += bytes;
        let first = First { first_offset: landed.first_offset, count, epoch: shared.epoch };
        Ok((self.receipt(view, first, false), answer))
    }

    /// The quotas: of idempotency keys, this one included, and of bytes.
    fn admit(&self, view: &View, batch: &RecordBatch, bytes: u64, now_ms: u64) -> Result<()> {
        const OPERATION: &str = "queue.append";
        let taken_bytes = view.quota_bytes();
        let View { policy, keys, .. } = view;
        let policy = policy.as_ref().ok_or_else(|| closed(OPERATION))?;
        let refused = |kind, detail: &'static str| Err(Error::new(kind, OPERATION, detail));
        if self.namespace.shared.index.is_full() {
            let detail = "what is known of open records and dead letters takes as much memory as the host may use";
            return refused(Kind::Overloaded, detail);
        }
        let fits = || keys.fit(now_ms, policy.idempotency_window_ms, policy.idempotency_keys_max);
        if batch.idempotency.is_some() && !fits() {
            return refused(Kind::QuotaExceeded, "the namespace remembers as many idempotency keys as it may");
        }
        if taken_bytes + bytes > policy.backlog_bytes_max {
            return refused(Kind::QuotaExceeded, "the namespace's backlog is full, its dead letters included");
        }
        Ok(())
    }

    /// When the oldest record that could be leased now became due.
    fn oldest_due_ms(view: &View, target: u16) -> Option<u64> {
        let progress = &view.targets[usize::from(target)];
        let again = progress.ready.first().and_then(|offset| match progress.tried.get(offset) {
            Some(tried) if tried.due_ms > 0 => Some(tried.due_ms),
            _ => view.due_ms(*offset).or_else(|| {
                // Of records that were appended again only their frame tells it.
                let extent = view.extents.find(*offset).filter(|extent| !extent.redriven)?;
                Some(extent.first_sequence / 1_000)
            }),
        });
        let fresh = progress.settled.first_missing(progress.cursor);
        let open = |extent: &Extent| extent.meant_for(target) && !extent.delayed && !extent.redriven;
        let fresh = view.extents.at_or_after(fresh).filter(open).map(|extent| extent.first_sequence / 1_000);
        again.into_iter().chain(fresh).min()
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn append(&self, batch: RecordBatch) -> Result<Appended> {
        let claim = match &batch.idempotency {
            None => None,
            Some(mark) => match self.ask(mark).await? {
                Asked::There(first) => return Ok(self.receipt(self.namespace.view.lock(), first, true)),
                Asked::Ours(claim) => Some(claim),
            },
        };
        let (appended, answer) = self.begin(&batch)?;
        if let Some(claim) = claim {
            claim.hand_over();
        }
        durable("queue.append", answer).await.map(|()| appended)
    }

    async fn subscribe(&self, target: &TargetName, from: From) -> Result<Arc<dyn Subscription>> {
        const OPERATION: &str = "queue.subscribe";
        let _one_at_a_time = self.control.lock().await;
        loop {
            let answer = {
                let view = self.namespace.view.lock();
                if self.namespace.closed.load(Ordering::Acquire) || view.removed {
                    return Err(closed(OPERATION));
                }
                if let Some(target) = view.target(target) {
                    return Ok(Arc::new(TargetSubscription { namespace: Arc::clone(&self.namespace), target }));
                }
                let number = u16::try_from(view.targets.len()).ok().filter(|number| *number < ALL_TARGETS);
                let number = number.ok_or_else(|| {
                    Error::new(Kind::Unsupported, OPERATION, "the namespace has had as many targets as it can have")
                })?;
                let from = match from {
                    From::Latest => view.next_offset,
                    From::Earliest => view.extents.at_or_after(0).map_or(view.next_offset, |first| first.first_offset),
                };
                let fact = Fact::Subscribed { target: number, name: target.as_str().to_owned(), from };
                self.namespace.shared.propose(OPERATION, &self.namespace, vec![fact])?
            };
            durable(OPERATION, answer).await?;
        }
    }

    async fn unsubscribe(&self, target: &TargetName) -> Result<u64> {
        const OPERATION: &str = "queue.unsubscribe";
        let _one_at_a_time = self.control.lock().await;
        let (number, before, answer) = {
            let view = self.namespace.view.lock();
            if self.namespace.closed.load(Ordering::Acquire) || view.removed {
                return Err(closed(OPERATION));
            }
            let Some(number) = view.target(target) else { return Ok(0) };
            let before = view.targets[usize::from(number)].counters.cancelled;
            let facts = vec![Fact::Unsubscribed { target: number }];
            (number, before, self.namespace.shared.propose(OPERATION, &self.namespace, facts)?)
        };
        durable(OPERATION, answer).await?;
        let view = self.namespace.view.lock();
        Ok(view.targets[usize::from(number)].counters.cancelled - before)
    }

    fn configure(&self, policy: &QueuePolicy) -> Result<()> {
        durability(policy)?;
        let mut view = self.namespace.view.lock();
        let before = view.policy.replace(policy.clone());
        // A log without order that had it before may still hold keys.
        let (before, first) = (before.as_ref().is_some_and(|before| before.ordered), before.is_none());
        for target in view.targets.iter_mut().filter(|target| !target.ended) {
            if before != policy.ordered && !first || first && !policy.ordered {
                target.reorder(policy.ordered);
            }
        }
        drop(view);
        self.namespace.wake();
        Ok(())
    }

    fn stats(&self) -> QueueStats {
        let view = self.namespace.view.lock();
        let mut stats = QueueStats {
            backlog_bytes: view.quota_bytes(),
            backlog_records: view.backlog_records,
            ..QueueStats::default()
        };
        for (number, target) in view.targets.iter().enumerate() {
            let (in_flight, retrying, scheduled, held) = target.waiting();
            let one: &mut TargetStats = stats.targets.entry(target.name.clone()).or_default();
            let (sum, add) = (&mut one.accounting, &target.counters);
            sum.accepted += add.accepted;
            sum.delivered += add.delivered;
            sum.dead += add.dead;
            sum.pending += add.pending;
            sum.filtered += add.filtered;
            sum.purged += add.purged;
            sum.expired += add.expired;
            sum.cancelled += add.cancelled;
            if target.ended {
                continue;
            }
            (one.in_flight, one.retrying, one.scheduled) = (in_flight, retrying, scheduled);
            one.ready = add.pending.saturating_sub(in_flight + retrying + scheduled + held);
            one.oldest_due_at_ms = if one.ready > 0 { Self::oldest_due_ms(&view, number as u16) } else { None };
        }
        stats
    }

    async fn close(&self) -> Result<()> {
        if self.namespace.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.namespace.wake();
        if self.namespace.shared.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        // What waited for the disk goes first: else only the next snapshot would have it, and that may be damaged.
        self.namespace.shared.save_again();
        // A frame without facts: when it is durable, so is everything that was settled before.
        let answer = {
            let mut view = self.namespace.view.lock();
            self.namespace.shared.apply_durably("queue.close", &self.namespace, &mut view, &[])?
        };
        durable("queue.close", answer).await
    }
}
