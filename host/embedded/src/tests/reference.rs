//! What must be true, in the plainest form: records, and where each stands for each target.
//!
//! In: what was done and what was answered. Out: what may be found, and what must.

use std::collections::{BTreeMap, HashMap};
use walhost_core::RecordId;
use walhost_core::inspect::{State, TargetState};
use walhost_core::queue::Accounting;

pub(super) const TARGETS: [&str; 2] = ["a", "b"];
/// Distance between two places in a key's order: records that float come in between.
const ORDER_STEP: u64 = 1 << 20;

/// Where a record stands for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// `timed`: it waits for a time of its own, and blocks nobody until then.
    Pending {
        attempts: u32,
        due_ms: u64,
        timed: bool,
    },
    Delivered,
    Filtered,
    Cancelled,
    Dead,
    Purged,
    Expired,
}

impl Stand {
    pub(super) fn is_pending(self) -> bool {
        matches!(self, Stand::Pending { .. })
    }
}

/// A stand, and all those that a crash may bring back.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub now: Stand,
    pub maybe: Vec<Stand>,
    /// Until when it is leased, in milliseconds of the simulated time; 0: it is not.
    pub leased_until_ms: u64,
    /// It was handed out since the last open, is not terminal, and holds its key.
    pub started: bool,
    /// The newest lease.
    pub token: u64,
    /// Number of the attempt with which it died last.
    pub last: u32,
    /// Its place in the order of its key.
    pub order: u64,
    /// It has come back from the dead letters.
    pub redriven: bool,
    /// It is dead, and had a time of its own when it followed its key: nobody saw where it stood in the order.
    pub floats: bool,
}

impl Slot {
    /// It stands there now; a crash may undo that.
    pub(super) fn change(&mut self, stand: Stand) {
        if !self.maybe.contains(&self.now) {
            self.maybe.push(self.now);
        }
        self.stands(stand);
    }

    /// It stands there now, durably.
    pub(super) fn fix(&mut self, stand: Stand) {
        self.maybe.clear();
        self.stands(stand);
        self.started = false;
    }

    /// A crash may find it there.
    pub(super) fn may(&mut self, stand: Stand) {
        self.maybe.push(stand);
    }

    fn stands(&mut self, stand: Stand) {
        let floats = matches!(self.now, Stand::Pending { timed: true, .. }) && !self.started;
        self.floats = stand == Stand::Dead && (floats || self.floats);
        self.redriven &= stand.is_pending();
        self.redriven |= self.now == Stand::Dead && stand.is_pending();
        self.started &= matches!(stand, Stand::Pending { timed: false, .. });
        self.now = stand;
        self.leased_until_ms = 0;
    }

    /// True when a later record of the key must wait for it.
    pub(super) fn blocks(&self) -> bool {
        let forgotten = !super::spaces::HELD_KEYS_ARE_DURABLE && !self.order.is_multiple_of(ORDER_STEP);
        matches!(self.now, Stand::Pending { timed, .. } if self.started || !timed && !forgotten)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub id: RecordId,
    pub value: Vec<u8>,
    pub key: Option<u8>,
    pub sequence: Option<u64>,
    pub slots: BTreeMap<&'static str, Slot>,
}

/// Appends of which nothing is known.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub values: Vec<Vec<u8>>,
    pub keys: Vec<Option<u8>>,
    pub only: Option<&'static str>,
    pub due_ms: u64,
    pub timed: bool,
    pub idempotency: Option<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub records: Vec<Known>,
    places: HashMap<RecordId, usize>,
    pub doubts: Vec<Doubt>,
    /// Idempotency keys that are known: the first record and how many.
    pub keys: BTreeMap<u8, (usize, usize)>,
    next_order: u64,
}

