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
use walhost_log::inspect::{Inspector, SegmentUse};
use walhost_log::{Damage, snapshot};

/// Where the log is in a data directory, and where the snapshots are.
const LOG_DIR: &str = "wal";
const SNAPSHOTS_DIR: &str = "snapshots";

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
    let (inspector, log, snapshots, _held) = open(directory)?;
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
    let snapshot_state = snapshot::read_newest(&OsDisk, &snapshots)?;
    let damage: Vec<Value> = damage.iter().map(|damage| place(&log, damage)).collect();
    let segments: Vec<Value> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "segment": segment.segment, "file": segment.file, "use": used(segment.used), "bytes": segment.bytes,
                "epoch": segment.epoch, "first": segment.first, "last": segment.last, "commits": segment.commits,
                "frames": segment.frames, "frame_bytes": segment.frame_bytes, "sealed": segment.footer,
            })
        })
        .collect();
    let clean = damage.is_empty() && found.set_aside.is_empty() && snapshot_state.damaged.is_empty();
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
        "snapshot": snapshot_state.newest.as_ref().map(|(log_sequence, _)| *log_sequence),
        "damaged_snapshots": snapshot_state.damaged,
        "set_aside": found.set_aside,
        "damage": damage,
    });
    output.text_or_json(&text(&json, verify), &json)?;
    Ok(if verify && !clean { FAILED } else { 0 })
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
            ("bytes", "/bytes"),
            ("sealed", "/sealed"),
        ];
        text.push_str(&table(&list("segments"), &columns));
        match json.get("snapshot").and_then(Value::as_u64) {
            Some(sequence) => text.push_str(&format!("newest snapshot: as of {sequence}\n")),
            None => text.push_str("no snapshot\n"),
        }
    }
    if number("torn_frames") > 0 {
        text.push_str(&format!("torn tail: {} frames that were never acknowledged\n", number("torn_frames")));
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

/// A log under inspection, its directory, that of the snapshots, and the host's lock.
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
    Ok((inspector, log, above.join(SNAPSHOTS_DIR), held))
}

fn in_use(directory: &Path) -> Failure {
    Failure::failed(format!("the directory {} is in use by another process; stop the host first", directory.display()))
}
