//! What operators and producers do to records at rest in a run of the model.
//!
//! In: a run. Out: the same run, with what was done and found taken into the reference.

use super::reference::{Stand, TARGETS, fits};
use super::run::{Run, VISIBILITY_MS, target};
use walhost_core::Kind;
use walhost_core::inspect::{DeadLetterFilter, DeadLetterId};
use walhost_core::queue::LeaseRequest;

impl Run {
    pub(super) fn cancel(&mut self) {
        let Some(id) = self.any_id() else { return };
        self.settle_expiry();
        let queue = self.queue();
        match self.world.wait(queue.cancel(&id)) {
            Ok(_) => {
                self.change_waiting(&id, true, |_| Stand::Cancelled);
                self.ran.count("cancel");
            }
            Err(error) if matches!(error.kind(), Kind::TooLate | Kind::NotFound) => {
                assert_eq!(self.change_waiting(&id, true, |stand| stand), 0, "{error}");
            }
            // Applied in memory, perhaps, and not known to be durable.
            Err(_) => self.look(&id),
        }
    }

    pub(super) fn reschedule(&mut self) {
        let Some(id) = self.any_id() else { return };
        self.settle_expiry();
        let due_ms = self.now_ms() + self.random.below(60_000);
        let moved = |stand| match stand {
            Stand::Pending { attempts, .. } => Stand::Pending { attempts, due_ms },
            other => other,
        };
        let queue = self.queue();
        match self.world.wait(queue.reschedule(&id, due_ms)) {
            Ok(_) => {
                self.change_waiting(&id, true, moved);
                self.ran.count("reschedule");
            }
            Err(error) if matches!(error.kind(), Kind::TooLate | Kind::NotFound) => {}
            Err(_) => {
                let known = self.reference.find(&id).unwrap();
                known.slots.values_mut().for_each(|slot| slot.maybe.push(moved(slot.now)));
                self.look_with(&id, moved);
            }
        }
    }

    /// Leases whose time is over are noticed by a lease call; cancelling looks at what was noticed.
    pub(super) fn settle_expiry(&mut self) {
        for name in TARGETS {
            let sub = self.sub(name);
            let none = LeaseRequest { records_max: 1, bytes_max: 1, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
            if let Ok(leases) = self.world.wait(sub.lease(none)) {
                for lease in leases {
                    self.check_lease(name, &lease);
                    self.leases.push((name, lease));
                }
            }
        }
    }

    /// Takes over what a call that failed has done in memory.
    pub(super) fn look(&mut self, id: &walhost_core::RecordId) {
        self.look_with(id, |_| Stand::Cancelled);
    }

    pub(super) fn look_with(&mut self, id: &walhost_core::RecordId, changed: impl Fn(Stand) -> Stand) {
        let now_ms = self.now_ms();
        let queue = self.queue();
        let Ok(Some(found)) = self.world.wait(queue.find(id)) else { return };
        for (name, slot) in &mut self.reference.find(id).unwrap().slots {
            let stand = changed(slot.now);
            if !fits(&slot.now, found.targets.get(&target(name)), now_ms)
                && fits(&stand, found.targets.get(&target(name)), now_ms)
            {
                slot.change(stand);
            }
        }
    }

    pub(super) fn letters(&mut self) -> Vec<(DeadLetterId, walhost_core::RecordId, String)> {
        let queue = self.queue();
        let page = self.world.wait(queue.dead_letters(&DeadLetterFilter::default(), None, 1_000)).unwrap();
        page.items.into_iter().map(|letter| (letter.id, letter.record, letter.target.as_str().to_owned())).collect()
    }

    pub(super) fn some_letters(&mut self) -> Vec<(DeadLetterId, walhost_core::RecordId, String)> {
        let mut letters = self.letters();
        letters.retain(|_| self.random.below(2) == 0);
        letters.truncate(5);
        letters
    }

    pub(super) fn redrive(&mut self) {
        let letters = self.some_letters();
        let mut ids: Vec<_> = letters.iter().map(|(id, ..)| id.clone()).collect();
        ids.extend(ids.clone());
        let queue = self.queue();
        let moved = self.world.wait(queue.redrive(&ids));
        let left = self.letters();
        for (id, record, name) in &letters {
            let now_ms = self.now_ms();
            let slot = self.reference.find(record).unwrap().slots.get_mut(name.as_str()).unwrap();
            let attempts = slot.last;
            let pending = Stand::Pending { attempts, due_ms: now_ms };
            if left.iter().any(|(still, ..)| still == id) {
                assert!(moved.is_err() || moved.as_ref().is_ok_and(|moved| (*moved as usize) < letters.len()));
                slot.maybe.push(pending);
            } else {
                slot.fix(pending);
                self.ran.count("redrive");
            }
        }
        if let Ok(moved) = moved {
            assert!(moved as usize <= letters.len(), "I17: each is moved once");
        }
    }

    pub(super) fn purge(&mut self) {
        let letters = self.some_letters();
        let ids: Vec<_> = letters.iter().map(|(id, ..)| id.clone()).collect();
        let queue = self.queue();
        let purged = self.world.wait(queue.purge(&ids));
        let left = self.letters();
        for (id, record, name) in &letters {
            let slot = self.reference.find(record).unwrap().slots.get_mut(name.as_str()).unwrap();
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
}
