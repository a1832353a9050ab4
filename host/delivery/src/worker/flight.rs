//! One batch in flight: runs it, plans, settles, reports. A batch loads its pipeline once.
//!
//! In: leases. Out: settlements to the queue, a report to the observer.

use super::run::give_back;
use super::shared::{Confirmed, ConfirmedBy, Shared};
use super::suspect;
use crate::batch::{self, Ran};
use crate::limits;
use crate::observer::{BatchReport, Ending, RecordReport};
use crate::pipeline::Pipeline;
use crate::plan::{self, Decision, Effects, Moment, Said, Subject};
use crate::retry::Spent;
use crate::status::{LastError, PauseReason, SettleAlarm};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use walhost_core::queue::{Lease, LeaseToken, Settlement};
use walhost_core::{Kind, Record, exec};

/// A batch begins: counted at once, then on its own.
pub fn begin(shared: &Arc<Shared>, leases: Vec<Lease>, probe: bool) {
    let pipeline = shared.pipeline.load_full();
    let mut control = shared.control.lock();
    control.in_flight += 1;
    control.in_flight_records += leases.len();
    control.bucket.take(leases.len());
    if probe {
        control.memory.breaker.probe_began();
    }
    let delivered_before = control.memory.delivered;
    let suspects = leases.iter().filter(|lease| lease.suspect).count();
    control.suspects += suspects;
    drop(control);
    let unheard_probe = AtomicBool::new(probe);
    let seat = Seat { shared: shared.clone(), records: leases.len(), suspects, unheard_probe };
    drop(exec::task(async move {
        let mut cancelled = seat.shared.cancelled.subscribe();
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => {}
            () = fly(&seat, &pipeline, leases, probe, delivered_before) => {}
        }
        drop(seat);
    }));
}

/// Counts a batch in flight, whatever ends it.
struct Seat {
    shared: Arc<Shared>,
    records: usize,
    suspects: usize,
    /// A probe of which the breaker has not heard.
    unheard_probe: AtomicBool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut control = self.shared.control.lock();
        control.in_flight -= 1;
        control.in_flight_records -= self.records;
        control.suspects -= self.suspects;
        if self.unheard_probe.load(Ordering::Relaxed) {
            control.memory.breaker.probe_was_void();
        }
        drop(control);
        self.shared.changed.notify_one();
        self.shared.ended.notify_waiters();
    }
}

/// The leases of a batch, without their records.
struct Leased {
    token: LeaseToken,
    spent: Spent,
    suspect: bool,
}

async fn fly(seat: &Seat, pipeline: &Pipeline, leases: Vec<Lease>, probe: bool, delivered_before: u64) {
    let shared = &seat.shared;
    let Some(leases) = suspect::turn(shared, leases, pipeline.generation).await else { return };
    let (mut records, mut leased, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    records.reserve_exact(leases.len());
    leased.reserve_exact(leases.len());
    tokens.reserve_exact(leases.len());
    for lease in leases {
        let spent = Spent { attempts: lease.spent, first_at_ms: lease.first_spent_at_ms };
        leased.push(Leased { token: lease.token, spent, suspect: lease.suspect });
        tokens.push(lease.token);
        records.push(lease.record);
    }
    #[cfg(test)]
    if shared.plant_settled_first.load(Ordering::Relaxed) {
        let done = Settlement::Done { outcome: walhost_core::queue::Done::Delivered, attempt: None };
        let all = tokens.iter().map(|token| (*token, done.clone())).collect();
        let _ = shared.subscription.settle(all).await;
    }
    let began = shared.clock.monotonic();
    let breaker = shared.policy.load().breaker.clone();
    let guilty_max = if breaker.failures == 0 { 0 } else { breaker.failures.max(3) as usize };
    let confirmed = ConfirmedBy(shared, pipeline.generation);
    let run = batch::run(pipeline, &records, &confirmed, guilty_max);
    let ran = keeping_leases(shared, &tokens, run).await;
    let took = shared.clock.monotonic().saturating_sub(began);

    let now_ms = shared.clock.now_ms();
    let decisions = {
        let policy = shared.policy.load();
        let moment = Moment { policy: &policy, now_ms, now: shared.clock.monotonic(), probe, delivered_before };
        let both = records.iter().zip(&leased);
        let subjects: Vec<Subject<'_>> = both
            .map(|(record, leased)| Subject { id: &record.id, attempt: record.attempt, spent: leased.spent })
            .collect();
        let mut dice = |bound| shared.random.below(bound);
        let mut control = shared.control.lock();
        let (decisions, effects) = plan::plan(&moment, &subjects, &ran.answers, &mut control.memory, &mut dice);
        remember_confirmed(&mut control.confirmed, pipeline.generation, &records, &ran, &decisions);
        seat.unheard_probe.store(false, Ordering::Relaxed);
        drop(control);
        take_effect(shared, effects, now_ms);
        decisions
    };

    settle(shared, &records, &leased, &tokens, &decisions, probe).await;
    let reports = reports(&records, &ran, &decisions, now_ms);
    shared.observer.batch(&BatchReport {
        namespace: &shared.namespace,
        target: &shared.target,
        generation: pipeline.generation,
        probe,
        took,
        faults: ran.faults,
        fault_code: ran.fault_code.as_deref(),
        records: &reports,
    });
}

/// Extends the leases until the future has ended.
pub async fn keeping_leases<T>(shared: &Shared, tokens: &[LeaseToken], future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        let beat = Duration::from_millis(limits::VISIBILITY_MS / limits::HEARTBEATS_PER_VISIBILITY);
        tokio::select! {
            biased;
            value = &mut future => return value,
            () = shared.clock.sleep(beat) => shared.subscription.extend(tokens, limits::VISIBILITY_MS),
        }
    }
}

