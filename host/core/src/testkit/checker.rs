//! Keeps the books of a run: what was accepted, what arrived, and what must hold between them (I12, I13, I19).
//!
//! In: ids as they are accepted, records as they are delivered, the queue's own counters. Out: the list of
//! violations, each a sentence.

use crate::queue::Accounting;
use crate::record::{Record, RecordId};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The books of one target.
#[derive(Debug, Default)]
pub struct Checker {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Key and place in the order of acceptance.
    accepted: BTreeMap<RecordId, (Option<Bytes>, usize)>,
    /// How often each one arrived.
    arrived: BTreeMap<RecordId, usize>,
    /// Of each key the places of first arrivals, as they came.
    by_key: HashMap<Bytes, Vec<usize>>,
    value_differs: BTreeSet<RecordId>,
    values: HashMap<RecordId, Bytes>,
}

/// What the books say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records accepted.
    pub accepted: usize,
    /// Different records that arrived.
    pub delivered: usize,
    /// Arrivals beyond the first of each record.
    pub duplicates: usize,
}

impl Checker {
    /// A record was accepted: its id is in a receipt.
    pub fn accepted(&self, id: &RecordId, key: Option<&Bytes>, value: &Bytes) {
        let mut books = self.books.lock();
        let place = books.accepted.len();
        books.accepted.insert(id.clone(), (key.cloned(), place));
        books.values.insert(id.clone(), value.clone());
    }

    /// A record was confirmed by the destination.
    pub fn delivered(&self, record: &Record) {
        let mut books = self.books.lock();
        if books.values.get(&record.id).is_some_and(|value| *value != record.value) {
            books.value_differs.insert(record.id.clone());
        }
        let arrivals = books.arrived.entry(record.id.clone()).or_default();
        *arrivals += 1;
        if *arrivals > 1 {
            return;
        }
        if let Some((Some(key), place)) = books.accepted.get(&record.id).cloned() {
            books.by_key.entry(key).or_default().push(place);
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        let books = self.books.lock();
        let arrivals: usize = books.arrived.values().sum();
        let delivered = books.arrived.len();
        Counts { accepted: books.accepted.len(), delivered, duplicates: arrivals - delivered }
    }

    /// What must hold at any time: nothing arrives that was not accepted or with another value; the queue's
    /// counters balance (I12), count what was accepted, and count as delivered only what has arrived.
    pub fn violations(&self, counters: &Accounting) -> Vec<String> {
        let books = self.books.lock();
        let mut violations = Vec::new();
        for id in books.arrived.keys().filter(|id| !books.accepted.contains_key(id)) {
            violations.push(format!("{id} arrived and was never accepted"));
        }
        for id in &books.value_differs {
            violations.push(format!("I3: {id} arrived with another value"));
        }
        if !counters.balances() {
            violations.push(format!("I12: the counters do not balance: {counters:?}"));
        }
        if counters.accepted != books.accepted.len() as u64 {
            violations.push(format!(
                "I12: {} were accepted, the queue counts {}",
                books.accepted.len(),
                counters.accepted
            ));
        }
        if counters.delivered > books.arrived.len() as u64 {
            let (counted, arrived) = (counters.delivered, books.arrived.len());
            violations.push(format!("{counted} are settled as delivered, and only {arrived} arrived: lost"));
        }
        violations
    }

    /// What must hold once everything is settled and nothing was filtered, cancelled or given up: all arrived.
    pub fn missing(&self) -> Vec<RecordId> {
        let books = self.books.lock();
        books.accepted.keys().filter(|id| !books.arrived.contains_key(id)).cloned().collect()
    }

    /// I19: keys whose records arrived out of the order of their acceptance.
    pub fn out_of_order(&self) -> Vec<Bytes> {
        let books = self.books.lock();
        let wrong = books.by_key.iter().filter(|(_, places)| !places.is_sorted());
        wrong.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, key: &'static str) -> Record {
        let key = Some(Bytes::from_static(key.as_bytes()));
        let (headers, value) = (crate::record::Headers::default(), Bytes::from_static(b"v"));
        Record { id: RecordId::new(id), sequence: 1, appended_at_ms: 0, attempt: 1, key, headers, value }
    }

    #[test]
    fn the_checker_finds_what_is_wrong_and_nothing_else() {
        let checker = Checker::default();
        for id in ["1", "2", "3"] {
            let record = record(id, "k");
            checker.accepted(&record.id, record.key.as_ref(), &record.value);
        }
        checker.delivered(&record("1", "k"));
        let good = Accounting { accepted: 3, delivered: 1, pending: 2, ..Accounting::default() };
        assert!(checker.violations(&good).is_empty());
        let early = Accounting { accepted: 3, delivered: 2, pending: 1, ..Accounting::default() };
        assert!(checker.violations(&early)[0].contains("lost"));
        assert!(checker.violations(&Accounting { pending: 1, ..good })[0].contains("I12"));
        assert_eq!(checker.missing().len(), 2);
        checker.delivered(&record("3", "k"));
        checker.delivered(&record("3", "k"));
        assert!(checker.out_of_order().is_empty());
        checker.delivered(&record("2", "k"));
        assert_eq!((checker.out_of_order().len(), checker.counts().duplicates), (1, 1));
        checker.delivered(&Record { value: Bytes::from_static(b"w"), ..record("9", "k") });
        assert!(checker.violations(&good)[0].contains("never accepted"));
    }
}
