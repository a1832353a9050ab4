//! What must be found when a queue is opened again, after a close or a crash.
//!
//! In: a run whose process has ended. Out: the same run, going on; a panic where something does not hold.

use super::reference::{Reference, Stand, TARGETS, fits};
use super::run::{Run, target};
use std::collections::BTreeSet;
use walhost_core::Record;

impl Run {
    /// Opens again, and holds everything that is there against everything that may be.
    pub(super) fn come_back(&mut self) {
        self.world.disk.fail_syncs(0, 0);
        self.each(|run| {
            run.space.leases.clear();
            run.space.queue = None;
        });
        self.open_watched(|run| {
            run.world.open().unwrap();
            let report = run.world.embedded().report().clone();
            assert_eq!(report.lost, 0, "nothing was damaged, and something was lost: {report:?}");
            assert!(report.damage.is_empty(), "nothing was damaged: {report:?}");
            let orphans = run.world.embedded().orphans();
            run.each(|run| {
                let there = orphans.iter().any(|orphan| orphan.name.as_ref() == Some(&run.space.namespace()));
                if !there {
                    assert!(run.space.gone_maybe, "the namespace {} is gone", run.space.name);
                    run.space.reference = Reference::default();
                }
            });
            let known = |name: &Option<walhost_core::NamespaceName>| name.as_ref().is_some();
            assert!(orphans.iter().all(|orphan| known(&orphan.name)), "{orphans:?}");
            run.each(Run::take_up);
        });
        self.each(Run::look);
        self.snapshot_alone = true;
    }

    fn look(&mut self) {
        self.look_at_records();
        let (now_ms, queue, mut moved_back) = (self.now_ms(), self.queue(), Vec::new());
        for at in 0..self.space.reference.records.len() {
            let id = self.space.reference.records[at].id.clone();
            let found = self.world.wait(queue.find(&id)).unwrap();
            for (name, slot) in &mut self.space.reference.records[at].slots {
                let found = found.as_ref().and_then(|found| found.targets.get(&target(name)));
                let stands = std::iter::once(slot.now).chain(slot.maybe.iter().rev().copied());
                let fitting: Vec<Stand> = stands.filter(|stand| fits(stand, found, now_ms)).collect();
                let Some(stand) = fitting.first().copied() else {
                    panic!("{id} for {name}: found {found:?}, was {slot:?}");
                };
                // Of two that look alike it may be the one that blocks nobody; and who knows in which order a redrive
                // in doubt has put them.
                let redriven = matches!(slot.now, Stand::Dead | Stand::Expired | Stand::Purged);
                let floats =
                    redriven || fitting.iter().any(|stand| matches!(stand, Stand::Pending { timed: true, .. }));
                if stand != slot.now {
                    moved_back.push(format!("{id} for {name} is back at {stand:?}, was {:?}", slot.now));
                }
                slot.fix(match stand {
                    Stand::Pending { attempts, due_ms, .. } => Stand::Pending { attempts, due_ms, timed: floats },
                    other => other,
                });
            }
        }
        moved_back.into_iter().for_each(|note| self.note(|| note));
        self.look_at_letters();
        self.balance();
    }

    /// Every dead record has one letter, whole (I16, I3), and every letter a dead record.
    fn look_at_letters(&mut self) {
        let mut seen = BTreeSet::new();
        let queue = self.queue();
        for letter in self.full_letters() {
            let name = letter.target.as_str().to_owned();
            assert!(seen.insert((letter.record.clone(), name.clone())), "two dead letters: {letter:?}");
            let detail = self.world.wait(queue.dead_letter(&letter.id)).unwrap().expect("it is in the list");
            let known = self.space.reference.find(&letter.record).unwrap_or_else(|| panic!("{letter:?} of nobody"));
            assert_eq!(detail.record.value, known.value, "I3");
            let slot = known.slots.get_mut(name.as_str()).unwrap_or_else(|| panic!("{letter:?} of nobody"));
            assert_eq!(slot.now, Stand::Dead, "{letter:?}");
            slot.last = letter.last.number;
        }
        let dead: usize = TARGETS.iter().map(|name| self.space.reference.accounting(name).dead as usize).sum();
        assert_eq!(dead, seen.len(), "I16: a dead record without a letter");
    }

    /// What is at rest is what was appended (I3). Appends that were not answered are there whole, or not at all
    /// (I24).
    fn look_at_records(&mut self) {
        let (mut from, mut unknown) = (None::<String>, Vec::<Record>::new());
        let queue = self.queue();
        loop {
            let page = self.world.wait(queue.peek(from.as_deref(), 1_000)).unwrap();
            for record in page.items.into_iter().map(|peeked| peeked.record) {
                match self.space.reference.find(&record.id) {
                    Some(known) => assert_eq!(record.value, known.value, "I3"),
                    None => unknown.push(record),
                }
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        for doubt in std::mem::take(&mut self.space.reference.doubts) {
            let there: Vec<_> =
                unknown.extract_if(.., |record| doubt.values.iter().any(|value| record.value == *value)).collect();
            if there.is_empty() {
                self.ran.count("doubt was not there");
                continue;
            }
            assert_eq!(there.len(), doubt.values.len(), "I24: a batch is there whole, or not at all");
            let ids: Vec<_> = there.into_iter().map(|record| record.id).collect();
            self.ids.extend(ids.iter().cloned());
            self.space.reference.add(&ids, &doubt);
            self.ran.count("doubt was there");
        }
        assert!(unknown.is_empty(), "records that nobody appended: {unknown:?}");
    }
}