/// Outputs of records that have to be tried again stay known; what is settled is forgotten.
fn remember_confirmed(
    known: &mut crate::bounded::Bounded<walhost_core::RecordId, Confirmed>,
    generation: u64,
    records: &[Record],
    ran: &Ran,
    decisions: &[Decision],
) {
    let Some(sent) = &ran.sent else { return };
    for (place, (record, decision)) in records.iter().zip(decisions).enumerate() {
        if !matches!(decision.ending, Ending::Retrying | Ending::Held) {
            if !known.is_empty() {
                known.remove(&record.id);
            }
            continue;
        }
        let mut confirmed = sent.confirmed(place).filter(|(_, count)| *count > 1).peekable();
        let Some((_, count)) = confirmed.peek().copied() else { continue };
        let earlier = known.remove(&record.id).filter(|c| c.generation == generation && c.outputs.len() == count);
        let mut outputs = earlier.map_or_else(|| vec![false; count], |confirmed| confirmed.outputs);
        confirmed.for_each(|(number, _)| outputs[number] = true);
        known.insert(record.id.clone(), Confirmed { generation, outputs });
    }
}

fn take_effect(shared: &Shared, effects: Effects, now_ms: u64) {
    let mut control = shared.control.lock();
    if let Some(until) = effects.throttled_until {
        control.throttled_until = Some(control.throttled_until.map_or(until, |before| before.max(until)));
        control.memory.breaker.probe_not_before(until);
    }
    if let Some(failure) = effects.last_failure {
        control.last_error = Some(LastError { failure, at_ms: now_ms });
    }
    if effects.delivered {
        control.last_delivered_at_ms = Some(now_ms);
    }
    let reason = effects.pause.map(PauseReason::Gone).filter(|_| control.paused.is_none());
    if let Some(reason) = &reason {
        control.paused = Some(reason.clone());
    }
    drop(control);
    if let Some(reason) = reason {
        shared.observer.paused(&shared.namespace, &shared.target, &reason);
    }
    if let Some(code) = effects.opened {
        shared.observer.breaker(&shared.namespace, &shared.target, Some(&code));
    } else if effects.closed {
        shared.observer.breaker(&shared.namespace, &shared.target, None);
    }
    shared.changed.notify_one();
}

/// Settles all (I16). Dead letters go last and by themselves: when they cannot be
/// written, the rest of the batch is settled all the same.
async fn settle(
    shared: &Arc<Shared>,
    records: &[Record],
    leased: &[Leased],
    tokens: &[LeaseToken],
    decisions: &[Decision],
    probe: bool,
) {
    if probe && decisions[0].ending == Ending::Held {
        if leased[0].suspect {
            return put_behind(shared, &leased[0], &decisions[0], tokens).await;
        }
        return keep_probed(shared, &records[0], &leased[0]).await;
    }
    let is_dead = |decision: &Decision| matches!(decision.ending, Ending::Dead(_));
    for dead in [false, true] {
        let part = || decisions.iter().zip(leased).filter(|(decision, _)| is_dead(decision) == dead);
        if part().next().is_none() {
            continue;
        }
        let settlements = || part().map(|(decision, leased)| (leased.token, decision.settlement())).collect();
        keeping_leases(shared, tokens, settle_until_taken(shared, settlements)).await;
    }
}

