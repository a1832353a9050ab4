//! What operators and producers do to records at rest in a run of the model.
//!
//! In: a run. Out: the same run, with what was done and found taken into the reference.

use super::reference::{Stand, TARGETS, fits};
use super::run::{Run, VISIBILITY_MS, target};
use super::spaces::Space;
use walhost_core::backend::QueueBackend;
use walhost_core::inspect::{DeadLetter, DeadLetterFilter, DeadLetterId};
use walhost_core::queue::LeaseRequest;
use walhost_core::{Kind, RecordId};

/// A dead letter, its record, its target.
pub(super) type Letter = (DeadLetterId, RecordId, String);

impl Run {
    fn any_id(&mut self) -> Option<RecordId> {
        let records = &self.space.reference.records;
        // Mostly one of the newest: the older ones are finished.
        let newest = if self.random.below(4) > 0 { records.len().min(40) } else { records.len() };
        let at = self.random.below(newest as u64) as usize;
        records.get(records.len() - newest + at).map(|known| known.id.clone())
    }

    /// Changes every slot of the record that waits; answers how many those are.
    fn change_waiting(&mut self, id: &RecordId, stand: impl Fn(Stand) -> Stand) -> usize {
        let now_ms = self.now_ms();
        self.space.change_waiting(id, now_ms, |slot, now| slot.fix(stand(now)))
    }

    pub(super) fn cancel(&mut self) {
        let Some(id) = self.any_id() else { return };
        self.settle_expiry();
        let (queue, now_ms) = (self.queue(), self.now_ms());
        let may = |space: &mut Space| {
            space.change_waiting(&id, now_ms, |slot, _| slot.may(Stand::Cancelled));
        };
        let cancelled = self.watched("during: cancel", may, |run| run.world.wait(queue.cancel(&id)));
        self.note(|| format!("cancel {id} -> {cancelled:?}"));
        match cancelled {
            Ok(_) => {
                self.change_waiting(&id, |_| Stand::Cancelled);
                self.ran.count("cancel");
            }
            Err(error) if matches!(error.kind(), Kind::TooLate | Kind::NotFound) => {
                assert_eq!(self.change_waiting(&id, |stand| stand), 0, "{error}");
            }
            // Applied in memory, perhaps, and not known to be durable.
            Err(_) => self.look_with(&id, |_| Stand::Cancelled),
        }
    }

    pub(super) fn reschedule(&mut self) {
        let Some(id) = self.any_id() else { return };
        self.settle_expiry();
        let now_ms = self.now_ms();
        let due_ms = now_ms + self.random.below(60_000);
        let moved = |stand| match stand {
            Stand::Pending { attempts, .. } => Stand::Pending { attempts, due_ms, timed: true },
            other => other,
        };
        let queue = self.queue();
        let may = |space: &mut Space| {
            space.change_waiting(&id, now_ms, |slot, now| slot.may(moved(now)));
        };
        let answer = self.watched("during: reschedule", may, |run| run.world.wait(queue.reschedule(&id, due_ms)));
        self.note(|| format!("reschedule {id} to {due_ms} -> {answer:?}"));
        match answer {
            Ok(_) => {
                self.change_waiting(&id, moved);
                self.ran.count("reschedule");
            }
            Err(error) if matches!(error.kind(), Kind::TooLate | Kind::NotFound) => {}
            Err(_) => {
                let known = self.space.reference.find(&id).unwrap();
                known.slots.values_mut().for_each(|slot| slot.may(moved(slot.now)));
                self.look_with(&id, moved);
            }
        }
    }

