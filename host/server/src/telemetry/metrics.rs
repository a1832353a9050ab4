//! The metrics of the contract that are counted as things happen; what can be read from durable state is
//! read when somebody asks (`http/admin/metrics`).
//!
//! In: what ingest and delivery report. Out: families with bounded labels: never an id, a key or a URL.

use super::exposition::{Counter, Family, Histogram, Text};
use std::sync::Arc;
use walhost_core::NamespaceName;

/// All counted families.
#[derive(Debug)]
pub struct Metrics {
    /// Requests to append, by HTTP status.
    pub ingest_requests: Family<Counter>,
    /// Records acknowledged.
    pub ingest_records: Family<Counter>,
    /// Bytes of keys, headers and values acknowledged.
    pub ingest_bytes: Family<Counter>,
    /// From the request's head to its answer.
    pub ingest_duration: Family<Histogram>,
    /// Records tried, by verdict.
    pub attempts: Family<Counter>,
    /// One batch at a target.
    pub delivery_duration: Family<Histogram>,
    /// From the append to the delivery.
    pub delivery_latency: Family<Histogram>,
    /// Records that became dead letters.
    pub dead: Family<Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            ingest_requests: Family::new(
                "walhost_ingest_requests_total",
                "Requests to append records, by HTTP status.",
                &["namespace", "code"],
            ),
            ingest_records: Family::new(
                "walhost_ingest_records_total",
                "Records acknowledged at ingest.",
                &["namespace"],
            ),
            ingest_bytes: Family::new(
                "walhost_ingest_bytes_total",
                "Bytes of keys, headers and values acknowledged at ingest.",
                &["namespace"],
            ),
            ingest_duration: Family::new(
                "walhost_ingest_duration_seconds",
                "Time from the head of an acknowledged request to its answer.",
                &["namespace"],
            ),
            attempts: Family::new(
                "walhost_delivery_attempts_total",
                "Records tried at a target, by verdict.",
                &["namespace", "target", "verdict"],
            ),
            delivery_duration: Family::new(
                "walhost_delivery_duration_seconds",
                "Time of one batch in transform and target.",
                &["namespace", "target"],
            ),
            delivery_latency: Family::new(
                "walhost_delivery_latency_seconds",
                "Time from the append of a record to its delivery.",
                &["namespace", "target"],
            ),
            dead: Family::new(
                "walhost_dlq_records_total",
                "Records that became dead letters, by code.",
                &["namespace", "target", "code"],
            ),
        }
    }
}

impl Metrics {
    /// The handles that one namespace's ingest uses.
    pub fn ingest(&self, namespace: &NamespaceName) -> IngestMetrics {
        let name = namespace.as_str();
        IngestMetrics {
            accepted: self.ingest_requests.with(&[name, "202"]),
            records: self.ingest_records.with(&[name]),
            bytes: self.ingest_bytes.with(&[name]),
            duration: self.ingest_duration.with(&[name]),
        }
    }

    /// Counts a refused request. `namespace` is empty where there is none of that name: labels stay bounded.
    pub fn refused(&self, namespace: &str, status: u16) {
        self.ingest_requests.with(&[namespace, &status.to_string()]).add(1);
    }

    /// Forgets a namespace that was deleted.
    pub fn forget(&self, namespace: &NamespaceName) {
        let first = &[namespace.as_str()];
        for family in [&self.ingest_requests, &self.ingest_records, &self.ingest_bytes, &self.attempts, &self.dead] {
            family.forget(first);
        }
        for family in [&self.ingest_duration, &self.delivery_duration, &self.delivery_latency] {
            family.forget(first);
        }
    }

    /// Writes all of them.
    pub fn write(&self, text: &mut Text) {
        for family in [&self.ingest_requests, &self.ingest_records, &self.ingest_bytes] {
            family.write(text);
        }
        self.ingest_duration.write(text);
        self.attempts.write(text);
        self.delivery_duration.write(text);
        self.delivery_latency.write(text);
        self.dead.write(text);
    }
}

/// One namespace's handles: recording takes no lock and no lookup.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    /// Requests that were acknowledged.
    pub accepted: Counter,
    /// Their records.
    pub records: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Their time.
    pub duration: Histogram,
}

/// Metrics as they are shared.
pub type Shared = Arc<Metrics>;