/// Settles until the queue has taken it (I16).
pub async fn settle_until_taken(shared: &Shared, settlements: impl Fn() -> Vec<(LeaseToken, Settlement)>) {
    let mut alarmed = None;
    let mut wait_ms = limits::SETTLE_RETRY_MS;
    loop {
        let Err(error) = shared.subscription.settle(settlements()).await else { break };
        if error.kind() == Kind::Closed {
            tracing::warn!(namespace = %shared.namespace, target = %shared.target, %error, "not settled");
            break;
        }
        tracing::error!(namespace = %shared.namespace, target = %shared.target, %error, "held: the queue cannot settle");
        if alarmed.is_none() {
            alarmed = Some(Alarm::raise(shared, error.to_string()));
        }
        shared.observer.settle_failed(&shared.namespace, &shared.target, &error);
        shared.clock.sleep(Duration::from_millis(wait_ms)).await;
        wait_ms = (wait_ms * 2).min(limits::SETTLE_RETRY_MS_MAX);
    }
}

/// One batch that waits for the queue, in the status, whatever ends the wait.
struct Alarm<'a>(&'a Shared);

impl<'a> Alarm<'a> {
    fn raise(shared: &'a Shared, error: String) -> Alarm<'a> {
        let mut control = shared.control.lock();
        let since_ms = control.alarm.as_ref().map_or_else(|| shared.clock.now_ms(), |alarm| alarm.since_ms);
        let batches = control.alarm.as_ref().map_or(0, |alarm| alarm.batches) + 1;
        control.alarm = Some(SettleAlarm { since_ms, error, batches });
        Alarm(shared)
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let mut control = self.0.control.lock();
        control.alarm = control
            .alarm
            .take()
            .filter(|alarm| alarm.batches > 1)
            .map(|alarm| SettleAlarm { batches: alarm.batches - 1, ..alarm });
    }
}

/// A suspect that was probed in vain cannot keep its lease, or nothing else would be handed out: it waits until
/// the next probe has begun, with another record.
async fn put_behind(shared: &Arc<Shared>, leased: &Leased, decision: &Decision, tokens: &[LeaseToken]) {
    let next_probe = shared.control.lock().memory.breaker.opened().map(|(_, _, next_probe)| next_probe);
    let wait = next_probe.map_or(Duration::ZERO, |next_probe| next_probe.saturating_sub(shared.clock.monotonic()));
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let due_ms = decision.due_ms.max(shared.clock.now_ms().saturating_add(wait_ms));
    let settlements = || vec![(leased.token, Settlement::Later { due_ms, spent: None })];
    keeping_leases(shared, tokens, settle_until_taken(shared, settlements)).await;
}

/// A probe that was not delivered keeps its lease, so that the next one takes another record.
async fn keep_probed(shared: &Arc<Shared>, record: &Record, leased: &Leased) {
    let lease = Lease {
        token: leased.token,
        record: record.clone(),
        spent: leased.spent.attempts,
        first_spent_at_ms: leased.spent.first_at_ms,
        suspect: false,
        crashes: 0,
    };
    shared.subscription.extend(&[lease.token], limits::VISIBILITY_MS);
    let oldest = {
        let mut control = shared.control.lock();
        control.probed.push_back(lease);
        if control.probed.len() > limits::PROBED_MAX { control.probed.pop_front() } else { None }
    };
    give_back(shared, oldest.into_iter().collect()).await;
}

fn reports<'a>(records: &'a [Record], ran: &'a Ran, decisions: &'a [Decision], now_ms: u64) -> Vec<RecordReport<'a>> {
    let report = |(place, (record, decision)): (usize, (&'a Record, &'a Decision))| {
        let answer = &ran.answers[place];
        let failure = answer.said.failure();
        let sent = match &ran.sent {
            Some(sent) => &sent.outputs[sent.parts[place].clone()],
            None if answer.said == Said::Nothing => &[],
            None => std::slice::from_ref(record),
        };
        // Of a delayed record the sequence is its due time.
        let from_ms = record.appended_at_ms.max(record.sequence / 1_000);
        RecordReport {
            record,
            sent,
            verdict: answer.said.verdict(),
            code: failure.map_or("", |failure| &failure.code),
            message: failure.map_or("", |failure| &failure.message),
            digest: answer.digest,
            ending: decision.ending,
            latency_ms: (decision.ending == Ending::Delivered).then(|| now_ms.saturating_sub(from_ms)),
        }
    };
    records.iter().zip(decisions).enumerate().map(report).collect()
}