impl Reference {
    pub(super) fn add(&mut self, ids: &[RecordId], doubt: &Doubt) {
        if let Some(key) = doubt.idempotency {
            self.keys.insert(key, (self.records.len(), ids.len()));
        }
        for (place, (id, value)) in ids.iter().zip(&doubt.values).enumerate() {
            let slot = Slot {
                now: Stand::Pending { attempts: 0, due_ms: doubt.due_ms, timed: doubt.timed },
                maybe: Vec::new(),
                leased_until_ms: 0,
                started: false,
                token: 0,
                last: 0,
                order: self.order(),
                redriven: false,
                floats: false,
            };
            let meant = TARGETS.into_iter().filter(|target| doubt.only.is_none_or(|only| only == *target));
            let slots = meant.map(|target| (target, slot.clone())).collect();
            self.places.insert(id.clone(), self.records.len());
            let (key, value) = (doubt.keys[place], value.clone());
            self.records.push(Known { id: id.clone(), value, key, sequence: None, slots });
        }
    }

    /// The next place in the order of keys.
    pub(super) fn order(&mut self) -> u64 {
        self.next_order += ORDER_STEP;
        self.next_order
    }

    pub(super) fn find(&mut self, id: &RecordId) -> Option<&mut Known> {
        self.places.get(id).map(|at| &mut self.records[*at])
    }

    pub(super) fn slot(&mut self, id: &RecordId, target: &str) -> Option<&mut Slot> {
        self.find(id)?.slots.get_mut(target)
    }

    /// All slots of a target whose records have this key.
    pub(super) fn of_key<'a>(&'a self, key: u8, target: &'a str) -> impl Iterator<Item = (&'a RecordId, &'a Slot)> {
        let ours = self.records.iter().filter(move |known| known.key == Some(key));
        ours.filter_map(move |known| known.slots.get(target).map(|slot| (&known.id, slot)))
    }

    /// True when a dead letter of the key is there for the target.
    pub(super) fn is_parked(&self, key: u8, target: &str) -> bool {
        self.of_key(key, target).any(|(_, slot)| slot.now == Stand::Dead)
    }

    /// Everything is durable.
    pub(super) fn saved(&mut self) {
        for known in &mut self.records {
            known.slots.values_mut().for_each(|slot| slot.maybe.clear());
        }
    }

    pub(super) fn accounting(&self, target: &str) -> Accounting {
        let mut sum = Accounting::default();
        for slot in self.records.iter().filter_map(|known| known.slots.get(target)) {
            sum.accepted += 1;
            *match slot.now {
                Stand::Pending { .. } => &mut sum.pending,
                Stand::Delivered => &mut sum.delivered,
                Stand::Filtered => &mut sum.filtered,
                Stand::Cancelled => &mut sum.cancelled,
                Stand::Dead => &mut sum.dead,
                Stand::Purged => &mut sum.purged,
                Stand::Expired => &mut sum.expired,
            } += 1;
        }
        sum
    }
}

/// True when what was found is that stand.
pub(super) fn fits(stand: &Stand, found: Option<&TargetState>, now_ms: u64) -> bool {
    match (stand, found) {
        (Stand::Purged | Stand::Expired, None) => true,
        (Stand::Pending { attempts, due_ms, .. }, Some(found)) => {
            let waits = matches!(found.state, State::Scheduled | State::Retrying);
            let open = waits || matches!(found.state, State::Ready | State::InFlight | State::Held);
            let until_ms = found.due_ms.filter(|until_ms| waits && *until_ms > now_ms);
            let due = until_ms.map_or(*due_ms <= now_ms, |until_ms| until_ms == *due_ms);
            // The newest attempt counts: of several that were lost with a full disk an older one may be missing.
            open && due && found.attempts.last().map_or(0, |attempt| attempt.number) == *attempts
        }
        (Stand::Delivered, Some(found)) => found.state == State::Delivered,
        (Stand::Filtered, Some(found)) => found.state == State::Filtered,
        (Stand::Cancelled, Some(found)) => found.state == State::Cancelled,
        (Stand::Dead, Some(found)) => found.state == State::Dead,
        _ => false,
    }
}
