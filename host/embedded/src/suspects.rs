//! Suspects of one target: after an unclean stop, what may have taken the host down goes alone (I15).
//!
//! In: starts, ends and counts, as facts; how many records were in flight. Out: which record goes alone, and how
//! often it was counted. Starts and counts are durable; the trial is begun anew by every unclean stop.

use crate::codec::{Reader, Writer};
use crate::frame::fact::{Fact, Spent};
use crate::spread::{SpreadMap, SpreadSet};
use crate::view::View;
use walhost_core::attempt::HOST_CRASH;
use walhost_core::{Attempt, Result, VerdictKind};

/// An attempt that has begun and has no end so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Of the attempt.
    pub number: u32,
    pub at_ms: u64,
    /// Attempts that were spent of the budget before it, and when the first one was.
    pub spent: u32,
    pub first_spent_at_ms: Option<u64>,
}

/// The records that go alone because they may have been in flight at an unclean stop.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trial {
    /// Records from here on were appended after the stop.
    before: u64,
    /// How many more there are; none: the worker has not said how many it takes.
    left: Option<u64>,
    /// Those that had their turn.
    through: SpreadSet<u64>,
}

/// What one target suspects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    trial: Option<Trial>,
    in_flight_max: u64,
    started: SpreadMap<u64, Start>,
    crashes: SpreadMap<u64, u32>,
}

impl Suspects {
    /// An unclean stop: the first records that are due, among those that are there, go alone.
    pub(crate) fn begin_trial(&mut self, before: u64) {
        self.trial = Some(Trial { before, left: None, through: SpreadSet::default() });
    }

    /// So many records are in flight at once at most, as the worker says. A trial is as long.
    pub(crate) fn set_in_flight_max(&mut self, records: u64) {
        self.in_flight_max = records;
    }

    /// How often the record was counted when it is a suspect; none when it is not.
    pub(crate) fn suspicion(&self, offset: u64) -> Option<u32> {
        let known = self.started.contains_key(&offset) || self.crashes.contains_key(&offset);
        let on_trial =
            self.trial.as_ref().is_some_and(|trial| offset < trial.before && !trial.through.contains(&offset));
        (known || on_trial).then(|| self.crashes.get(&offset).copied().unwrap_or(0))
    }

    /// Whether this record, which is the next one, goes alone. `fresh`: nothing older is due. A trial ends with
    /// the first record that is newer than the stop.
    pub(crate) fn goes_alone(&mut self, offset: u64, fresh: bool) -> bool {
        if let Some(trial) = &mut self.trial {
            let left = *trial.left.get_or_insert(self.in_flight_max);
            if left == 0 || (fresh && offset >= trial.before) {
                self.trial = None;
            }
        }
        self.trial.is_some() || self.suspicion(offset).is_some()
    }

    /// How many records are still to go alone, as far as that is known.
    pub(crate) fn left(&self) -> u64 {
        let counted = self.crashes.len() as u64;
        counted.max(self.trial.as_ref().map_or(0, |trial| trial.left.unwrap_or(self.in_flight_max)))
    }

    /// True when nothing is suspected: the usual state.
    pub(crate) fn is_quiet(&self) -> bool {
        self.trial.is_none() && self.started.is_empty() && self.crashes.is_empty()
    }

    /// The record had its turn.
    pub(crate) fn pass(&mut self, offset: u64) {
        if let Some(trial) = &mut self.trial
            && offset < trial.before
            && trial.through.insert(offset)
        {
            trial.left = trial.left.map(|left| left.saturating_sub(1));
        }
    }

    /// Its attempt begins.
    pub(crate) fn start(&mut self, offset: u64, start: Start) {
        self.started.insert(offset, start);
    }

    /// Its attempt has begun and has no end.
    pub(crate) fn is_started(&self, offset: u64) -> bool {
        !self.started.is_empty() && self.started.contains_key(&offset)
    }

    /// Its attempt has ended, and the host did not.
    pub(crate) fn end(&mut self, offset: u64) {
        if !self.started.is_empty() {
            self.started.remove(&offset);
        }
    }

    /// It was counted so often.
    pub(crate) fn count(&mut self, offset: u64, crashes: u32) {
        let known = self.crashes.entry(offset).or_default();
        *known = crashes.max(*known);
    }

    /// It is settled.
    pub(crate) fn forget(&mut self, offset: u64) {
        self.end(offset);
        if !self.crashes.is_empty() {
            self.crashes.remove(&offset);
        }
    }

    /// The record is at another offset from now on, and waits there.
    pub(crate) fn moved(&mut self, from: u64, to: u64) {
        self.end(from);
        if !self.crashes.is_empty()
            && let Some(crashes) = self.crashes.remove(&from)
        {
            self.count(to, crashes);
        }
    }

