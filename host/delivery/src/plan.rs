//! Decides done, later, dead: verdicts in, settlements and the breaker's inputs out. Pure: no clock, no I/O.
//!
//! In: what was said of each record of a batch, the rules, the time. Out: one `Decision` a record, and what
//! the batch means for the target as a whole.

use crate::bounded::Bounded;
use crate::breaker::Breaker;
use crate::limits;
use crate::observer::Ending;
use crate::policy::Policy;
use crate::retry::{self, Next, Spent};
use std::time::Duration;
use walhost_core::attempt::{Exhausted, HOST_CRASH};
use walhost_core::queue::{Done, Lease, Settlement};
use walhost_core::{Attempt, Blame, Digest, Failure, RecordId, VerdictKind};

/// What was said of one record, by whichever of transform and target ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The destination has confirmed all of it.
    Delivered,
    /// The transform left it out.
    Filtered,
    /// Nobody was asked, or the answer is not known: it goes back as it came.
    Nothing,
    /// Again later; `failure.blame` says whose it is.
    Retry(Failure, Option<Duration>),
    /// The destination asks to slow down.
    Throttle(Failure, Option<Duration>),
    /// The destination is gone for good.
    Pause(Failure),
    /// Never again.
    Reject(Failure),
}

impl Said {
    /// The failure, when there is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Said::Delivered | Said::Filtered | Said::Nothing => None,
            Said::Retry(failure, _) | Said::Throttle(failure, _) | Said::Pause(failure) | Said::Reject(failure) => {
                Some(failure)
            }
        }
    }

    /// As attempts and metrics say it; none when nobody was asked, and when the transform left it out.
    pub fn verdict(&self) -> Option<VerdictKind> {
        match self {
            Said::Delivered => Some(VerdictKind::Delivered),
            Said::Filtered | Said::Nothing => None,
            Said::Retry(..) | Said::Pause(_) => Some(VerdictKind::Retry),
            Said::Throttle(..) => Some(VerdictKind::Throttle),
            Said::Reject(_) => Some(VerdictKind::Reject),
        }
    }
}

/// What was said, and by which plugin: the one that failed, else the transform's, else the sink's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What.
    pub said: Said,
    /// By which plugin; none without plugins.
    pub digest: Option<Digest>,
}

/// What is known of a leased record beside its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a RecordId,
    /// The attempt that ended.
    pub attempt: u32,
    /// Of its budget, before.
    pub spent: Spent,
}

/// What a target remembers from batch to batch. `plan` reads and moves it.
#[derive(Debug)]
pub struct Memory {
    /// Its breaker.
    pub breaker: Breaker,
    /// Records whose last failure was the target's, with `delivered` of that moment.
    pub suspects: Bounded<RecordId, u64>,
    /// Records delivered since the worker began.
    pub delivered: u64,
    /// Throttles in a row.
    pub throttles: u32,
}

impl Default for Memory {
    fn default() -> Self {
        let suspects = Bounded::new(limits::SUSPECTS_MAX);
        Memory { breaker: Breaker::default(), suspects, delivered: 0, throttles: 0 }
    }
}

/// The moment and the rules of one decision.
pub struct Moment<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// Time of day, in milliseconds since the Unix epoch: what `due` is counted in.
    pub now_ms: u64,
    /// Of the monotonic clock: what the breaker is counted in.
    pub now: Duration,
    /// The batch is the single record that tries an open breaker.
    pub probe: bool,
    /// `Memory::delivered` when the batch began.
    pub delivered_before: u64,
}

/// What becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How its lease ends.
    pub ending: Ending,
    /// When it is handed out again; 0 when it is not.
    pub due_ms: u64,
    /// The attempt, as it is kept where it is kept.
    attempt: Option<Attempt>,
}

impl Decision {
    /// As the queue wants it.
    pub fn settlement(&self) -> Settlement {
        let attempt = || self.attempt.clone().expect("a delivery, a retry and a dead letter have an attempt");
        match self.ending {
            Ending::Delivered => Settlement::Done { outcome: Done::Delivered, attempt: self.attempt.clone() },
            Ending::Filtered => Settlement::Done { outcome: Done::Filtered, attempt: None },
            Ending::Retrying => Settlement::Later { due_ms: self.due_ms, spent: Some(attempt()) },
            Ending::Held => Settlement::Later { due_ms: self.due_ms, spent: None },
            Ending::Dead(exhausted) => Settlement::Dead { attempt: attempt(), exhausted },
        }
    }
}

