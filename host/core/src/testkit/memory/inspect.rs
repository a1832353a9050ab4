//! What a queue in memory answers about records at rest.
//!
//! In: ids, cursors. Out: states, pages.

use super::MemoryQueue;
use super::progress::Stage;
use super::state::{Now, State};
use crate::error::{Error, Kind, Result};
use crate::inspect::{
    DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, DeadLetterId, Inspect, Page, Peeked, RecordState,
    State as Seen, TargetState,
};
use crate::record::RecordId;
use async_trait::async_trait;

fn not_found(operation: &'static str) -> Error {
    Error::new(Kind::NotFound, operation, "there is no such record")
}

#[async_trait]
impl Inspect for MemoryQueue {
    async fn find(&self, id: &RecordId) -> Result<Option<RecordState>> {
        let (state, now) = self.state();
        Ok(state.offset_of(id).map(|offset| state.seen(offset, &now)))
    }

    async fn cancel(&self, id: &RecordId) -> Result<RecordState> {
        let (mut state, now) = self.state();
        let offset = state.offset_of(id).ok_or_else(|| not_found("queue.cancel"))?;
        let (targets, _, _) = state.numbers();
        let cancelled: Vec<_> =
            targets.iter_mut().filter_map(|(target, p)| p.cancel(offset).then(|| target.clone())).collect();
        cancelled.iter().for_each(|target| state.settled(offset, target, &now));
        let seen = state.seen(offset, &now);
        if seen.targets.values().any(|target| target.state == Seen::Cancelled) {
            drop(state);
            self.shared.changed.notify_waiters();
            return Ok(seen);
        }
        Err(Error::new(Kind::TooLate, "queue.cancel", "the record cannot be cancelled any more"))
    }

    async fn reschedule(&self, id: &RecordId, due_ms: u64) -> Result<RecordState> {
        let (mut state, now) = self.state();
        let offset = state.offset_of(id).ok_or_else(|| not_found("queue.reschedule"))?;
        let (targets, _, _) = state.numbers();
        let moved = targets.values_mut().filter_map(|p| p.reschedule(offset, due_ms).then_some(())).count();
        state.tick(&now);
        if moved == 0 {
            return Err(Error::new(Kind::TooLate, "queue.reschedule", "no target has the record waiting any more"));
        }
        let seen = state.seen(offset, &now);
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(seen)
    }

    async fn peek(&self, from: Option<&str>, limit: usize) -> Result<Page<Peeked>> {
        let (state, _) = self.state();
        let from = match from.map(|place| place.strip_prefix("0:").and_then(|offset| offset.parse::<u64>().ok())) {
            None => 0,
            Some(Some(offset)) => offset,
            Some(None) => return Err(Error::new(Kind::Invalid, "queue.peek", "this is no `partition:offset`")),
        };
        let place = |offset: u64| format!("0:{offset}");
        let mut rest = state.records.range(from..);
        let items = rest.by_ref().take(limit);
        let items = items.map(|(offset, stored)| Peeked { offset: place(*offset), record: stored.record.clone() });
        Ok(Page { items: items.collect(), next: rest.next().map(|(offset, _)| place(*offset)) })
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        self.state().0.dead_letters(filter, cursor, limit)
    }

    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>> {
        Ok(self.state().0.dead_letter_groups())
    }

    async fn dead_letter(&self, id: &DeadLetterId) -> Result<Option<DeadLetterDetail>> {
        Ok(self.state().0.dead_letter(id))
    }

    async fn redrive(&self, ids: &[DeadLetterId]) -> Result<u64> {
        let (mut state, now) = self.state();
        let moved = state.redrive(ids, &now);
        drop(state);
        self.shared.changed.notify_waiters();
        moved
    }

    async fn purge(&self, ids: &[DeadLetterId]) -> Result<u64> {
        Ok(self.state().0.purge(ids))
    }
}

impl State {
    fn seen(&self, offset: u64, now: &Now) -> RecordState {
        let record = &self.records[&offset].record;
        let targets = self.targets.iter().filter_map(|(target, progress)| {
            let standing = progress.records.get(&offset)?;
            let key = record.key.as_ref().filter(|_| self.policy.ordered);
            let behind = key.is_some_and(|key| {
                let earlier = progress.in_order().take_while(|other| *other != offset);
                earlier.into_iter().any(|other| self.records[&other].record.key.as_ref() == Some(key))
            });
            let (state, due_ms) = match standing.stage {
                Stage::Scheduled { due_ms } => (Seen::Scheduled, Some(due_ms)),
                Stage::Leased { .. } => (Seen::InFlight, None),
                Stage::Retrying { due_ms } if due_ms > now.ms => (Seen::Retrying, Some(due_ms)),
                Stage::Ready | Stage::Retrying { .. } if behind => (Seen::Held, None),
                Stage::Ready | Stage::Retrying { .. } => (Seen::Ready, None),
                Stage::Finished(seen) => (seen, None),
                Stage::Dead(_) => (Seen::Dead, None),
            };
            Some((target.clone(), TargetState { state, attempts: standing.attempts.clone(), due_ms }))
        });
        RecordState {
            id: record.id.clone(),
            key: record.key.clone(),
            appended_at_ms: record.appended_at_ms,
            targets: targets.collect(),
        }
    }
}