    /// After a stop: facts that end every start. At an unclean one each of them counts.
    pub(crate) fn after_stop(&self, target: u16, clean: bool, now_ms: u64) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut offsets: Vec<(&u64, &Start)> = self.started.iter().collect();
        offsets.sort_unstable_by_key(|(offset, _)| **offset);
        for (offset, start) in offsets {
            let (offset, due_ms) = (*offset, now_ms);
            if clean {
                facts.push(Fact::Later { target, offset, due_ms, change: 0, spent: None });
                continue;
            }
            let attempt = Attempt {
                number: start.number,
                at_ms: start.at_ms,
                verdict: VerdictKind::Retry,
                code: HOST_CRASH.to_owned(),
                message: "the host stopped while this attempt was on its way".to_owned(),
                digest: None,
            };
            let first_spent_at_ms = start.first_spent_at_ms.unwrap_or(start.at_ms);
            let spent = Some(Spent { attempt, spent: start.spent + 1, first_spent_at_ms });
            facts.push(Fact::Later { target, offset, due_ms, change: 0, spent });
            let crashes = self.crashes.get(&offset).copied().unwrap_or(0) + 1;
            facts.push(Fact::Crashed { target, offset, crashes });
        }
        facts
    }

    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.flag(self.trial.is_some());
        if let Some(trial) = &self.trial {
            writer.u64(trial.before);
            writer.option(trial.left);
        }
        writer.u64(self.started.len() as u64);
        for (offset, start) in &self.started {
            writer.u64(*offset);
            writer.u32(start.number);
            writer.u64(start.at_ms);
            writer.u32(start.spent);
            writer.option(start.first_spent_at_ms);
        }
        writer.u64(self.crashes.len() as u64);
        for (offset, crashes) in &self.crashes {
            writer.u64(*offset);
            writer.u32(*crashes);
        }
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Suspects> {
        let mut suspects = Suspects::default();
        if reader.flag()? {
            let (before, left) = (reader.u64()?, reader.option()?);
            suspects.trial = Some(Trial { before, left, through: SpreadSet::default() });
        }
        for _ in 0..reader.count()? {
            let offset = reader.u64()?;
            let (number, at_ms) = (reader.u32()?, reader.u64()?);
            let (spent, first_spent_at_ms) = (reader.u32()?, reader.option()?);
            suspects.start(offset, Start { number, at_ms, spent, first_spent_at_ms });
        }
        for _ in 0..reader.count()? {
            let offset = reader.u64()?;
            suspects.count(offset, reader.u32()?);
        }
        Ok(suspects)
    }
}

impl View {
    /// The process before has stopped, cleanly or not: what it left behind becomes suspect (I15). Answers with
    /// the facts that say so.
    pub(crate) fn after_stop(&mut self, clean: bool, now_ms: u64) -> Vec<Fact> {
        let applied = self.applied;
        let mut facts = Vec::new();
        for (number, target) in self.targets.iter_mut().enumerate().filter(|(_, target)| !target.ended) {
            facts.extend(target.suspects.after_stop(number as u16, clean, now_ms));
            if !clean {
                target.suspects.begin_trial(applied);
            }
        }
        facts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn i15_a_trial_is_as_long_as_records_were_in_flight_and_ends_with_what_is_newer() {
        let mut suspects = Suspects::default();
        suspects.set_in_flight_max(2);
        assert!(!suspects.goes_alone(0, true) && suspects.is_quiet());
        suspects.begin_trial(5);
        for offset in [0, 1] {
            assert!(suspects.goes_alone(offset, true));
            assert_eq!((suspects.suspicion(offset), suspects.left()), (Some(0), 2 - offset));
            suspects.pass(offset);
            suspects.pass(offset);
            assert_eq!(suspects.suspicion(offset), None);
        }
        assert!(!suspects.goes_alone(2, true) && suspects.is_quiet());
        suspects.begin_trial(5);
        assert!(suspects.goes_alone(7, false), "older ones may still come");
        assert_eq!(suspects.suspicion(7), None);
        assert!(!suspects.goes_alone(5, true));
    }

    #[test]
    fn i15_a_worker_that_does_not_say_how_many_it_takes_has_no_trial() {
        let mut suspects = Suspects::default();
        suspects.begin_trial(5);
        assert!(!suspects.goes_alone(0, true));
        suspects.count(1, 1);
        assert!(suspects.goes_alone(1, true) && !suspects.goes_alone(2, true));
    }

    #[test]
    fn i15_only_a_start_without_an_end_counts_and_what_is_known_reads_back() {
        let mut suspects = Suspects::default();
        suspects.start(3, Start { number: 2, at_ms: 70, spent: 1, first_spent_at_ms: Some(60) });
        suspects.start(4, Start { number: 1, at_ms: 80, spent: 0, first_spent_at_ms: None });
        suspects.end(4);
        suspects.count(3, 1);
        suspects.begin_trial(9);
        let mut writer = Writer::default();
        suspects.put(&mut writer);
        let read = Suspects::get(&mut Reader::new(&writer.0)).unwrap();
        assert_eq!(read, suspects);
        for length in 0..writer.0.len() {
            assert!(Suspects::get(&mut Reader::new(&writer.0[..length])).is_err());
        }
        let facts = read.after_stop(1, false, 100);
        let Fact::Later { offset: 3, due_ms: 100, spent: Some(spent), .. } = &facts[0] else { panic!("{facts:?}") };
        assert_eq!((spent.attempt.number, spent.spent, spent.first_spent_at_ms), (2, 2, 60));
        assert_eq!(facts[1..], [Fact::Crashed { target: 1, offset: 3, crashes: 2 }]);
        let facts = read.after_stop(1, true, 100);
        assert_eq!(facts, [Fact::Later { target: 1, offset: 3, due_ms: 100, change: 0, spent: None }]);
        suspects.moved(3, 12);
        assert_eq!((suspects.suspicion(12), suspects.is_started(3)), (Some(1), false));
        suspects.forget(12);
        assert_eq!((suspects.is_started(3), suspects.left()), (false, 0));
    }
}