/// What a batch means for its target.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Effects {
    /// Nothing is sent before, of the monotonic clock.
    pub throttled_until: Option<Duration>,
    /// The target pauses itself.
    pub pause: Option<Failure>,
    /// The breaker opened, with this code.
    pub opened: Option<String>,
    /// The breaker closed.
    pub closed: bool,
    /// The last failure of the batch.
    pub last_failure: Option<Failure>,
    /// Some record was delivered.
    pub delivered: bool,
}

/// Decides. `subjects` and `answers` belong together, in order; `dice` answers a number below its argument.
///
/// The breaker hears of the whole batch, in its order, before anything is decided. While it is open at the
/// end of the batch, nothing behind the batch's last delivery becomes a dead letter: rejects and used-up
/// budgets are held, with nothing spent. A failure that came in while it was open already spends nothing.
pub fn plan(
    moment: &Moment<'_>,
    subjects: &[Subject<'_>],
    answers: &[Answer],
    memory: &mut Memory,
    dice: &mut dyn FnMut(u64) -> u64,
) -> (Vec<Decision>, Effects) {
    assert_eq!(subjects.len(), answers.len(), "one answer for each record");
    let mut effects = Effects::default();
    let was_open = memory.breaker.is_open();
    let mut spends = vec![false; answers.len()];
    let mut last_delivery = 0;
    for (place, (subject, answer)) in subjects.iter().zip(answers).enumerate() {
        spends[place] = hear(moment, subject, &answer.said, memory, &mut effects);
        if answer.said == Said::Delivered {
            last_delivery = place + 1;
        }
    }
    // With the deliveries of its own batch counted: they were beside its attempt, not after it.
    for (subject, answer) in subjects.iter().zip(answers) {
        if matches!(&answer.said, Said::Retry(failure, _) if failure.blame == Blame::Target) {
            memory.suspects.insert(subject.id.clone(), memory.delivered);
        }
    }
    end_of_batch(moment, answers, memory, &mut effects, dice);
    let open = memory.breaker.is_open();
    effects.closed = was_open && !open;
    effects.opened = effects.opened.filter(|_| open && !was_open);
    let target_wait_ms = if open || effects.throttled_until.is_some() || effects.pause.is_some() {
        0
    } else {
        retry::wait_ms(&moment.policy.retry, memory.breaker.failures().max(1), dice)
    };
    let decide = |(place, (subject, answer)): (usize, (&Subject<'_>, &Answer))| {
        let holds = moment.probe || (open && place >= last_delivery);
        decide(moment, subject, answer, spends[place], holds, target_wait_ms, dice)
    };
    (subjects.iter().zip(answers).enumerate().map(decide).collect(), effects)
}

/// What becomes of a suspect that has taken the host down as often as it may: none while it may be tried.
pub fn host_crash(lease: &Lease, now_ms: u64) -> Option<Decision> {
    (lease.suspect && lease.crashes + 1 >= limits::HOST_CRASHES_MAX).then(|| {
        let Failure { code, message, .. } = host_crash_failure();
        let number = lease.record.attempt.saturating_sub(1).max(1);
        dead(None, Some(Attempt { number, at_ms: now_ms, verdict: VerdictKind::Reject, code, message, digest: None }))
    })
}

/// Why it is given up.
pub fn host_crash_failure() -> Failure {
    let times = limits::HOST_CRASHES_MAX;
    let message = format!("the host stopped {times} times while this record was on its way to the target");
    Failure::new(HOST_CRASH, &message, Blame::Record)
}

/// Tells breaker and memory of one answer. True when the answer spends an attempt.
fn hear(moment: &Moment<'_>, subject: &Subject<'_>, said: &Said, memory: &mut Memory, effects: &mut Effects) -> bool {
    let breaker = &moment.policy.breaker;
    if let Some(failure) = said.failure() {
        effects.last_failure = Some(failure.clone());
    }
    let was_open = memory.breaker.is_open();
    match said {
        Said::Delivered => {
            memory.delivered += 1;
            memory.throttles = 0;
            memory.breaker.delivered();
            effects.delivered = true;
            if !memory.suspects.is_empty() {
                memory.suspects.remove(subject.id);
            }
            false
        }
        Said::Filtered | Said::Nothing => false,
        Said::Pause(failure) => {
            effects.pause = Some(failure.clone());
            false
        }
        Said::Throttle(failure, _) => {
            failed(moment, subject, failure, true, memory, effects);
            false
        }
        Said::Retry(failure, _) => {
            let of_target = failure.blame == Blame::Target;
            let others_since = memory.suspects.get(subject.id).is_some_and(|then| moment.delivered_before > *then);
            let of_target = of_target && !others_since;
            failed(moment, subject, failure, of_target, memory, effects);
            !of_target && !moment.probe && !was_open
        }
        Said::Reject(failure) => {
            if !moment.probe && memory.breaker.rejected(breaker, moment.now, subject.id, &failure.code) {
                effects.opened = Some(failure.code.clone());
            }
            false
        }
    }
}

fn failed(
    moment: &Moment<'_>,
    subject: &Subject<'_>,
    failure: &Failure,
    of_target: bool,
    memory: &mut Memory,
    effects: &mut Effects,
) {
    let policy = &moment.policy.breaker;
    if !moment.probe && memory.breaker.failed(policy, moment.now, subject.id, &failure.code, of_target) {
        effects.opened = Some(failure.code.clone());
    }
}

/// What only the batch as a whole says: how long a throttle lasts, what a probe was.
fn end_of_batch(
    moment: &Moment<'_>,
    answers: &[Answer],
    memory: &mut Memory,
    effects: &mut Effects,
    dice: &mut dyn FnMut(u64) -> u64,
) {
    let throttles = answers.iter().filter_map(|answer| match &answer.said {
        Said::Throttle(_, after) => Some(*after),
        _ => None,
    });
    // The longest time that was asked for; the backoff where none was.
    if let Some(after) = throttles.max() {
        memory.throttles = memory.throttles.saturating_add(1);
        let wait_ms =
            after.map_or_else(|| retry::wait_ms(&moment.policy.retry, memory.throttles, dice), retry::after_ms);
        effects.throttled_until = Some(moment.now + Duration::from_millis(wait_ms));
    }
    if moment.probe && memory.breaker.is_open() {
        let void = answers.iter().all(|answer| matches!(answer.said, Said::Filtered | Said::Nothing | Said::Pause(_)));
        if void {
            memory.breaker.probe_was_void();
        } else {
            memory.breaker.probe_failed(&moment.policy.breaker, moment.now);
        }
    }
}

fn decide(
    moment: &Moment<'_>,
    subject: &Subject<'_>,
    answer: &Answer,
    spends: bool,
    holds: bool,
    target_wait_ms: u64,
    dice: &mut dyn FnMut(u64) -> u64,
) -> Decision {
    let now_ms = moment.now_ms;
    let attempt = |verdict, failure: Option<&Failure>| {
        let (code, message) = failure.map(|f| (f.code.clone(), f.message.clone())).unwrap_or_default();
        Some(Attempt { number: subject.attempt, at_ms: now_ms, verdict, code, message, digest: answer.digest })
    };
    let held = |wait_ms: u64| Decision { ending: Ending::Held, due_ms: now_ms.saturating_add(wait_ms), attempt: None };
    match &answer.said {
        Said::Delivered => {
            Decision { ending: Ending::Delivered, due_ms: 0, attempt: attempt(VerdictKind::Delivered, None) }
        }
        Said::Filtered => Decision { ending: Ending::Filtered, due_ms: 0, attempt: None },
        Said::Nothing | Said::Throttle(..) | Said::Pause(_) => held(0),
        Said::Retry(_, after) if !spends => match after {
            Some(after) if !holds => held(retry::after_ms(*after)),
            _ => held(target_wait_ms),
        },
        Said::Retry(failure, after) => {
            let spent = attempt(VerdictKind::Retry, Some(failure));
            match retry::next(&moment.policy.retry, subject.spent, now_ms, *after, dice) {
                Next::At(due_ms) => Decision { ending: Ending::Retrying, due_ms, attempt: spent },
                Next::GiveUp(_) if holds => held(0),
                Next::GiveUp(budget) => dead(Some(budget), spent),
            }
        }
        Said::Reject(_) if holds => held(0),
        Said::Reject(failure) => dead(None, attempt(VerdictKind::Reject, Some(failure))),
    }
}

fn dead(exhausted: Option<Exhausted>, attempt: Option<Attempt>) -> Decision {
    Decision { ending: Ending::Dead(exhausted), due_ms: 0, attempt }
}

#[cfg(test)]
mod tests;
