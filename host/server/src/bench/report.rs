//! What a run has shown.
//!
//! In: acknowledgements, refusals, deliveries. Out: numbers, as a table and as JSON.

use super::BenchArguments;
use serde_json::{Value, json};
use walhost_load::receiver::Seen;
use walhost_load::{Latency, Outcome};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    asked: BenchArguments,
    outcome: Outcome,
    seen: Option<Seen>,
}

fn line(latency: Latency, name: &str) -> String {
    let ms = |us: u64| format!("{:.3}", us as f64 / 1_000.0);
    let (half, most) = (ms(latency.p50_us), ms(latency.p99_us));
    let (nearly_all, worst) = (ms(latency.p999_us), ms(latency.max_us));
    format!("{name:16} p50 {half:>10} ms   p99 {most:>10} ms   p99.9 {nearly_all:>10} ms   max {worst:>10} ms\n")
}

impl Report {
    pub(super) fn new(arguments: &BenchArguments, outcome: Outcome, seen: Option<Seen>) -> Report {
        Report { asked: arguments.clone(), outcome, seen }
    }

    fn acknowledged(&self) -> u64 {
        self.outcome.acknowledged.count()
    }

    /// Acknowledged, and not delivered while it was waited for; 0 where deliveries were not measured.
    pub fn lost(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| self.outcome.acknowledged.without(&seen.delivered))
    }

    /// Delivered without an acknowledgement: its answer was lost.
    fn unconfirmed(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.delivered.without(&self.outcome.acknowledged))
    }

    /// Acknowledged records a second, while they were sent.
    pub fn records_per_second(&self) -> f64 {
        self.outcome.records_per_second()
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
            self.outcome.took_us as f64 / 1e6
        );
        let (rate, megabytes) =
            (self.records_per_second(), self.records_per_second() * asked.size.bytes() as f64 / 1e6);
        text.push_str(&format!("acknowledged     {} records, {rate:.0}/s, {megabytes:.1} MB/s\n", self.acknowledged()));
        text.push_str(&line(self.outcome.latency, "to the answer"));
        match &self.seen {
            Some(seen) => {
                text.push_str(&line(seen.latency(), "to the delivery"));
                text.push_str(&format!(
                    "delivered        {} records, {} lost, {} twice",
                    seen.delivered.count(),
                    self.lost(),
                    seen.duplicated
                ));
                text.push_str(&format!(", {} without an answer\n", self.unconfirmed()));
            }
            None => text.push_str("delivery         not measured: point an http target here and give --receive\n"),
        }
        text.push_str(&format!(
            "generator        {:.2} µs of processor time a record\n",
            self.outcome.cpu_us_per_record()
        ));
        if self.outcome.unsent > 0 {
            text.push_str(&format!("not sent         {} records: the host was too slow\n", self.outcome.unsent));
        }
        for (code, records) in &self.outcome.refused {
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
            "sent_ms": self.outcome.took_us / 1_000,
            "requests": self.outcome.requests,
            "acknowledged": self.acknowledged(),
            "unsent": self.outcome.unsent,
            "records_per_second": self.records_per_second(),
            "acknowledgement": self.outcome.latency.json(),
            "delivery": self.seen.as_ref().map(|seen| seen.latency().json()),
            "delivered": self.seen.as_ref().map(|seen| seen.delivered.count()),
            "lost": self.seen.as_ref().map(|_| self.lost()),
            "duplicated": self.seen.as_ref().map(|seen| seen.duplicated),
            "unconfirmed": self.seen.as_ref().map(|_| self.unconfirmed()),
            "generator_cpu_us_per_record": self.outcome.cpu_us_per_record(),
            "generator_late": self.outcome.late.json(),
            "errors": self.outcome.refused,
        })
    }
}
