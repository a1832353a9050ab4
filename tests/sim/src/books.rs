//! The books of one (namespace, target): what was accepted, what arrived, and what must hold between them.
//!
//! In: receipts, arrivals, the queue's counters. Out: a panic with the promise that does not hold.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use walhost_core::queue::Accounting;
use walhost_core::{Record, RecordId};

/// One accepted record.
#[derive(Debug)]
struct Entered {
    key: Option<Bytes>,
    value: Bytes,
    /// Its place in the order of acceptance.
    place: usize,
    /// When it is due at the earliest, in milliseconds of the time of day; 0: at once.
    due_ms: u64,
    arrivals: u32,
}

/// All of one target.
#[derive(Debug, Default)]
pub struct Books {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    entered: HashMap<RecordId, Entered>,
    /// Places of first arrivals, by key.
    by_key: BTreeMap<Bytes, Vec<usize>>,
    /// When records arrived lately.
    lately: Vec<Duration>,
    duplicates: u64,
    /// Duplicates that crashes so far may explain (I13).
    excused: u64,
    arrived: u64,
    broken: Vec<String>,
    /// How far the time of day was set back so far, in milliseconds.
    set_back_ms: u64,
}

impl Books {
    /// A receipt names it.
    pub fn accepted(&self, id: &RecordId, key: Option<Bytes>, value: Bytes, due_ms: u64) {
        let mut pages = self.pages.lock();
        let place = pages.entered.len();
        let entered = Entered { key, value, place, due_ms, arrivals: 0 };
        if pages.entered.insert(id.clone(), entered).is_some() {
            pages.broken.push(format!("{id} was given twice"));
        }
    }

    /// It has another time from now on: it may come sooner.
    pub fn rescheduled(&self, id: &RecordId, due_ms: u64) {
        if let Some(entered) = self.pages.lock().entered.get_mut(id) {
            entered.due_ms = due_ms;
        }
    }

    /// The time of day is set back: what was handed out before may arrive at one at which it is not due.
    pub fn forgive_early(&self, by_ms: u64) {
        self.pages.lock().set_back_ms += by_ms;
    }

    /// The destination has it.
    pub fn arrived(&self, record: &Record, at: Duration, now_ms: u64) {
        let mut pages = self.pages.lock();
        let pages = &mut *pages;
        let Some(entered) = pages.entered.get_mut(&record.id) else {
            pages.broken.push(format!("{} arrived and was never accepted", record.id));
            return;
        };
        if entered.value != record.value || entered.key != record.key {
            pages.broken.push(format!("I3: {} arrived with other bytes", record.id));
        }
        if now_ms + pages.set_back_ms < entered.due_ms {
            pages.broken.push(format!("I20: {} arrived at {now_ms}, due at {}", record.id, entered.due_ms));
        }
        entered.arrivals += 1;
        if entered.arrivals > 1 {
            pages.duplicates += 1;
        } else {
            pages.arrived += 1;
            if let Some(key) = &entered.key {
                pages.by_key.entry(key.clone()).or_default().push(entered.place);
            }
        }
        pages.lately.push(at);
    }

    /// The process ends without saving: what arrived in the last moments, and what is in flight, may come again.
    pub fn crashed(&self, at: Duration, in_flight: u64) {
        let mut pages = self.pages.lock();
        // 50 ms of settlements, and the step of simulated time in which the log is asked to write them.
        let since = at.saturating_sub(Duration::from_millis(150));
        pages.excused += in_flight + pages.lately.iter().filter(|arrival| **arrival >= since).count() as u64;
        pages.lately.clear();
    }

    /// I12, I13 and what was noticed on the way.
    pub fn check(&self, whose: &str, counters: &Accounting) {
        let mut pages = self.pages.lock();
        assert!(pages.broken.is_empty(), "{whose}: {:?}", pages.broken);
        assert!(counters.balances(), "I12: {whose}: {counters:?}");
        assert_eq!(counters.accepted, pages.entered.len() as u64, "I12: {whose}: {counters:?}");
        assert!(counters.delivered <= pages.arrived, "{whose}: settled as delivered, and never arrived: {counters:?}");
        assert!(
            pages.duplicates <= pages.excused,
            "I13: {whose}: {} duplicates, {} may be",
            pages.duplicates,
            pages.excused
        );
        let count = pages.lately.len();
        if count > 20_000 {
            pages.lately.drain(..count - 10_000);
        }
    }

    /// After all has drained: what did not arrive is accounted for by name of its end.
    pub fn check_end(&self, whose: &str, counters: &Accounting) {
        self.check(whose, counters);
        let pages = self.pages.lock();
        let missing = pages.entered.len() as u64 - pages.arrived;
        let ended = counters.dead + counters.filtered + counters.purged + counters.expired + counters.cancelled;
        assert_eq!(counters.pending, 0, "{whose} has not drained: {counters:?}");
        assert!(missing <= ended, "{whose}: {missing} never arrived, {ended} have another end: {counters:?}");
    }

    /// I19: of every key the first arrivals are in the order of acceptance.
    pub fn check_order(&self, whose: &str) {
        let pages = self.pages.lock();
        for (key, places) in &pages.by_key {
            assert!(places.is_sorted(), "I19: {whose}: {key:?} arrived out of order");
        }
    }

    /// Different records that arrived, and duplicates.
    pub fn counts(&self) -> (u64, u64) {
        let pages = self.pages.lock();
        (pages.arrived, pages.duplicates)
    }
}
