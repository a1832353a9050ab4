//! What delivery does in a run of the model: leases and settlements.
//!
//! In: a run. Out: the same run, with what was handed out and settled taken into the reference.

use super::reference::{Stand, TARGETS};
use super::run::{Run, VISIBILITY_MS};
use super::spaces::Space;
use walhost_core::queue::{Done, Lease, LeaseRequest, Settlement};
use walhost_core::{Attempt, Clock, VerdictKind};

impl Run {
    pub(super) fn lease(&mut self) {
        let name = TARGETS[self.random.below(2) as usize];
        let request = LeaseRequest {
            records_max: 1 + self.random.below(12) as usize,
            bytes_max: 3_000,
            visibility_ms: VISIBILITY_MS,
            wait_ms: 0,
        };
        let Some(leases) = self.take(name, request) else { return };
        self.ran.count("lease");
        for lease in leases {
            self.space.leases.push((name, lease));
        }
    }

    /// Leases, checks what came, and notices who followed a parked key.
    pub(super) fn take(&mut self, name: &'static str, request: LeaseRequest) -> Option<Vec<Lease>> {
        let sub = self.sub(name);
        let leased = self.watched("during: lease", Space::may_follow, |run| {
            let leased = run.world.wait(sub.lease(request));
            run.world.step();
            leased
        });
        let leases = leased.ok()?;
        for lease in &leases {
            self.note(|| format!("lease {name} {:?} {:?}", lease.token, lease.record.id));
            self.check_lease(name, lease);
        }
        self.followed();
        Some(leases)
    }

    pub(super) fn check_lease(&mut self, name: &'static str, lease: &Lease) {
        let now_ms = self.world.clock.now_ms();
        let reference = &mut self.space.reference;
        let fresh = reference.order();
        let id = &lease.record.id;
        let known = reference.find(id).unwrap_or_else(|| panic!("{id:?} was never acknowledged"));
        assert_eq!(lease.record.value, known.value, "I3");
        let sequence = *known.sequence.get_or_insert(lease.record.sequence);
        assert_eq!(lease.record.sequence, sequence, "a sequence never changes");
        let key = known.key;
        let slot = known.slots.get_mut(name).unwrap_or_else(|| panic!("not meant for {name}"));
        let Stand::Pending { attempts, due_ms, timed } = slot.now else {
            panic!("{id:?} was handed out again: {slot:?}")
        };
        assert!(now_ms >= due_ms, "I20: due at {due_ms}, handed out at {now_ms}");
        assert!(slot.leased_until_ms <= now_ms, "leased twice");
        assert_eq!(lease.record.attempt, attempts + 1);
        (slot.token, slot.leased_until_ms) = (lease.token.0, now_ms + VISIBILITY_MS);
        let (floats, order) = (timed && !slot.started, slot.order);
        slot.started = true;
        let (Some(key), true) = (key, self.space.ordered) else { return };
        if floats {
            // Its place in the order is where it started.
            let first = reference.of_key(key, name).filter(|(other, slot)| *other != id && slot.blocks());
            let first = first.map(|(_, slot)| slot.order).min();
            reference.slot(id, name).unwrap().order = first.map_or(fresh, |first| first - 1);
        }
        let redriven = reference.slot(id, name).unwrap().redriven;
        let excused = redriven && !super::spaces::KEYS_ARE_PARKED_AGAIN;
        let holder = reference.of_key(key, name).find(|(other, slot)| {
            let before = !floats && slot.blocks() && slot.order < order && !(excused && slot.redriven);
            *other != id && slot.now.is_pending() && (slot.started || before)
        });
        assert!(holder.is_none(), "I19: {id:?} was handed out behind an open record of its key, {holder:?}");
        let parked = self.space.parks(name) && self.space.reference.is_parked(key, name) && !excused;
        assert!(!parked, "I19: {id:?} was handed out though its key is parked");
        self.ran.count("in order");
    }

    /// Notices records that have followed their parked key into the dead letters. Answers how many.
    pub(super) fn followed(&mut self) -> usize {
        if !self.space.parks {
            return 0;
        }
        let mut followed = 0;
        for letter in self.full_letters() {
            let (name, number) = (letter.target.as_str().to_owned(), letter.last.number);
            let reference = &mut self.space.reference;
            if !reference.slot(&letter.record, &name).is_some_and(|slot| slot.now.is_pending()) {
                continue;
            }
            let key = reference.find(&letter.record).unwrap().key;
            assert_eq!(letter.last.code, "key-parked", "{letter:?} died by itself");
            assert!(key.is_some_and(|key| reference.is_parked(key, &name)), "{letter:?} followed nobody");
            let slot = reference.slot(&letter.record, &name).unwrap();
            slot.fix(Stand::Dead);
            slot.last = number;
            followed += 1;
        }
        self.ran.count_many("followed a parked key", followed as u64);
        followed
    }

