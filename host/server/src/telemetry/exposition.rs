//! Counters, histograms and their Prometheus text form. A metric has HELP and TYPE from the start, also
//! while nothing was counted; recording takes no lock.
//!
//! In: labels and numbers. Out: text format 0.0.4.

use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of all duration histograms, in microseconds: from a fast sync to a slow target.
const BOUNDS_US: [u64; 17] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
];

/// Durations in buckets. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Records one duration.
    pub fn observe(&self, took: Duration) {
        self.observe_us(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1);
    }

    /// Records the same duration `count` times, in microseconds.
    pub fn observe_us(&self, us: u64, count: u64) {
        let place = BOUNDS_US.partition_point(|bound| *bound < us);
        self.0.counts[place].fetch_add(count, Ordering::Relaxed);
        self.0.sum_us.fetch_add(us.saturating_mul(count), Ordering::Relaxed);
    }
}

/// Names of labels, fixed per family, and their values.
type Labels = Vec<String>;

/// One metric with label values. `T` is what is counted.
#[derive(Debug)]
pub struct Family<T> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    series: RwLock<BTreeMap<Labels, T>>,
}

impl<T: Clone + Default> Family<T> {
    /// A family without any series so far.
    pub fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family<T> {
        Family { name, help, labels, series: RwLock::default() }
    }

    /// The series with these label values, made when there is none. Keep it: looking up takes a lock.
    pub fn with(&self, values: &[&str]) -> T {
        assert_eq!(values.len(), self.labels.len(), "{} has {} labels", self.name, self.labels.len());
        let values: Labels = values.iter().map(|value| (*value).to_owned()).collect();
        if let Some(found) = self.series.read().get(&values) {
            return found.clone();
        }
        self.series.write().entry(values).or_default().clone()
    }

    /// Forgets all series whose first labels have these values.
    pub fn forget(&self, first: &[&str]) {
        self.series.write().retain(|values, _| !first.iter().zip(values).all(|(a, b)| a == b));
    }
}

impl Family<Counter> {
    /// Writes HELP, TYPE and all series.
    pub fn write(&self, text: &mut Text) {
        text.describe(self.name, self.help, "counter");
        for (values, counter) in &*self.series.read() {
            text.sample(self.name, "", self.labels, values, None, counter.get() as f64);
        }
    }
}

impl Family<Histogram> {
    /// Writes HELP, TYPE and all series.
    pub fn write(&self, text: &mut Text) {
        text.describe(self.name, self.help, "histogram");
        for (values, histogram) in &*self.series.read() {
            let counts: Vec<u64> = histogram.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
            text.histogram(
                self.name,
                self.labels,
                values,
                bounds,
                &counts,
                histogram.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6,
            );
        }
    }
}

/// The text as it grows.
#[derive(Debug, Default)]
pub struct Text(pub String);

impl Text {
    /// HELP and TYPE of a metric.
    pub fn describe(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes all");
    }

    /// One sample of a gauge or a counter.
    pub fn gauge(&mut self, name: &str, labels: &[&str], values: &[&str], number: f64) {
        let values: Labels = values.iter().map(|value| (*value).to_owned()).collect();
        self.sample(name, "", labels, &values, None, number);
    }

    /// A whole histogram from counts per bucket (the last one: above all bounds) and its sum.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[&str],
        values: &[String],
        bounds: impl IntoIterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) {
        let mut total = 0;
        let bounds = bounds.into_iter().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            total += count;
            self.sample(name, "_bucket", labels, values, Some(&bound), total as f64);
        }
        self.sample(name, "_sum", labels, values, None, sum);
        self.sample(name, "_count", labels, values, None, total as f64);
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[&str], values: &[String], le: Option<&str>, number: f64) {
        let out = &mut self.0;
        out.push_str(name);
        out.push_str(suffix);
        let pairs = labels.iter().copied().zip(values.iter().map(String::as_str)).chain(le.map(|bound| ("le", bound)));
        let mut opened = false;
        for (label, value) in pairs {
            out.push(if opened { ',' } else { '{' });
            opened = true;
            out.push_str(label);
            out.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    other => out.push(other),
                }
            }
            out.push('"');
        }
        if opened {
            out.push('}');
        }
        writeln!(out, " {number}").expect("a string takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_without_a_series_still_has_help_and_type() {
        let family: Family<Counter> = Family::new("x_total", "Counts x.", &["a"]);
        let mut text = Text::default();
        family.write(&mut text);
        assert_eq!(text.0, "# HELP x_total Counts x.\n# TYPE x_total counter\n");
    }

    #[test]
    fn labels_are_escaped_and_buckets_are_cumulative() {
        let family: Family<Histogram> = Family::new("t_seconds", "T.", &["a"]);
        let series = family.with(&["q\"\n"]);
        series.observe(Duration::from_micros(50));
        series.observe(Duration::from_secs(1_000));
        let mut text = Text::default();
        family.write(&mut text);
        assert!(text.0.contains("t_seconds_bucket{a=\"q\\\"\\n\",le=\"0.00005\"} 1\n"), "{}", text.0);
        assert!(text.0.contains("le=\"+Inf\"} 2\n"), "{}", text.0);
        assert!(text.0.contains("t_seconds_count{a=\"q\\\"\\n\"} 2\n"), "{}", text.0);
    }

    #[test]
    fn a_forgotten_namespace_has_no_series_any_more() {
        let family: Family<Counter> = Family::new("x_total", "Counts x.", &["namespace", "code"]);
        family.with(&["a", "1"]).add(1);
        family.with(&["b", "1"]).add(1);
        family.forget(&["a"]);
        let mut text = Text::default();
        family.write(&mut text);
        assert!(!text.0.contains("\"a\"") && text.0.contains("\"b\""), "{}", text.0);
    }
}
