//! Whether a target is left alone: opens after failures or rejects in a row, lets probes through, closes
//! after a delivery. Pure: every call is told the time.
//!
//! In: what became of each record, in order. Out: `Gate`, and whether a reject is held.

use crate::policy::BreakerPolicy;
use crate::status::BreakerState;
use std::collections::HashSet;
use std::time::Duration;
use walhost_core::RecordId;

/// How many different records must be among the failures of a row in which some may be the records' own.
const DIFFERENT_RECORDS: usize = 3;

/// Whether the next batch may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Closed,
    /// One record may, alone, as a probe.
    Probe,
    /// Not before this time of the monotonic clock.
    Wait(Duration),
    /// A probe is at the target: nothing before its end.
    Probing,
}

/// The state of one target. Times are of the monotonic clock.
///
/// **Failures.** Counted one a record, in the order of the batch; a delivery ends the row. The row opens the
/// breaker when `failures` of it are the target's, or when `failures` of any kind are in it and three
/// different records among them: a lone poison record opens nothing.
///
/// **Rejects.** Counted while they carry one code and are of different records; a delivery or another code
/// ends the row, other failures do not. Rejects before the threshold are dead letters, as they came; the
/// batch that reaches it is held as far as it belongs to the row, and so is every reject after it, until the
/// breaker closes. So at most `rejects` records of a target that rejects everything, and what was settled of
/// other batches in flight, become dead letters.
///
/// **Open.** The first probe goes after `open`; each one that is not delivered doubles the wait up to
/// `max_open`. A delivery, whoever made it, closes.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    failures_target: u32,
    failed: HashSet<RecordId>,
    reject_code: String,
    rejected: HashSet<RecordId>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    code: String,
    since: Duration,
    next_probe: Duration,
    wait: Duration,
    probing: bool,
}

impl Breaker {
    /// Whether the next batch may begin.
    pub fn gate(&self, now: Duration) -> Gate {
        match &self.open {
            None => Gate::Closed,
            Some(open) if open.probing => Gate::Probing,
            Some(open) if now < open.next_probe => Gate::Wait(open.next_probe),
            Some(_) => Gate::Probe,
        }
    }

    /// True while records are held.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A probe is at the target.
    pub fn probe_began(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// The probe said nothing of the target: the transform left the record out, or its lease had ended. The
    /// next probe may go at once.
    pub fn probe_was_void(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// The probe was not delivered: the wait doubles.
    pub fn probe_failed(&mut self, policy: &BreakerPolicy, now: Duration) {
        if let Some(open) = &mut self.open {
            open.probing = false;
            open.wait = (open.wait * 2).min(Duration::from_millis(policy.max_open_ms)).max(first_wait(policy));
            open.next_probe = now + open.wait;
        }
    }

    /// A record was delivered: both rows end, and an open breaker closes. Answers true when it did.
    pub fn delivered(&mut self) -> bool {
        // The hot path: nothing is touched when there is nothing to forget.
        if self.failures > 0 || !self.rejected.is_empty() || self.open.is_some() {
            return self.reset();
        }
        false
    }

    /// Closes it and starts the counts anew. Answers true when it was open.
    pub fn reset(&mut self) -> bool {
        let was_open = self.open.is_some();
        *self = Breaker::default();
        was_open
    }

    /// A record failed: `of_target` when the failure says nothing of the record. Answers true when this
    /// opened the breaker. While it is open nothing is counted.
    pub fn failed(
        &mut self,
        policy: &BreakerPolicy,
        now: Duration,
        id: &RecordId,
        code: &str,
        of_target: bool,
    ) -> bool {
        if self.open.is_some() || policy.failures == 0 {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.failures_target = self.failures_target.saturating_add(u32::from(of_target));
        if self.failed.len() < DIFFERENT_RECORDS {
            self.failed.insert(id.clone());
        }
        let alone = self.failures_target >= policy.failures;
        let together = self.failures >= policy.failures && self.failed.len() >= DIFFERENT_RECORDS;
        if alone || together {
            self.open(policy, now, code);
        }
        alone || together
    }

    /// A record was rejected. Answers true when this opened the breaker. While it is open nothing is counted.
    pub fn rejected(&mut self, policy: &BreakerPolicy, now: Duration, id: &RecordId, code: &str) -> bool {
        if self.open.is_some() || policy.rejects == 0 {
            return false;
        }
        if self.reject_code != code {
            code.clone_into(&mut self.reject_code);
            self.rejected.clear();
        }
        self.rejected.insert(id.clone());
        let reached = self.rejected.len() >= policy.rejects as usize;
        if reached {
            self.open(policy, now, code);
        }
        reached
    }

    /// The next probe need not wait: the pipeline is another one.
    pub fn probe_at_once(&mut self, policy: &BreakerPolicy, now: Duration) {
        if let Some(open) = &mut self.open {
            open.next_probe = now;
            open.wait = first_wait(policy);
        }
    }

    /// No probe before this time: the destination asked for it.
    pub fn probe_not_before(&mut self, until: Duration) {
        if let Some(open) = &mut self.open {
            open.next_probe = open.next_probe.max(until);
        }
    }

    fn open(&mut self, policy: &BreakerPolicy, now: Duration, code: &str) {
        let wait = first_wait(policy);
        self.open = Some(Open { code: code.to_owned(), since: now, next_probe: now + wait, wait, probing: false });
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match &self.open {
            None => BreakerState::Closed,
            Some(open) if open.probing => BreakerState::Probing,
            Some(_) => BreakerState::Open,
        }
    }

    /// Failures in a row without a delivery; of an open one, those that opened it.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Different records in a row rejected with one code; of an open one, those that opened it.
    pub fn rejects(&self) -> u32 {
        u32::try_from(self.rejected.len()).unwrap_or(u32::MAX)
    }

    /// Code of the failure that opened it, when it opened, when the next probe goes; none when closed.
    pub fn opened(&self) -> Option<(&str, Duration, Duration)> {
        self.open.as_ref().map(|open| (open.code.as_str(), open.since, open.next_probe))
    }
}

fn first_wait(policy: &BreakerPolicy) -> Duration {
    Duration::from_millis(policy.open_ms.min(policy.max_open_ms).max(1))
}

#[cfg(test)]
#[path = "breaker/tests.rs"]
mod tests;
