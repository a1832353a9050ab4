//! Records at rest: find, cancel, reschedule, peek.
//!
//! In: a record id, a place. Out: states; facts on their way to the log.

use crate::extents::Extent;
use crate::frame::append::Stored;
use crate::frame::fact::Fact;
use crate::identity::Identity;
use crate::lease::{Found, Frame, key_hash, load};
use crate::queue::{EmbeddedQueue, closed};
use crate::shared::durable;
use crate::view::View;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use walhost_core::inspect::{
    DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, DeadLetterId, Inspect, Page, Peeked, RecordState,
    State, TargetState,
};
use walhost_core::limits::PAGE_MAX;
use walhost_core::queue::Done;
use walhost_core::{Error, Kind, RecordId, Result};

fn not_found(operation: &'static str) -> Error {
    Error::new(Kind::NotFound, operation, "there is no such record, or its history has ended")
}

impl EmbeddedQueue {
    /// One frame, from memory or from disk; none when it cannot be read.
    pub(crate) async fn stored(&self, extent: &Extent) -> Result<Option<Stored>> {
        if let Some(stored) = self.namespace.shared.cached(self.namespace.number, extent.first_offset) {
            return Ok(Some(stored));
        }
        let mut extent = *extent;
        loop {
            let read = load(&self.namespace, vec![extent]).await?;
            match read.into_iter().next() {
                Some((_, Ok(stored))) => return Ok(Some(stored)),
                Some((_, Err(error))) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {}
                Some((_, Err(error))) => return Err(error),
                None => return Ok(None),
            }
            // It may have been copied to another place meanwhile.
            let now = self.namespace.view.lock().extents.find(extent.first_offset);
            match now.filter(|now| now.place != extent.place) {
                Some(now) => extent = now,
                None => return Ok(None),
            }
        }
    }

    /// The record as it is in its frames: the first one, and those that it was appended again in for a target,
    /// when it was appended in the epoch that the id names.
    async fn found(&self, identity: Identity) -> Result<Vec<(Option<u16>, Found)>> {
        let wanted: Vec<(Option<u16>, u64, Extent)> = {
            let view = self.namespace.view.lock();
            if view.incarnation != identity.incarnation {
                return Ok(Vec::new());
            }
            let own = view.extents.find(identity.offset).filter(|extent| !extent.redriven);
            let moved = (0..view.targets.len()).filter_map(|target| {
                let at = *view.targets[target].moved.get(&identity.offset)?;
                Some((Some(target as u16), at, view.extents.find(at)?))
            });
            own.map(|extent| (None, identity.offset, extent)).into_iter().chain(moved).collect()
        };
        let mut all = Vec::new();
        for (target, offset, extent) in wanted {
            if let Some(stored) = self.stored(&extent).await? {
                let view = self.namespace.view.lock();
                let found = Frame::new(&view, extent, stored).find(view.incarnation, offset);
                all.extend(found.filter(|found| found.epoch == identity.epoch).map(|found| (target, found)));
            }
        }
        Ok(all)
    }

    /// Where the record stands for each target, as far as the view and the record's frames know.
    fn targets_of(
        view: &View,
        origin: u64,
        found: &[(Option<u16>, Found)],
    ) -> BTreeMap<walhost_core::TargetName, (u16, TargetState)> {
        let mut states = BTreeMap::new();
        for (number, progress) in view.targets.iter().enumerate() {
            let number = number as u16;
            let offset = view.present(origin, number);
            let state = if let Some(finished) = view.history.find((origin, number)) {
                let state = match finished.outcome {
                    Done::Delivered => State::Delivered,
                    Done::Filtered => State::Filtered,
                    Done::Cancelled => State::Cancelled,
                };
                TargetState { state, attempts: finished.attempts.list(), due_ms: None }
            } else if let Some(dead) = view.dead.of_record(origin, number).and_then(|dead| view.dead.get(dead)) {
                TargetState { state: State::Dead, attempts: dead.last().into_iter().collect(), due_ms: None }
            } else {
                let here = view.extents.find(offset).is_some_and(|extent| extent.meant_for(number));
                if progress.ended || !here || offset >= view.applied || progress.settled.contains(offset) {
                    continue;
                }
                let (state, due_ms) = progress.state(offset, view.kept(offset));
                let returned = found.iter().find(|(target, _)| *target == Some(number));
                let returned = returned.and_then(|(_, found)| found.returned.as_ref()).map(|(_, returned)| returned);
                let due_ms = due_ms.or_else(|| match state {
                    State::Scheduled | State::Retrying => {
                        returned.map(|returned| returned.due_ms).or_else(|| view.due_ms(offset))
                    }
                    _ => None,
                });
                let newer = progress.tried.get(&offset).map(|tried| tried.attempts.list()).unwrap_or_default();
                let mut attempts = returned.map(|returned| returned.attempts.list()).unwrap_or_default();
                let last = attempts.last().map_or(0, |attempt| attempt.number);
                attempts.extend(newer.into_iter().filter(|attempt| returned.is_none() || attempt.number > last));
                TargetState { state, attempts, due_ms }
            };
            states.insert(progress.name.clone(), (number, state));
        }
        states
    }

