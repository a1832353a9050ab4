//! A data directory, offline: what is in it, and whether every byte of it is as it was written.
//!
//! In: a directory that no process has open. Out: tables; exit code 1 when something is damaged.

use super::arguments::WalCommand;
use super::failure::{FAILED, Failure};
use super::output::{Output, print, table};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use walhost_core::disk::{Disk, Lock, OsDisk};
use walhost_core::error::Kind;
use walhost_embedded::{NamespaceReport, RunReport, Survey, TargetReport};
use walhost_log::Damage;
use walhost_log::inspect::{Inspector, SegmentUse};

/// Where the log is in a data directory.
const LOG_DIR: &str = "wal";

/// `walhost wal`.
pub fn run(command: &WalCommand, output: &Output) -> Result<u8, Failure> {
    match command {
        WalCommand::Inspect { directory } => look(directory, output, false),
        WalCommand::Verify { directory } => look(directory, output, true),
        WalCommand::Dump { directory } => dump(directory, output),
    }
}

/// Frames and records that count.
#[derive(Default)]
struct Count {
    frames: u64,
    records: u64,
    bytes: u64,
    views: BTreeSet<u32>,
}

fn look(directory: &Path, output: &Output, verify: bool) -> Result<u8, Failure> {
    let (inspector, log, data, _held) = open(directory)?;
    let found = inspector.report()?;
    let damage = if verify { inspector.verify()? } else { found.damage };
    let mut count = Count::default();
    inspector.dump(|head, _, _| {
        count.frames += 1;
        count.records += u64::from(head.count);
        count.bytes += u64::from(head.bytes);
        count.views.insert(head.view);
        true
    })?;
    let survey = Survey::read(&inspector, &OsDisk, &data, &damage, verify)?;
    let damage: Vec<Value> = damage.iter().map(|damage| place(&log, damage)).collect();
    let segments: Vec<Value> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "segment": segment.segment, "file": segment.file, "use": used(segment.used), "bytes": segment.bytes,
                "epoch": segment.epoch, "first": segment.first, "last": segment.last, "commits": segment.commits,
                "frames": segment.frames, "frame_bytes": segment.frame_bytes, "sealed": segment.footer,
                "live_frames": survey.live.get(&segment.segment).copied().unwrap_or(0), "fences": segment.fences,
                "trailers": segment.trailers, "rosters": segment.rosters, "releases": segment.releases,
                "headers_intact": segment.headers_intact,
            })
        })
        .collect();
    let clean = damage.is_empty() && found.set_aside.is_empty() && survey.is_clean();
    let json = json!({
        "directory": log.display().to_string(),
        "clean": clean,
        "epoch": found.epoch,
        "frames": count.frames,
        "records": count.records,
        "bytes": count.bytes,
        "namespaces": count.views.iter().filter(|view| **view != 0).count(),
        "last": found.last,
        "segments": segments,
        "unproven_frames": found.unproven_frames,
        "torn_frames": found.torn_frames,
        "closed": found.clean,
        "kinds": survey.kinds,
        "views": survey.namespaces.iter().map(namespace).collect::<Vec<_>>(),
        "snapshot": survey.snapshots.0,
        "snapshot_before": survey.snapshots.1,
        "sections": survey.sections.iter().map(section).collect::<Vec<_>>(),
        "damaged_snapshots": survey.damaged_snapshots,
        "runs": survey.runs.iter().map(|run| key_run(run, &survey)).collect::<Vec<_>>(),
        "lost": survey.lost,
        "lost_records": survey.lost_records,
        "set_aside": found.set_aside,
        "damage": damage,
    });
    output.text_or_json(&text(&json, verify), &json)?;
    Ok(if verify && !clean { FAILED } else { 0 })
}

fn section(((name, version), bytes): (&(String, u8), &u64)) -> Value {
    json!({ "name": name, "version": version, "bytes": bytes })
}

fn key_run(run: &RunReport, survey: &Survey) -> Value {
    json!({
        "file": run.file, "view": run.view, "keys": run.keys, "oldest_ms": run.span_ms.0, "newest_ms": run.span_ms.1,
        "referenced": !survey.unreferenced_runs.contains(&run.file), "damage": run.damage,
    })
}

