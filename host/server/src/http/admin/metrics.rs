//! `/metrics`: what is counted as it happens, and what is read at this moment from durable state, workers,
//! the log and the sandbox.
//!
//! In: the host. Out: Prometheus text; HELP and TYPE of every metric, from the start.

use super::targets::word;
use crate::catalogue::state::{SlotKind, SlotName};
use crate::host::{Host, Running};
use crate::telemetry::exposition::Text;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use walhost_core::TargetName;
use walhost_core::plugin::PluginKind;
use walhost_core::queue::{Accounting, TargetStats};
use walhost_delivery::TargetState;

/// All metrics.
pub fn exposition(host: &Arc<Host>) -> String {
    let mut text = Text::default();
    host.metrics.write(&mut text);
    let directory = host.directory.load();
    let mut namespaces: Vec<Read> = directory.iter().map(Read::of).collect();
    namespaces.sort_by(|a, b| a.running.name().cmp(b.running.name()));
    queues(&mut text, &namespaces, host.clock.now_ms());
    accounts(&mut text, &namespaces);
    states(&mut text, &namespaces);
    plugins(&mut text, host, &namespaces);
    log(&mut text, host);
    text.describe("walhost_ingest_in_flight_bytes", "Bytes of request bodies and their batches in memory.", "gauge");
    text.gauge("walhost_ingest_in_flight_bytes", &[], &[], host.budget.used() as f64);
    text.describe(
        "walhost_config_last_reload_successful",
        "1 when the last reading of the configuration succeeded.",
        "gauge",
    );
    let succeeded = host.reload_succeeded.load(Ordering::Relaxed);
    text.gauge("walhost_config_last_reload_successful", &[], &[], f64::from(u8::from(succeeded)));
    text.describe("walhost_build_info", "1; the version is a label.", "gauge");
    text.gauge("walhost_build_info", &["version"], &[env!("CARGO_PKG_VERSION")], 1.0);
    text.0
}

/// A namespace and its queue's numbers, read once.
struct Read<'a> {
    running: &'a Arc<Running>,
    backlog: u64,
    targets: Vec<(TargetName, TargetStats)>,
}