    async fn state_of(&self, identity: Identity) -> Result<Option<RecordState>> {
        let found = self.found(identity).await?;
        let (mut targets, letters, known) = {
            let view = self.namespace.view.lock();
            if view.incarnation != identity.incarnation || identity.offset >= view.applied {
                return Ok(None);
            }
            let own = view.extents.find(identity.offset).filter(|extent| !extent.redriven);
            if found.is_empty() && own.is_some() {
                return Ok(None);
            }
            let mut targets = Self::targets_of(&view, identity.offset, &found);
            let known = found.first().map(|(_, found)| found.record.clone());
            let ordered = view.policy.as_ref().is_some_and(|policy| policy.ordered);
            let key = known.as_ref().filter(|_| ordered).and_then(|record| record.key.as_ref());
            if let Some(hash) = key.map(|key| key_hash(key)) {
                for (number, state) in targets.values_mut().filter(|(_, state)| state.state == State::Ready) {
                    let offset = view.present(identity.offset, *number);
                    if view.targets[usize::from(*number)].waits_for_key(hash, offset) {
                        state.state = State::Held;
                    }
                }
            }
            let letters: Vec<(walhost_core::TargetName, u64)> = targets
                .iter()
                .filter(|(_, (_, state))| state.state == State::Dead)
                .filter_map(|(name, (number, _))| Some((name.clone(), view.dead.of_record(identity.offset, *number)?)))
                .collect();
            (targets, letters, known)
        };
        let (mut key, mut appended_at_ms) =
            known.map_or((None::<Bytes>, 0), |record| (record.key, record.appended_at_ms));
        for (name, number) in letters {
            if let Some(letter) = self.letter(number).await? {
                if appended_at_ms == 0 {
                    (key, appended_at_ms) =
                        ((!letter.key.is_empty()).then(|| letter.key.clone()), letter.appended_at_ms);
                }
                if let Some((_, state)) = targets.get_mut(&name) {
                    state.attempts = letter.attempts.list();
                }
            }
        }
        if targets.is_empty() {
            return Ok(None);
        }
        let targets = targets.into_iter().map(|(name, (_, state))| (name, state)).collect();
        Ok(Some(RecordState { id: identity.record_id(), key, appended_at_ms, targets }))
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.namespace.closed.load(Ordering::Acquire) { Err(closed(operation)) } else { Ok(()) }
    }