    /// Leases whose time is over are noticed by a lease call; cancelling looks at what was noticed.
    fn settle_expiry(&mut self) {
        for name in TARGETS {
            let none = LeaseRequest { records_max: 1, bytes_max: 1, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
            for lease in self.take(name, none).unwrap_or_default() {
                self.space.leases.push((name, lease));
            }
        }
    }

    /// Takes over what a call that failed has done in memory.
    fn look_with(&mut self, id: &RecordId, changed: impl Fn(Stand) -> Stand) {
        let now_ms = self.now_ms();
        let queue = self.queue();
        let Ok(Some(found)) = self.world.wait(queue.find(id)) else { return };
        for (name, slot) in &mut self.space.reference.find(id).unwrap().slots {
            let stand = changed(slot.now);
            if !fits(&slot.now, found.targets.get(&target(name)), now_ms)
                && fits(&stand, found.targets.get(&target(name)), now_ms)
            {
                slot.change(stand);
            }
        }
    }

    pub(super) fn full_letters(&mut self) -> Vec<DeadLetter> {
        let queue = self.queue();
        self.world.wait(queue.dead_letters(&DeadLetterFilter::default(), None, 1_000)).unwrap().items
    }

    pub(super) fn letters(&mut self) -> Vec<Letter> {
        let letters = self.full_letters().into_iter();
        letters.map(|letter| (letter.id, letter.record, letter.target.as_str().to_owned())).collect()
    }

    fn some_letters(&mut self) -> Vec<Letter> {
        let mut letters = self.letters();
        letters.retain(|_| self.random.below(2) == 0);
        letters.truncate(5);
        letters
    }

    /// The letters, and those that park one of their keys.
    fn together(&mut self, letters: &[Letter]) -> Vec<Letter> {
        let mut all = self.letters();
        let space = &mut self.space;
        let mut key_of = |(_, record, name): &Letter| {
            let key = space.reference.find(record).and_then(|known| known.key);
            key.filter(|_| space.parks && name == "b")
        };
        let keys: Vec<_> = letters.iter().filter_map(&mut key_of).collect();
        all.retain(|letter| letters.contains(letter) || key_of(letter).is_some_and(|key| keys.contains(&key)));
        all
    }

    pub(super) fn redrive(&mut self) {
        let asked = self.some_letters();
        self.redrive_those(&asked);
    }

    pub(super) fn redrive_all(&mut self) {
        let asked = self.letters();
        self.redrive_those(&asked);
    }

    fn redrive_those(&mut self, asked: &[Letter]) {
        let letters = self.together(asked);
        let mut ids: Vec<_> = asked.iter().map(|(id, ..)| id.clone()).collect();
        ids.extend(ids.clone());
        let (queue, now_ms) = (self.queue(), self.now_ms());
        let may = |space: &mut Space| {
            for (_, record, name) in &letters {
                let slot = space.reference.slot(record, name).unwrap();
                slot.may(Stand::Pending { attempts: slot.last, due_ms: now_ms, timed: slot.floats });
            }
        };
        let moved = self.watched("during: redrive", may, |run| run.world.wait(queue.redrive(&ids)));
        let left = self.letters();
        self.note(|| format!("redrive {letters:?} -> {moved:?}, left {left:?}"));
        for (id, record, name) in &letters {
            let now_ms = self.now_ms();
            let parks = self.space.parks(name);
            let order = self.space.reference.order();
            let slot = self.space.reference.slot(record, name).unwrap();
            let pending = Stand::Pending { attempts: slot.last, due_ms: now_ms, timed: slot.floats };
            if left.iter().any(|(still, ..)| still == id) {
                assert!(moved.is_err() || moved.as_ref().is_ok_and(|moved| (*moved as usize) < letters.len()));
                slot.may(pending);
                continue;
            }
            slot.fix(pending);
            // It goes to the end of its key's order; a parked key goes back whole, before its later records.
            if !(parks && super::spaces::PARKED_KEYS_GO_FIRST) {
                slot.order = order;
            }
            self.ran.count("redrive");
        }
        if let Ok(moved) = moved {
            assert!(moved as usize <= letters.len(), "I17: each is moved once");
            if letters.len() > asked.len() {
                self.ran.count("redrive of a key");
            }
        }
    }

    pub(super) fn purge(&mut self) {
        let letters = self.some_letters();
        let ids: Vec<_> = letters.iter().map(|(id, ..)| id.clone()).collect();
        let queue = self.queue();
        let may = |space: &mut Space| {
            for (_, record, name) in &letters {
                space.reference.slot(record, name).unwrap().may(Stand::Purged);
            }
        };
        let purged = self.watched("during: purge", may, |run| run.world.wait(queue.purge(&ids)));
        let left = self.letters();
        for (id, record, name) in &letters {
            let slot = self.space.reference.slot(record, name).unwrap();
            if left.iter().any(|(still, ..)| still == id) {
                assert!(purged.is_err());
            } else if purged.is_ok() {
                slot.fix(Stand::Purged);
                self.ran.count("purge");
            } else {
                slot.change(Stand::Purged);
            }
        }
    }

    /// A namespace goes, and one with its name comes.
    pub(super) fn remove(&mut self) {
        while !self.space.comes_and_goes {
            self.turn();
        }
        self.world.disk.fail_syncs(0, 0);
        let (embedded, name) = (self.world.embedded(), self.space.namespace());
        let may = |space: &mut Space| space.gone_maybe = true;
        let removed =
            self.watched("during: removal", may, |run| run.world.wait(QueueBackend::remove(&*embedded, &name)));
        self.note(|| format!("removed: {removed:?}"));
        if removed.is_err() {
            self.space.gone_maybe = true;
            return;
        }
        self.ran.count("remove");
        self.space = Space { reference: super::reference::Reference::default(), ..self.space.copy() };
        self.space.gone_maybe = true;
        self.watched("during: making", |_| {}, Run::take_up);
    }
}

impl Space {
    /// Does something with every slot of the record that waits; answers how many those are.
    fn change_waiting(
        &mut self,
        id: &RecordId,
        now_ms: u64,
        mut change: impl FnMut(&mut super::reference::Slot, Stand),
    ) -> usize {
        let Some(known) = self.reference.find(id) else { return 0 };
        let waiting = known.slots.values_mut().filter(|slot| slot.now.is_pending() && slot.leased_until_ms <= now_ms);
        waiting.map(|slot| change(slot, slot.now)).count()
    }
}
