//! What must be true, in the plainest form: records, and where each stands for each target.
//!
//! In: what was done and what was answered. Out: what may be found, and what must.

use std::collections::BTreeMap;
use walhost_core::RecordId;
use walhost_core::inspect::{State, TargetState};
use walhost_core::queue::Accounting;

pub(super) const TARGETS: [&str; 2] = ["a", "b"];

/// Where a record stands for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Pending { attempts: u32, due_ms: u64 },
    Delivered,
    Filtered,
    Cancelled,
    Dead,
    Purged,
    Expired,
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
}

impl Slot {
    /// It stands there now; a crash may undo that.
    pub(super) fn change(&mut self, stand: Stand) {
        self.maybe.push(self.now);
        self.started &= matches!(stand, Stand::Pending { .. });
        self.now = stand;
        self.leased_until_ms = 0;
    }

    /// It stands there now, durably.
    pub(super) fn fix(&mut self, stand: Stand) {
        self.maybe.clear();
        self.now = stand;
        self.leased_until_ms = 0;
        self.started = false;
    }
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub id: RecordId,
    pub value: Vec<u8>,
    pub keyed: bool,
    pub sequence: Option<u64>,
    pub slots: BTreeMap<&'static str, Slot>,
}

/// Appends of which nothing is known.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub values: Vec<Vec<u8>>,
    pub only: Option<&'static str>,
    pub due_ms: u64,
    pub key: Option<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    pub records: Vec<Known>,
    pub doubts: Vec<Doubt>,
    /// Idempotency keys that are known: the first record and how many.
    pub keys: BTreeMap<u8, (usize, usize)>,
}

impl Reference {
    pub(super) fn add(&mut self, ids: &[RecordId], doubt: &Doubt) {
        if let Some(key) = doubt.key {
            self.keys.insert(key, (self.records.len(), ids.len()));
        }
        for (place, (id, value)) in ids.iter().zip(&doubt.values).enumerate() {
            let slot = Slot {
                now: Stand::Pending { attempts: 0, due_ms: doubt.due_ms },
                maybe: Vec::new(),
                leased_until_ms: 0,
                started: false,
                token: 0,
                last: 0,
            };
            let meant = TARGETS.into_iter().filter(|target| doubt.only.is_none_or(|only| only == *target));
            let slots = meant.map(|target| (target, slot.clone())).collect();
            self.records.push(Known {
                id: id.clone(),
                value: value.clone(),
                keyed: place % 2 == 0,
                sequence: None,
                slots,
            });
        }
    }

    pub(super) fn find(&mut self, id: &RecordId) -> Option<&mut Known> {
        self.records.iter_mut().find(|known| known.id == *id)
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
        (Stand::Pending { attempts, due_ms }, Some(found)) => {
            let waits = matches!(found.state, State::Scheduled | State::Retrying);
            let open = waits || matches!(found.state, State::Ready | State::InFlight | State::Held);
            let due = *due_ms <= now_ms || (waits && found.due_ms == Some(*due_ms));
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