fn namespace(one: &NamespaceReport) -> Value {
    let target = |target: &TargetReport| {
        let counts = &target.accounting;
        json!({
            "target": target.name, "ended": target.ended, "accepted": counts.accepted, "delivered": counts.delivered,
            "dead": counts.dead, "pending": counts.pending, "filtered": counts.filtered, "purged": counts.purged,
            "expired": counts.expired, "cancelled": counts.cancelled, "floor": target.floor, "holes": target.holes,
            "retrying": target.retrying, "scheduled": target.scheduled, "suspects": target.suspects,
        })
    };
    json!({
        "view": one.view, "namespace": one.name, "incarnation": one.incarnation, "next_offset": one.next_offset,
        "records": one.records, "live_bytes": one.live_bytes, "delayed_frames": one.delayed_frames, "moved": one.moved,
        "dead_letters": one.dead_letters, "keys_in_memory": one.keys.0, "keys_in_runs": one.keys.1, "lost": one.lost,
        "targets": one.targets.iter().map(target).collect::<Vec<_>>(),
    })
}

fn used(used: SegmentUse) -> &'static str {
    match used {
        SegmentUse::Counts => "counts",
        SegmentUse::Ready => "ready",
        SegmentUse::Spare => "spare",
    }
}

fn text(json: &Value, verify: bool) -> String {
    let number = |key: &str| json.get(key).and_then(Value::as_u64).unwrap_or(0);
    let list = |key: &str| json.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut text = format!(
        "{} records in {} frames, {} bytes, {} namespaces, epoch {}\n",
        number("records"),
        number("frames"),
        number("bytes"),
        number("namespaces"),
        number("epoch")
    );
    if !verify {
        let columns = [
            ("segment", "/segment"),
            ("use", "/use"),
            ("epoch", "/epoch"),
            ("first", "/first"),
            ("last", "/last"),
            ("commits", "/commits"),
            ("frames", "/frames"),
            ("live", "/live_frames"),
            ("bytes", "/bytes"),
            ("sealed", "/sealed"),
        ];
        text.push_str(&table(&list("segments"), &columns));
        text.push_str(&spaces(json));
    }
    if number("torn_frames") > 0 {
        text.push_str(&format!("torn tail: {} frames that were never acknowledged\n", number("torn_frames")));
    }
    for lost in list("lost") {
        text.push_str(&format!("LOST {}\n", lost.as_str().unwrap_or_default()));
    }
    if number("lost_records") > 0 {
        text.push_str(&format!("LOST {} records in all, counted for each target\n", number("lost_records")));
    }
    for damage in list("damage") {
        text.push_str(&format!("DAMAGE {}\n", damage.get("what").and_then(Value::as_str).unwrap_or_default()));
    }
    for (key, what) in [("damaged_snapshots", "snapshot"), ("set_aside", "file that an earlier open has set aside:")] {
        for name in list(key) {
            text.push_str(&format!("DAMAGE {what} {}\n", name.as_str().unwrap_or_default()));
        }
    }
    if verify && json.get("clean") == Some(&Value::Bool(true)) {
        text.push_str("clean: every byte that counts is as it was written\n");
    }
    text
}

/// Namespaces, their targets, snapshots, files of idempotency keys.
fn spaces(json: &Value) -> String {
    let list = |key: &str| json.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let views = list("views");
    let columns = [
        ("view", "/view"),
        ("namespace", "/namespace"),
        ("records", "/records"),
        ("live bytes", "/live_bytes"),
        ("delayed", "/delayed_frames"),
        ("moved", "/moved"),
        ("dead letters", "/dead_letters"),
        ("keys", "/keys_in_memory"),
        ("keys in files", "/keys_in_runs"),
        ("lost", "/lost"),
    ];
    let mut text = table(&views, &columns);
    let mut targets = Vec::new();
    for view in &views {
        for target in view.get("targets").and_then(Value::as_array).into_iter().flatten() {
            let mut target = target.clone();
            if let (Some(target), Some(name)) = (target.as_object_mut(), view.get("namespace")) {
                target.insert("namespace".to_owned(), name.clone());
            }
            targets.push(target);
        }
    }
    let columns = [
        ("namespace", "/namespace"),
        ("target", "/target"),
        ("pending", "/pending"),
        ("retrying", "/retrying"),
        ("scheduled", "/scheduled"),
        ("suspects", "/suspects"),
        ("dead", "/dead"),
        ("delivered", "/delivered"),
        ("floor", "/floor"),
        ("holes", "/holes"),
    ];
    text.push_str(&table(&targets, &columns));
    let number = |key: &str| json.get(key).and_then(Value::as_u64);
    match (number("snapshot"), number("snapshot_before")) {
        (Some(newest), Some(before)) => {
            text.push_str(&format!("newest snapshot: as of {newest}; the one before: as of {before}\n"));
        }
        (Some(newest), None) => text.push_str(&format!("newest snapshot: as of {newest}; there is none before\n")),
        (None, _) => text.push_str("no snapshot\n"),
    }
    if json.get("closed") == Some(&Value::Bool(false)) {
        text.push_str("the host did not close it: what was in flight goes one by one after the next start\n");
    }
    let runs = list("runs");
    if !runs.is_empty() {
        let columns = [("keys file", "/file"), ("view", "/view"), ("keys", "/keys"), ("referenced", "/referenced")];
        text.push_str(&table(&runs, &columns));
    }
    text
}