    /// Makes a fact for every target that has the record waiting, durably.
    async fn change(
        &self,
        operation: &'static str,
        id: &RecordId,
        fact: impl Fn(u16, u64, State) -> Option<Fact> + Send,
        fine: impl Fn(State) -> bool + Send,
    ) -> Result<RecordState> {
        self.check_open(operation)?;
        let identity = Identity::parse(id).ok_or_else(|| not_found(operation))?;
        self.state_of(identity).await?.ok_or_else(|| not_found(operation))?;
        let found = self.found(identity).await?;
        let answer = {
            let mut view = self.namespace.view.lock();
            let targets = Self::targets_of(&view, identity.offset, &found);
            let facts: Vec<Fact> =
                targets.values().filter_map(|(number, state)| fact(*number, identity.offset, state.state)).collect();
            for (target, found) in found.iter().filter_map(|(target, found)| Some(((*target)?, found))) {
                let at = view.present(identity.offset, target);
                if let Some((class, returned)) = &found.returned
                    && view.class_of(at) == Some(*class)
                    && let Some(progress) = view.progress(target)
                {
                    progress.materialise(at, returned, *class);
                }
            }
            if facts.is_empty() {
                if !targets.values().any(|(_, state)| fine(state.state)) {
                    let detail = "every target has settled the record, or is delivering it now";
                    return Err(Error::new(Kind::TooLate, operation, detail));
                }
                None
            } else {
                Some(self.namespace.shared.apply_durably(operation, &self.namespace, &mut view, &facts)?)
            }
        };
        self.namespace.wake();
        if let Some(answer) = answer {
            durable(operation, answer).await?;
        }
        self.state_of(identity).await?.ok_or_else(|| not_found(operation))
    }
}

fn waits(state: State) -> bool {
    matches!(state, State::Scheduled | State::Ready | State::Retrying | State::Held)
}

#[async_trait]
impl Inspect for EmbeddedQueue {
    async fn find(&self, id: &RecordId) -> Result<Option<RecordState>> {
        match Identity::parse(id) {
            Some(identity) => self.state_of(identity).await,
            None => Ok(None),
        }
    }

    async fn cancel(&self, id: &RecordId) -> Result<RecordState> {
        let at_ms = self.namespace.shared.clock.now_ms();
        let cancelled = |target, offset, state| {
            let outcome = Done::Cancelled;
            waits(state).then_some(Fact::Done { target, offset, outcome, at_ms, attempt: None })
        };
        self.change("queue.cancel", id, cancelled, |state| state == State::Cancelled).await
    }

    async fn reschedule(&self, id: &RecordId, due_ms: u64) -> Result<RecordState> {
        let moved =
            |target, offset, state| waits(state).then_some(Fact::Rescheduled { target, offset, due_ms, change: 0 });
        self.change("queue.reschedule", id, moved, |_| false).await
    }

    async fn peek(&self, from: Option<&str>, limit: usize) -> Result<Page<Peeked>> {
        const OPERATION: &str = "queue.peek";
        let bad = || Error::new(Kind::Invalid, OPERATION, "a place is written `0:` and a number");
        let from = match from {
            None => 0,
            Some(text) => text.strip_prefix("0:").and_then(|text| text.parse::<u64>().ok()).ok_or_else(bad)?,
        };
        let limit = limit.clamp(1, PAGE_MAX);
        let mut items = Vec::new();
        let mut at = from;
        loop {
            let extent = {
                let view = self.namespace.view.lock();
                view.extents.from(at).find(|extent| !extent.redriven)
            };
            let Some(extent) = extent else { return Ok(Page { items, next: None }) };
            at = at.max(extent.first_offset);
            let stored = self.stored(&extent).await?;
            let view = self.namespace.view.lock();
            let frame = stored.map(|stored| Frame::new(&view, extent, stored));
            while at < extent.end() {
                if items.len() == limit {
                    return Ok(Page { items, next: Some(format!("0:{at}")) });
                }
                if let Some(found) = frame.as_ref().and_then(|frame| frame.find(view.incarnation, at)) {
                    items.push(Peeked { offset: format!("0:{at}"), record: found.record });
                }
                at += 1;
            }
        }
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        self.list(filter, cursor, limit)
    }

    async fn dead_letter_groups(&self) -> Result<Vec<DeadLetterGroup>> {
        Ok(self.groups())
    }

    async fn dead_letter(&self, id: &DeadLetterId) -> Result<Option<DeadLetterDetail>> {
        self.detail(id).await
    }

    async fn redrive(&self, ids: &[DeadLetterId]) -> Result<u64> {
        self.check_open("queue.redrive")?;
        self.send_again(ids).await
    }

    async fn purge(&self, ids: &[DeadLetterId]) -> Result<u64> {
        self.check_open("queue.purge")?;
        self.remove_letters(ids).await
    }
}

impl EmbeddedQueue {
    /// The namespace behind the queue.
    pub(crate) fn namespace(&self) -> &Arc<crate::shared::Namespace> {
        &self.namespace
    }
}
