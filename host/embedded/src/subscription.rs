//! The subscription port on a view: waiting for records, and ending leases.
//!
//! In: lease requests, settlements. Out: leases; facts and dead letters on their way to the log.

use crate::commit::Ticket;
use crate::frame;
use crate::frame::attempt::Attempts;
use crate::frame::dead::{self, Letter};
use crate::frame::fact::{Fact, Spent};
use crate::lease::{Found, Frame, Loaded, Parked, Pass, Walk, key_hash, load, lose};
use crate::limits;
use crate::shared::{Namespace, durable};
use crate::spread::SpreadSet;
use crate::view::View;
use async_trait::async_trait;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use walhost_core::attempt::Exhausted;
use walhost_core::queue::{Lease, LeaseRequest, LeaseToken, Settlement};
use walhost_core::{Attempt, Error, Kind, Result, Subscription, VerdictKind};
use walhost_log::{FrameDraft, Urgency};

/// Who tells when a frame is durable.
type Answer = oneshot::Receiver<Result<(), walhost_log::Failure>>;

/// One target of one namespace.
pub(crate) struct TargetSubscription {
    pub namespace: Arc<Namespace>,
    pub target: u16,
}

pub(crate) fn monotonic_ms(namespace: &Namespace) -> u64 {
    u64::try_from(namespace.shared.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

fn closed(operation: &'static str) -> Error {
    Error::new(Kind::Closed, operation, "the queue or the subscription is closed")
}

impl TargetSubscription {
    pub(crate) fn check_open(&self, view: &View, operation: &'static str) -> Result<()> {
        let ended = view.removed || view.targets.get(usize::from(self.target)).is_none_or(|target| target.ended);
        if ended || self.namespace.closed.load(Ordering::Acquire) { Err(closed(operation)) } else { Ok(()) }
    }

    /// One pass under the lock; how long to wait when there was nothing.
    fn pass(&self, request: &LeaseRequest, loaded: &Loaded) -> Result<(Pass, Option<Duration>)> {
        let clock = &self.namespace.shared.clock;
        let (now_ms, monotonic_ms) = (clock.now_ms(), monotonic_ms(&self.namespace));
        let mut view = self.namespace.view.lock();
        self.check_open(&view, "queue.lease")?;
        let progress = view.progress(self.target).ok_or_else(|| closed("queue.lease"))?;
        progress.advance(now_ms, monotonic_ms);
        let walk = Walk {
            namespace: &self.namespace,
            view: &mut view,
            target: self.target,
            request: *request,
            monotonic_ms,
            loaded,
        };
        let mut pass = walk.run();
        self.follow(&mut view, &mut pass, now_ms);
        #[cfg(any(test, feature = "planted"))]
        self.plant_settled(&mut view, &pass)?;
        let progress = view.progress(self.target).ok_or_else(|| closed("queue.lease"))?;
        let (due_ms, expiry_ms) = progress.next_wake();
        // A time of day that is set forward is noticed by looking again now and then.
        let due = due_ms.map(|due_ms| due_ms.saturating_sub(now_ms).clamp(1, limits::DUE_CHECK_MS));
        let expiry = expiry_ms.map(|expiry_ms| expiry_ms.saturating_sub(monotonic_ms).max(1));
        let wait = due.into_iter().chain(expiry).min().map(Duration::from_millis);
        Ok((pass, wait))
    }

    /// Records of a parked key go where their key is. Nobody waits for that: when it cannot be written, they
    /// wait behind their key again.
    fn follow(&self, view: &mut View, pass: &mut Pass, now_ms: u64) {
        if pass.parked.is_empty() {
            return;
        }
        let below = view.next_offset;
        let Some(progress) = view.progress(self.target) else { return };
        let letter_of = |parked: Parked| {
            let tried = progress.tried.get(&parked.offset);
            let mut attempts = tried.map(|tried| tried.attempts.clone()).unwrap_or_default();
            attempts.add(&Attempt {
                number: tried.map_or(0, |tried| tried.number),
                at_ms: now_ms,
                verdict: VerdictKind::Reject,
                code: "key-parked".to_owned(),
                message: "an earlier record of its key is in the dead letters".to_owned(),
                digest: None,
            });
            letter((self.target, parked.offset, below), parked.found, attempts, None, Some(parked.hash), now_ms)
        };
        let letters: Vec<Letter> = std::mem::take(&mut pass.parked).into_iter().map(letter_of).collect();
        if let Err((error, letters)) = self.submit(view, letters) {
            tracing::warn!(%error, "records of a parked key could not follow it; they are tried again");
            view.unclaim(&letters);
        }
    }

    /// The bug that the harness must catch: progress moves when a record is handed out.
    #[cfg(any(test, feature = "planted"))]
    fn plant_settled(&self, view: &mut View, pass: &Pass) -> Result<()> {
        if self.namespace.shared.planted != Some(crate::Planted::SettledBeforeDelivered) {
            return Ok(());
        }
        let done = |offset| Fact::Done {
            target: self.target,
            offset,
            outcome: walhost_core::queue::Done::Delivered,
            at_ms: 0,
            attempt: None,
        };
        let facts: Vec<Fact> = pass.picked.iter().map(|picked| done(picked.offset)).collect();
        self.namespace.shared.apply_lazily(&self.namespace, view, facts)
    }

    /// The facts that these settlements are. Leases that have ended are passed over.
    fn facts(
        &self,
        view: &View,
        settlements: Vec<(LeaseToken, Settlement)>,
        claimed: Option<&HashSet<u64>>,
        now_ms: u64,
    ) -> Vec<Fact> {
        let Some(progress) = view.targets.get(usize::from(self.target)) else { return Vec::new() };
        let mut seen = SpreadSet::with_capacity_and_hasher(settlements.len(), Default::default());
        let fact = |(token, settlement): (LeaseToken, Settlement)| {
            let leased = progress.leases.get(&token.0)?;
            let ours = claimed.map_or(!leased.settling, |claimed| claimed.contains(&token.0));
            if !ours || !seen.insert(token.0) {
                return None;
            }
            let (target, offset) = (self.target, leased.origin);
            let at = leased.offset;
            match settlement {
                Settlement::Done { outcome, attempt } => {
                    let at_ms = attempt.as_ref().map_or(now_ms, |attempt| attempt.at_ms);
                    Some(Fact::Done { target, offset, outcome, at_ms, attempt })
                }
                Settlement::Later { due_ms, spent } => {
                    let tried = progress.tried.get(&at);
                    let spent = spent.map(|attempt| Spent {
                        spent: tried.map_or(0, |tried| tried.spent) + 1,
                        first_spent_at_ms: tried.and_then(|tried| tried.first_spent_at_ms).unwrap_or(attempt.at_ms),
                        attempt,
                    });
                    Some(Fact::Later { target, offset, due_ms, change: 0, spent })
                }
                Settlement::Dead { .. } => None,
            }
        };
        settlements.into_iter().filter_map(fact).collect()
    }

    /// Makes the dead letters of a call durable. The commit thread settles their records.
    async fn bring_out(&self, dead: &[(u64, &Attempt, Option<Exhausted>)], now_ms: u64) -> Result<()> {
        let mut loaded = Loaded::new();
        let answers = loop {
            let missing = {
                let mut view = self.namespace.view.lock();
                match self.letters(&mut view, dead, &loaded, now_ms) {
                    Ok(letters) => break self.submit(&mut view, letters).map_err(|(error, _)| error)?,
                    Err(missing) => missing,
                }
            };
            for (extent, stored) in load(&self.namespace, missing).await? {
                match stored {
                    Ok(stored) => {
                        loaded.insert(extent.first_offset, stored);
                    }
                    Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                        lose(&mut self.namespace.view.lock(), &extent, &error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        #[cfg(any(test, feature = "planted"))]
        if self.namespace.shared.planted == Some(crate::Planted::DeadLetterNotAwaited) {
            return Ok(());
        }
        for answer in answers {
            durable("queue.settle", answer).await.map_err(|error| {
                Error::new(Kind::Unavailable, "queue.settle", "a dead letter could not be written: the record is held")
                    .source(error)
            })?;
        }
        Ok(())
    }

    fn letters(
        &self,
        view: &mut View,
        dead: &[(u64, &Attempt, Option<Exhausted>)],
        loaded: &Loaded,
        now_ms: u64,
    ) -> std::result::Result<Vec<Letter>, Vec<crate::extents::Extent>> {
        let ordered = view.policy.as_ref().is_some_and(|policy| policy.ordered);
        let (mut letters, mut missing, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (token, attempt, exhausted) in dead {
            let progress = &view.targets[usize::from(self.target)];
            let Some(offset) = progress.leases.get(token).map(|leased| leased.offset) else { continue };
            let Some(extent) = view.extents.find(offset) else { continue };
            let known = loaded.get(&extent.first_offset).cloned();
            let Some(stored) = known.or_else(|| self.namespace.shared.cached(view.number, extent.first_offset)) else {
                missing.push(extent);
                continue;
            };
            let Some(found) = Frame::new(view, extent, stored).find(view.incarnation, offset) else {
                unreadable.push(extent);
                continue;
            };
            let mut attempts = progress.tried.get(&offset).map(|tried| tried.attempts.clone()).unwrap_or_default();
            attempts.add(attempt);
            let parks = found.record.key.as_ref().filter(|_| ordered && progress.parking).map(|key| key_hash(key));
            let place = (self.target, offset, view.next_offset);
            letters.push(letter(place, found, attempts, *exhausted, parks, now_ms));
        }
        unreadable.iter().for_each(|extent| lose(view, extent, "its bytes do not mean what they must"));
        missing.dedup_by_key(|extent| extent.first_offset);
        if missing.is_empty() { Ok(letters) } else { Err(missing) }
    }

    /// Submits letters in as few frames as they fit. With an error come those that were not submitted.
    #[allow(clippy::result_large_err)]
    fn submit(&self, view: &mut View, letters: Vec<Letter>) -> std::result::Result<Vec<Answer>, (Error, Vec<Letter>)> {
        if !letters.is_empty() && self.namespace.shared.index.is_overfull() {
            let detail = "dead letters take as much memory as the host may use: the record is held";
            return Err((Error::new(Kind::Unavailable, "queue.settle", detail), letters));
        }
        if !letters.is_empty() && self.namespace.is_ending(view) {
            return Err((crate::queue::closed("queue.settle"), letters));
        }
        let mut answers = Vec::new();
        let mut letters = letters.into_iter().peekable();
        while letters.peek().is_some() {
            let mut bytes = 0;
            let mut group = Vec::new();
            while let Some(letter) =
                letters.next_if(|next| group.is_empty() || bytes + next.bytes() < limits::DEAD_FRAME_BYTES_MAX)
            {
                bytes += letter.bytes();
                group.push(letter);
            }
            let (first, count) = (view.next_dead, group.len() as u32);
            let draft = FrameDraft {
                kind: frame::DEAD,
                view: view.number,
                first_offset: first,
                count,
                first_sequence: 0,
                parts: dead::encode(&group),
                urgency: Urgency::Now,
            };
            let (waiter, answer) = oneshot::channel();
            let namespace = Arc::clone(&self.namespace);
            let ticket = Ticket::Dead { namespace, first, letters: group, waiter };
            if let Err((why, ticket)) = self.namespace.shared.submit_fact(draft, ticket) {
                let detail = "a dead letter cannot be written at the moment: the record is held";
                let error = Error::new(Kind::Unavailable, "queue.settle", detail).with("refused", format!("{why:?}"));
                let Ticket::Dead { letters: mut left, .. } = ticket else { return Err((error, Vec::new())) };
                left.extend(letters);
                return Err((error, left));
            }
            view.next_dead = first + u64::from(count);
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// The dead letter of a record of a target, at an offset; below which it may have been moved to by now.
fn letter(
    (target, offset, below): (u16, u64, u64),
    found: Found,
    attempts: Attempts,
    exhausted: Option<Exhausted>,
    parks: Option<u64>,
    dead_at_ms: u64,
) -> Letter {
    let Found { record, epoch, origin, .. } = found;
    Letter {
        target,
        offset,
        below,
        origin,
        epoch,
        sequence: record.sequence,
        appended_at_ms: record.appended_at_ms,
        dead_at_ms,
        exhausted,
        attempts,
        parks,
        key: record.key.unwrap_or_default(),
        headers: record.headers,
        value: record.value,
    }
}

/// The leases of a call that waits for its dead letters: they do not end by themselves until it is over.
struct Claim<'a> {
    subscription: &'a TargetSubscription,
    tokens: HashSet<u64>,
}

impl<'a> Claim<'a> {
    fn new(subscription: &'a TargetSubscription, settlements: &[(LeaseToken, Settlement)]) -> Result<Claim<'a>> {
        let mut view = subscription.namespace.view.lock();
        let progress = view.progress(subscription.target).ok_or_else(|| closed("queue.settle"))?;
        progress.advance(subscription.namespace.shared.clock.now_ms(), monotonic_ms(&subscription.namespace));
        let mut tokens = HashSet::new();
        for (token, _) in settlements {
            if let Some(leased) = progress.leases.get_mut(&token.0)
                && !leased.settling
            {
                leased.settling = true;
                tokens.insert(token.0);
            }
        }
        Ok(Claim { subscription, tokens })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut view = self.subscription.namespace.view.lock();
        if let Some(progress) = view.progress(self.subscription.target) {
            for token in &self.tokens {
                if let Some(leased) = progress.leases.get_mut(token) {
                    leased.settling = false;
                }
            }
        }
    }
}

#[async_trait]
impl Subscription for TargetSubscription {
    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Lease>> {
        let clock = Arc::clone(&self.namespace.shared.clock);
        let until = clock.monotonic() + request.wait();
        let mut loaded = Loaded::new();
        loop {
            let mut woken = pin!(self.namespace.woken());
            woken.as_mut().enable();
            let (mut pass, wait) = self.pass(&request, &loaded)?;
            if !pass.picked.is_empty() {
                let (leases, damaged) = pass.leases();
                for extent in damaged {
                    lose(&mut self.namespace.view.lock(), &extent, "its bytes do not mean what they must");
                }
                if leases.is_empty() {
                    continue;
                }
                return Ok(leases);
            }
            if pass.more {
                tokio::task::yield_now().await;
                continue;
            }
            if !pass.missing.is_empty() {
                // What was read before was walked over: its records were held, or lost.
                loaded.clear();
                for (extent, stored) in load(&self.namespace, pass.missing).await? {
                    match stored {
                        Ok(stored) => {
                            loaded.insert(extent.first_offset, stored);
                        }
                        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                            lose(&mut self.namespace.view.lock(), &extent, &error.to_string());
                        }
                        Err(error) => return Err(error),
                    }
                }
                continue;
            }
            let left = until.saturating_sub(clock.monotonic());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let sleep = clock.sleep(wait.map_or(left, |wait| wait.min(left)));
            tokio::select! {
                () = &mut woken => {}
                () = sleep => {}
            }
        }
    }

    fn extend(&self, tokens: &[LeaseToken], visibility_ms: u64) {
        let (now_ms, monotonic_ms) = (self.namespace.shared.clock.now_ms(), monotonic_ms(&self.namespace));
        let until_ms = monotonic_ms.saturating_add(visibility_ms);
        let mut view = self.namespace.view.lock();
        if let Some(progress) = view.progress(self.target) {
            progress.advance(now_ms, monotonic_ms);
            tokens.iter().for_each(|token| progress.extend(token.0, until_ms));
        }
    }

    async fn settle(&self, settlements: Vec<(LeaseToken, Settlement)>) -> Result<()> {
        let shared = &self.namespace.shared;
        let now_ms = shared.clock.now_ms();
        let claim = if settlements.iter().any(|(_, settlement)| matches!(settlement, Settlement::Dead { .. })) {
            let claim = Claim::new(self, &settlements)?;
            self.pass_suspects(&mut self.namespace.view.lock(), &settlements);
            let mut seen = HashSet::new();
            let mut dead = Vec::new();
            for (token, settlement) in &settlements {
                if claim.tokens.contains(&token.0)
                    && seen.insert(token.0)
                    && let Settlement::Dead { attempt, exhausted } = settlement
                {
                    dead.push((token.0, attempt, *exhausted));
                }
            }
            self.bring_out(&dead, now_ms).await?;
            Some(claim)
        } else {
            None
        };
        let claimed = claim.is_some();
        let (settled, answer, suspects, tokens, wakes) = {
            let mut view = self.namespace.view.lock();
            if let Some(progress) = view.progress(self.target) {
                progress.advance(now_ms, monotonic_ms(&self.namespace));
            }
            let suspects = self.pass_suspects(&mut view, &settlements);
            let all = if suspects || claimed { &settlements[..] } else { &[] };
            let tokens: Vec<LeaseToken> = all.iter().map(|(token, _)| *token).collect();
            let facts = self.facts(&view, settlements, claim.as_ref().map(|claim| &claim.tokens), now_ms);
            let later = facts.iter().any(|fact| matches!(fact, Fact::Later { .. }));
            let (settled, answer) = self.apply(&mut view, facts, suspects);
            // A key that is free again, or a record that is due sooner than others, is for whoever waits; that
            // others are done is not.
            let ready = view.progress(self.target).is_some_and(|one| !one.ready.is_empty());
            (settled, answer, suspects, tokens, later || suspects || claimed || ready)
        };
        drop(claim);
        if let Some(answer) = answer {
            // Refused by the disk: it waits in memory like any other settlement.
            drop(answer.await);
        }
        if suspects || claimed {
            shared.alone.end(self.namespace.number, self.target, &tokens);
        }
        if wakes {
            self.namespace.wake();
        }
        settled
    }

    fn park(&self, on: bool) {
        if let Some(progress) = self.namespace.view.lock().progress(self.target) {
            progress.parking = on;
        }
    }

    fn in_flight_max(&self, records: usize) {
        if let Some(progress) = self.namespace.view.lock().progress(self.target) {
            progress.suspects.set_in_flight_max(records as u64);
        }
    }

    async fn start(&self, token: LeaseToken) -> Result<()> {
        self.begin(token).await
    }
}
