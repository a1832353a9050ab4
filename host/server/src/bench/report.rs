//! What a run has shown.
//!
//! In: acknowledgements, refusals, deliveries. Out: numbers, as a table and as JSON.

use super::{BenchArguments, RECORDS_MAX};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Longest latency that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// A set of record numbers.
#[derive(Default)]
struct Numbers {
    words: Vec<u64>,
    count: u64,
}

impl Numbers {
    /// Adds a number; false when it was there.
    fn add(&mut self, number: u64) -> bool {
        if number >= RECORDS_MAX {
            return false;
        }
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// How many of these are not in the other.
    fn without(&self, other: &Numbers) -> u64 {
        let of = |place: usize| other.words.get(place).copied().unwrap_or(0);
        self.words.iter().enumerate().map(|(place, word)| u64::from((word & !of(place)).count_ones())).sum()
    }
}

/// Counted while the run goes on.
pub struct Counts {
    acknowledgement: Histogram<u64>,
    delivery: Histogram<u64>,
    receives: bool,
    acknowledged: Numbers,
    delivered: Numbers,
    duplicated: u64,
    requests: u64,
    refused: BTreeMap<String, u64>,
}

impl Counts {
    /// Of nothing so far.
    pub fn new(receives: bool) -> anyhow::Result<Counts> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(|error| anyhow::anyhow!("{error}"));
        Ok(Counts {
            acknowledgement: histogram()?,
            delivery: histogram()?,
            receives,
            acknowledged: Numbers::default(),
            delivered: Numbers::default(),
            duplicated: 0,
            requests: 0,
            refused: BTreeMap::new(),
        })
    }

    /// One request was.
    pub fn acknowledged(&mut self, first: u64, count: u64, took_us: u64) {
        self.requests += 1;
        self.acknowledgement.saturating_record(took_us);
        for number in first..first + count {
            self.acknowledged.add(number);
        }
    }

    /// One request of so many records was not.
    pub fn refused(&mut self, code: &str, records: u64) {
        *self.refused.entry(code.to_owned()).or_default() += records;
    }

    /// One record was.
    pub fn delivered(&mut self, number: u64, took_us: u64) {
        if self.delivered.add(number) {
            self.delivery.saturating_record(took_us);
        } else {
            self.duplicated += 1;
        }
    }

    /// Acknowledged and not delivered.
    pub fn missing(&self) -> u64 {
        self.acknowledged.without(&self.delivered)
    }
}

/// Quantiles of a histogram, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Latency {
    half: u64,
    most: u64,
    nearly_all: u64,
    worst: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latency { half: at(0.5), most: at(0.99), nearly_all: at(0.999), worst: histogram.max() }
    }

    fn json(self) -> Value {
        json!({ "p50_us": self.half, "p99_us": self.most, "p999_us": self.nearly_all, "max_us": self.worst })
    }

    fn line(self, name: &str) -> String {
        let ms = |us: u64| format!("{:.3}", us as f64 / 1_000.0);
        let (half, most, nearly_all, worst) = (ms(self.half), ms(self.most), ms(self.nearly_all), ms(self.worst));
        format!("{name:16} p50 {half:>10} ms   p99 {most:>10} ms   p99.9 {nearly_all:>10} ms   max {worst:>10} ms\n")
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    asked: BenchArguments,
    sent_us: u64,
    requests: u64,
    acknowledged: u64,
    refused: BTreeMap<String, u64>,
    acknowledgement: Latency,
    delivery: Option<Latency>,
    delivered: u64,
    missing: u64,
    duplicated: u64,
    unconfirmed: u64,
}

impl Report {
    pub(super) fn new(arguments: &BenchArguments, counts: &Counts, sent_us: u64) -> Report {
        Report {
            asked: arguments.clone(),
            sent_us,
            requests: counts.requests,
            acknowledged: counts.acknowledged.count,
            refused: counts.refused.clone(),
            acknowledgement: Latency::of(&counts.acknowledgement),
            delivery: counts.receives.then(|| Latency::of(&counts.delivery)),
            delivered: counts.delivered.count,
            missing: counts.missing(),
            duplicated: counts.duplicated,
            unconfirmed: counts.delivered.without(&counts.acknowledged),
        }
    }

    /// Acknowledged, and not delivered while it was waited for; 0 where deliveries were not measured.
    pub fn lost(&self) -> u64 {
        if self.delivery.is_some() { self.missing } else { 0 }
    }

    /// Acknowledged records a second, while they were sent.
    pub fn records_per_second(&self) -> f64 {
        self.acknowledged as f64 / (self.sent_us.max(1) as f64 / 1e6)
    }

    /// For a person.
    pub fn table(&self) -> String {
        let asked = &self.asked;
        let loop_ = asked.rate.map_or("as fast as it goes".to_owned(), |rate| format!("{rate}/s asked"));
        let mut text = format!(
            "{}: {loop_}, {} a record, {} a request, {} connections, {:.1} s\n\n",
            asked.namespace,
            asked.size,
            asked.batch,
            asked.connections,
            self.sent_us as f64 / 1e6
        );
        let (rate, megabytes) =
            (self.records_per_second(), self.records_per_second() * asked.size.bytes() as f64 / 1e6);
        text.push_str(&format!("acknowledged     {} records, {rate:.0}/s, {megabytes:.1} MB/s\n", self.acknowledged));
        text.push_str(&self.acknowledgement.line("to the answer"));
        match self.delivery {
            Some(delivery) => {
                text.push_str(&delivery.line("to the delivery"));
                text.push_str(&format!(
                    "delivered        {} records, {} lost, {} twice",
                    self.delivered, self.missing, self.duplicated
                ));
                text.push_str(&format!(", {} without an answer\n", self.unconfirmed));
            }
            None => text.push_str("delivery         not measured: point an http target here and give --receive\n"),
        }
        for (code, records) in &self.refused {
            text.push_str(&format!("refused          {records} records, {code}\n"));
        }
        text
    }

    /// For a program.
    pub fn json(&self) -> Value {
        json!({
            "namespace": self.asked.namespace,
            "rate": self.asked.rate,
            "size_bytes": self.asked.size.bytes(),
            "batch": self.asked.batch,
            "connections": self.asked.connections,
            "sent_ms": self.sent_us / 1_000,
            "requests": self.requests,
            "acknowledged": self.acknowledged,
            "records_per_second": self.records_per_second(),
            "acknowledgement": self.acknowledgement.json(),
            "delivery": self.delivery.map(Latency::json),
            "delivered": self.delivery.map(|_| self.delivered),
            "lost": self.delivery.map(|_| self.missing),
            "duplicated": self.delivery.map(|_| self.duplicated),
            "unconfirmed": self.delivery.map(|_| self.unconfirmed),
            "errors": self.refused,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_and_not_delivered_is_missing_and_what_comes_again_is_counted() {
        let mut counts = Counts::new(true).unwrap();
        counts.acknowledged(0, 100, 5);
        (0..99).for_each(|number| counts.delivered(number, 7));
        counts.delivered(98, 7);
        counts.delivered(500, 7);
        assert_eq!((counts.missing(), counts.duplicated), (1, 1));
        assert_eq!(counts.delivered.without(&counts.acknowledged), 1);
        counts.delivered(99, 7);
        assert_eq!(counts.missing(), 0);
    }
}
