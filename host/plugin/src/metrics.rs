//! What is counted of each loaded slot.
//!
//! In: calls as they end. Out: `Calls`, read by the telemetry of the server.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use walhost_core::plugin::PluginKind;
use walhost_core::{Digest, NamespaceName, TargetName};

/// Upper bounds of the latency buckets, in seconds; the last bucket has none.
pub const LATENCY_SECONDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// How a call ended: `ok`, or a fault's code.
pub type Ending = &'static str;

/// The endings there are: labels are bounded.
pub const ENDINGS: [Ending; 8] = [
    "ok",
    "plugin-trap",
    "plugin-deadline",
    "plugin-memory",
    "plugin-output",
    "plugin-count",
    "plugin-init",
    "cancelled",
];

/// The counters of one loaded slot.
#[derive(Debug)]
pub struct Calls {
    /// Whose.
    pub namespace: NamespaceName,
    /// Whose.
    pub target: TargetName,
    /// Which plugin.
    pub digest: Digest,
    /// Which kind.
    pub kind: PluginKind,
    endings: [AtomicU64; ENDINGS.len()],
    buckets: [AtomicU64; LATENCY_SECONDS.len() + 1],
    took_us: AtomicU64,
    memory_bytes: Mutex<(u64, u64)>,
    instances: AtomicU64,
    lines_dropped: AtomicU64,
    records: AtomicU64,
}

/// One reading of [`Calls`].
#[derive(Clone, Debug, PartialEq)]
pub struct CallsSnapshot {
    /// Calls by how they ended; the sum of all is the number of calls.
    pub endings: Vec<(Ending, u64)>,
    /// Calls that took at most so many seconds, not cumulative; the last one is everything above.
    pub buckets: Vec<u64>,
    /// Time of all calls together, in microseconds.
    pub took_us: u64,
    /// Linear memory of the instance that was used last, in bytes.
    pub memory_bytes: u64,
    /// Most linear memory that any instance had, in bytes.
    pub memory_bytes_peak: u64,
    /// Instances made so far.
    pub instances: u64,
    /// Log lines dropped over the rate limit.
    pub lines_dropped: u64,
    /// Records handed to the guest.
    pub records: u64,
}

impl Calls {
    pub(crate) fn new(namespace: NamespaceName, target: TargetName, digest: Digest, kind: PluginKind) -> Calls {
        Calls {
            namespace,
            target,
            digest,
            kind,
            endings: Default::default(),
            buckets: Default::default(),
            took_us: AtomicU64::new(0),
            memory_bytes: Mutex::new((0, 0)),
            instances: AtomicU64::new(0),
            lines_dropped: AtomicU64::new(0),
            records: AtomicU64::new(0),
        }
    }

    pub(crate) fn ended(&self, ending: &str, records: usize, took: Duration) {
        let place = ENDINGS.iter().position(|known| *known == ending).expect("faults are made from this list");
        self.endings[place].fetch_add(1, Ordering::Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(LATENCY_SECONDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.took_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self, bytes: u64) {
        let mut memory = self.memory_bytes.lock();
        *memory = (bytes, memory.1.max(bytes));
    }

    pub(crate) fn instance_made(&self) {
        self.instances.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn line_dropped(&self) {
        self.lines_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads all counters.
    pub fn snapshot(&self) -> CallsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (memory_bytes, memory_bytes_peak) = *self.memory_bytes.lock();
        CallsSnapshot {
            endings: ENDINGS.iter().zip(&self.endings).map(|(name, counter)| (*name, read(counter))).collect(),
            buckets: self.buckets.iter().map(read).collect(),
            took_us: read(&self.took_us),
            memory_bytes,
            memory_bytes_peak,
            instances: read(&self.instances),
            lines_dropped: read(&self.lines_dropped),
            records: read(&self.records),
        }
    }
}