    pub(super) fn attempt(&self, lease: &Lease, verdict: VerdictKind) -> Attempt {
        let number = lease.record.attempt;
        Attempt { number, at_ms: self.now_ms(), verdict, code: "code".into(), message: "words".into(), digest: None }
    }

    pub(super) fn settle(&mut self) {
        let name = TARGETS[self.random.below(2) as usize];
        let mut call = Vec::new();
        let mut stands = Vec::new();
        let now_ms = self.now_ms();
        let mut dies = false;
        for (whose, lease) in std::mem::take(&mut self.space.leases) {
            if whose != name || self.random.below(4) == 0 {
                self.space.leases.push((whose, lease));
                continue;
            }
            let slot = self.space.reference.slot(&lease.record.id, name).map(|slot| slot.clone());
            let alive = slot.is_some_and(|slot| slot.token == lease.token.0 && slot.leased_until_ms > now_ms);
            let attempts = lease.record.attempt;
            let long = self.random.below(5) == 0;
            let due_ms = now_ms + self.random.below(if long { 150_000 } else { 3_000 });
            let (settlement, stand, what) = match self.random.below(10) {
                0..4 => {
                    let attempt = Some(self.attempt(&lease, VerdictKind::Delivered));
                    (Settlement::Done { outcome: Done::Delivered, attempt }, Stand::Delivered, "delivered")
                }
                4 => (Settlement::Done { outcome: Done::Filtered, attempt: None }, Stand::Filtered, "filtered"),
                5 | 6 => {
                    let spent = Some(self.attempt(&lease, VerdictKind::Retry));
                    let stand = Stand::Pending { attempts, due_ms, timed: false };
                    (Settlement::Later { due_ms, spent }, stand, if long { "long later" } else { "later" })
                }
                7 => (
                    Settlement::Later { due_ms, spent: None },
                    Stand::Pending { attempts: attempts - 1, due_ms, timed: false },
                    "held",
                ),
                _ => {
                    let attempt = self.attempt(&lease, VerdictKind::Reject);
                    (Settlement::Dead { attempt, exhausted: None }, Stand::Dead, "dead")
                }
            };
            call.push((lease.token, settlement));
            if alive {
                dies |= stand == Stand::Dead;
                stands.push((lease, stand, what));
            } else {
                self.ran.count("lease ended");
            }
        }
        let sub = self.sub(name);
        let alive: Vec<_> = stands.iter().map(|(lease, ..)| lease.record.id.clone()).collect();
        let noted = format!("settle {name} {call:?} alive {alive:?}");
        let may: Vec<_> = stands.iter().map(|(lease, stand, _)| (lease.record.id.clone(), *stand)).collect();
        let may = |space: &mut Space| {
            for (id, stand) in &may {
                space.reference.slot(id, name).unwrap().may(*stand);
            }
        };
        let what = if dies { "during: dead letters" } else { "during: settle" };
        let settled = self.watched(what, may, |run| run.world.wait(sub.settle(call)));
        self.note(|| format!("{noted} -> {settled:?}"));
        for (lease, stand, what) in stands {
            let slot = self.space.reference.slot(&lease.record.id, name).unwrap();
            if stand == Stand::Dead {
                slot.last = lease.record.attempt;
            }
            match (&settled, stand) {
                (Ok(()), Stand::Dead) => slot.fix(stand),
                (Ok(()), _) => slot.change(stand),
                // It was not settled; what is on disk is another question.
                (Err(_), _) => {
                    slot.may(stand);
                    self.space.leases.push((name, lease));
                    continue;
                }
            }
            self.ran.count(what);
        }
    }
}

impl Space {
    /// Records behind a parked key may have followed it.
    pub(super) fn may_follow(&mut self) {
        if !self.parks {
            return;
        }
        let parked: Vec<u8> = (0..8).filter(|key| self.reference.is_parked(*key, "b")).collect();
        for known in &mut self.reference.records {
            let Some(slot) = known.slots.get_mut("b").filter(|slot| slot.now.is_pending()) else { continue };
            if known.key.is_some_and(|key| parked.contains(&key)) {
                slot.may(Stand::Dead);
            }
        }
    }

    /// Dead letters whose retention is over may be gone.
    pub(super) fn may_expire(&mut self) {
        for known in &mut self.reference.records {
            for slot in known.slots.values_mut().filter(|slot| slot.now == Stand::Dead) {
                slot.may(Stand::Expired);
            }
        }
    }
}