fn place(log: &Path, damage: &Damage) -> Value {
    let heads: Vec<Value> = damage
        .heads
        .iter()
        .map(|head| json!({ "view": head.view, "first_offset": head.first_offset, "count": head.count }))
        .collect();
    json!({
        "what": damage.to_string(),
        "file": log.join(&damage.file).display().to_string(),
        "segment": damage.segment,
        "from": damage.from,
        "until": damage.until,
        "first": damage.first,
        "last": damage.last,
        "frames": damage.frames(),
        "heads": heads,
    })
}

fn dump(directory: &Path, output: &Output) -> Result<u8, Failure> {
    let (inspector, ..) = open(directory)?;
    let (mut trouble, mut damaged) = (None, false);
    inspector.dump(|head, place, body| {
        damaged |= body.is_none();
        let what = body.map_or("DAMAGED".to_owned(), |body| walhost_embedded::describe(head.kind, head.count, &body));
        let line = if output.is_json() {
            let json = json!({
                "log_sequence": head.log_sequence, "epoch": head.epoch, "view": head.view, "segment": place.segment,
                "position": place.position, "first_offset": head.first_offset, "count": head.count,
                "bytes": head.bytes, "what": what,
            });
            format!("{json}\n")
        } else {
            let (segment, position) = (place.segment, place.position);
            format!(
                "{:>10}  {segment}:{position:<10}  view {:<4}  offset {:<10}  {what}\n",
                head.log_sequence, head.view, head.first_offset
            )
        };
        trouble = print(&line).err();
        trouble.is_none()
    })?;
    match trouble {
        Some(trouble) => Err(trouble),
        None => Ok(if damaged { FAILED } else { 0 }),
    }
}

/// A log under inspection, its directory, the data directory, and the host's lock.
type Opened = (Inspector, PathBuf, PathBuf, Option<Box<dyn Lock>>);

/// Looks into the log of a data directory, or into a log's own directory. Refuses one in use.
fn open(directory: &Path) -> Result<Opened, Failure> {
    let disk = OsDisk;
    let inside = directory.join(LOG_DIR);
    let (log, above) = if inside.is_dir() {
        (inside, directory.to_owned())
    } else {
        (directory.to_owned(), directory.parent().map(Path::to_owned).unwrap_or_default())
    };
    // A host holds the lock of its data directory for as long as it runs.
    let host_lock = above.join("lock");
    let held = host_lock.is_file().then(|| disk.lock(&host_lock)).transpose();
    let held = held.map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => in_use(directory),
        _ => Failure::failed(format!("{}: {error}", host_lock.display())),
    })?;
    let inspector = Inspector::open(&disk, &log).map_err(|error| match error.kind() {
        Kind::Conflict => in_use(directory),
        Kind::NotFound => Failure::failed(format!("{}: there is no such directory", directory.display())),
        _ => Failure::from(error),
    })?;
    // A check of a wrong path must not be green.
    if inspector.report()?.segments.is_empty() {
        return Err(Failure::failed(format!(
            "{} is no data directory: it has no {LOG_DIR}/ with segments; give the `data_dir` of the config",
            directory.display()
        )));
    }
    Ok((inspector, log, above, held))
}

fn in_use(directory: &Path) -> Failure {
    Failure::failed(format!("the directory {} is in use by another process; stop the host first", directory.display()))
}