impl<'a> Read<'a> {
    fn of(running: &'a Arc<Running>) -> Read<'a> {
        let stats = running.queue().stats();
        Read { running, backlog: stats.backlog_records, targets: stats.targets.into_iter().collect() }
    }

    fn name(&self) -> &str {
        self.running.name().as_str()
    }
}

fn queues(text: &mut Text, namespaces: &[Read<'_>], now_ms: u64) {
    let name = "walhost_queue_records";
    text.describe(
        name,
        "Records in the queue by state, summed over targets; `backlog`: not settled by every target.",
        "gauge",
    );
    for read in namespaces {
        let sum = |part: fn(&TargetStats) -> u64| read.targets.iter().map(|(_, stats)| part(stats)).sum::<u64>();
        let states = [
            ("ready", sum(|stats| stats.ready)),
            ("in-flight", sum(|stats| stats.in_flight)),
            ("retrying", sum(|stats| stats.retrying)),
            ("scheduled", sum(|stats| stats.scheduled)),
            ("backlog", read.backlog),
        ];
        for (state, count) in states {
            text.gauge(name, &["namespace", "state"], &[read.name(), state], count as f64);
        }
    }
    let name = "walhost_queue_oldest_due_age_seconds";
    text.describe(name, "Age of the oldest record that is due and not in flight; 0 when there is none.", "gauge");
    for read in namespaces {
        for (target, stats) in &read.targets {
            let age_ms = stats.oldest_due_at_ms.map_or(0, |due| now_ms.saturating_sub(due));
            text.gauge(name, &["namespace", "target"], &[read.name(), target.as_str()], age_ms as f64 / 1e3);
        }
    }
}

fn accounts(text: &mut Text, namespaces: &[Read<'_>]) {
    let name = "walhost_dlq_records";
    text.describe(name, "Dead letters of now.", "gauge");
    for read in namespaces {
        for (target, stats) in &read.targets {
            text.gauge(name, &["namespace", "target"], &[read.name(), target.as_str()], stats.accounting.dead as f64);
        }
    }
    let name = "walhost_accounting_records";
    text.describe(
        name,
        "Durable accounts: accepted = delivered + dead + pending + filtered + purged + expired + cancelled.",
        "gauge",
    );
    for read in namespaces {
        for (target, stats) in &read.targets {
            for (state, count) in parts(&stats.accounting) {
                let values = [read.name(), target.as_str(), state];
                text.gauge(name, &["namespace", "target", "state"], &values, count as f64);
            }
        }
    }
}

fn parts(accounting: &Accounting) -> [(&'static str, u64); 8] {
    [
        ("accepted", accounting.accepted),
        ("delivered", accounting.delivered),
        ("dead", accounting.dead),
        ("pending", accounting.pending),
        ("filtered", accounting.filtered),
        ("purged", accounting.purged),
        ("expired", accounting.expired),
        ("cancelled", accounting.cancelled),
    ]
}

fn states(text: &mut Text, namespaces: &[Read<'_>]) {
    let name = "walhost_target_state";
    text.describe(name, "1 for the state that the target is in.", "gauge");
    for read in namespaces {
        for target in read.running.targets.values() {
            let now = word(read.running, target);
            for state in TargetState::ALL.into_iter().chain(["removed"]) {
                let values = [read.name(), target.name.as_str(), state];
                text.gauge(name, &["namespace", "target", "state"], &values, f64::from(u8::from(state == now)));
            }
        }
    }
}

fn plugins(text: &mut Text, host: &Host, namespaces: &[Read<'_>]) {
    let name = "walhost_plugin_info";
    text.describe(name, "1 for every slot that has a plugin.", "gauge");
    for read in namespaces {
        for target in read.running.targets.values() {
            for kind in [SlotKind::Transform, SlotKind::Sink] {
                let slot = SlotName { target: target.name.clone(), kind };
                if let Some(version) = host.slot(read.running.name(), &slot).loaded() {
                    let (digest, shown) = (version.digest.to_string(), slot.to_string());
                    let values = [read.name(), shown.as_str(), version.name.as_deref().unwrap_or(""), digest.as_str()];
                    text.gauge(name, &["namespace", "slot", "name", "digest"], &values, 1.0);
                }
            }
        }
    }
    // A slot that was swapped has several sets of counters for a while: they are one series.
    let mut slots = std::collections::BTreeMap::new();
    for calls in host.plugins.calls() {
        let kind = if calls.kind == PluginKind::Transform { SlotKind::Transform } else { SlotKind::Sink };
        let key = (calls.namespace.to_string(), SlotName { target: calls.target.clone(), kind }.to_string());
        slots.entry(key).or_insert_with(Vec::new).push(calls.snapshot());
    }
    let name = "walhost_plugin_calls_total";
    text.describe(name, "Calls of the plugins that are loaded, by how they ended.", "counter");
    for ((namespace, slot), snapshots) in &slots {
        for (place, ending) in walhost_plugin::metrics::ENDINGS.iter().enumerate() {
            let count: u64 =
                snapshots.iter().filter_map(|snapshot| snapshot.endings.get(place)).map(|(_, count)| count).sum();
            text.gauge(name, &["namespace", "slot", "outcome"], &[namespace, slot, ending], count as f64);
        }
    }
    let name = "walhost_plugin_call_duration_seconds";
    text.describe(name, "Time of a call.", "histogram");
    let bounds = walhost_plugin::metrics::LATENCY_SECONDS;
    for ((namespace, slot), snapshots) in &slots {
        let count = |place: usize| snapshots.iter().filter_map(|snapshot| snapshot.buckets.get(place)).sum();
        let counts: Vec<u64> = (0..=bounds.len()).map(count).collect();
        let sum = snapshots.iter().map(|snapshot| snapshot.took_us).sum::<u64>() as f64 / 1e6;
        text.histogram(name, &["namespace", "slot"], &[namespace.clone(), slot.clone()], bounds, &counts, sum);
    }
    let name = "walhost_plugin_memory_bytes";
    text.describe(name, "Linear memory of the instance that was used last.", "gauge");
    for ((namespace, slot), snapshots) in &slots {
        let bytes = snapshots.last().map_or(0, |snapshot| snapshot.memory_bytes);
        text.gauge(name, &["namespace", "slot"], &[namespace, slot], bytes as f64);
    }
    let name = "walhost_plugin_log_lines_dropped_total";
    text.describe(name, "Log lines of plugins dropped over the rate limit.", "counter");
    for ((namespace, slot), snapshots) in &slots {
        let dropped: u64 = snapshots.iter().map(|snapshot| snapshot.lines_dropped).sum();
        text.gauge(name, &["namespace", "slot"], &[namespace, slot], dropped as f64);
    }
}

fn log(text: &mut Text, host: &Host) {
    let (stats, space) = (host.embedded.stats(), host.embedded.space());
    let name = "walhost_wal_fsync_duration_seconds";
    text.describe(name, "Time of a synced group commit.", "histogram");
    let bounds = walhost_log::stats::BUCKETS_US.iter().map(|us| *us as f64 / 1e6);
    text.histogram(name, &[], &[], bounds, &stats.fsync.buckets, stats.fsync.sum_us as f64 / 1e6);
    let numbers = [
        ("walhost_wal_disk_bytes", "Bytes of the log's files, ready segments included.", "gauge", stats.disk_bytes),
        (
            "walhost_wal_corrupt_frames_total",
            "Frames found damaged, at the start and when they were read.",
            "counter",
            stats.corrupt_frames,
        ),
        (
            "walhost_wal_torn_frames_total",
            "Frames of the torn tail that were cut at the start.",
            "counter",
            stats.torn_frames,
        ),
        (
            "walhost_wal_lost_records",
            "Records that damage had taken when the host started, counted for each target; the log names them.",
            "gauge",
            host.embedded.report().lost,
        ),
        (
            "walhost_wal_clean_start",
            "1 when the host before had closed the log; 0: what may have been in flight went one by one.",
            "gauge",
            u64::from(host.embedded.report().clean),
        ),
        (
            "walhost_wal_needed_bytes",
            "Bytes of the log's frames that must be kept: open records and dead letters.",
            "gauge",
            space.needed_bytes,
        ),
        (
            "walhost_wal_cleaned_bytes_total",
            "Bytes copied out of segments of which little was needed.",
            "counter",
            space.cleaned_bytes,
        ),
        (
            "walhost_wal_snapshot_bytes_total",
            "Bytes of the snapshots of progress that were written.",
            "counter",
            space.snapshot_bytes,
        ),
        (
            "walhost_queue_index_bytes",
            "Memory for what is known of open records and dead letters, about.",
            "gauge",
            space.index_bytes,
        ),
        ("walhost_wal_commits_total", "Group commits.", "counter", stats.commits),
        (
            "walhost_wal_commits_failed_total",
            "Group commits that failed: nothing of them was acknowledged.",
            "counter",
            stats.commits_failed,
        ),
        (
            "walhost_wal_frames_total",
            "Frames written: one for each append request or group of facts.",
            "counter",
            stats.frames,
        ),
        ("walhost_wal_queue_bytes", "Bytes that wait for a commit.", "gauge", stats.queue_bytes as u64),
    ];
    for (name, help, kind, number) in numbers {
        text.describe(name, help, kind);
        text.gauge(name, &[], &[], number as f64);
    }
}
