//! A data directory, offline: what is in it, and whether every byte of it is as it was written.
//!
//! In: a directory that no process has open. Out: tables; exit code 1 when something is damaged.

use super::arguments::WalCommand;
use super::failure::{FAILED, Failure};
use super::output::{Output, print, table};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use walhost_core::disk::{Disk, OsDisk};
use walhost_core::error::Kind;
use walhost_log::{Damage, FrameHead, Inspection, Place, Replay, inspect, snapshot};

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

/// Counts frames and records by kind; with bodies, so that every one is read and checked.
#[derive(Default)]
struct Count {
    frames: u64,
    records: u64,
    bytes: u64,
    views: BTreeMap<u32, u64>,
    first: u64,
    last: u64,
}

impl Replay for Count {
    fn head(&mut self, head: &FrameHead, _: Place) {
        self.frames += 1;
        self.records += u64::from(head.count);
        self.bytes += u64::from(head.bytes);
        *self.views.entry(head.view).or_default() += u64::from(head.count);
        self.first = if self.first == 0 { head.log_sequence } else { self.first };
        self.last = head.log_sequence;
    }
    fn wants_body(&self, _: &FrameHead) -> bool {
        true
    }
    fn body(&mut self, _: &FrameHead, _: Place, _: Bytes) -> walhost_core::Result<()> {
        Ok(())
    }
    fn lost(&mut self, _: &Damage) {}
}

fn look(directory: &Path, output: &Output, verify: bool) -> Result<u8, Failure> {
    let mut count = Count::default();
    let (found, log, snapshots) = open(directory, &mut count)?;
    let snapshot_state = snapshot::read_newest(&OsDisk, &snapshots)?;
    let damage: Vec<Value> = found.damage.iter().map(|damage| place(&log, damage)).collect();
    let segments: Vec<Value> = found
        .segments
        .iter()
        .map(|segment| {
            json!({
                "segment": segment.segment, "first": segment.first, "last": segment.last,
                "bytes": segment.bytes, "sealed": segment.sealed,
            })
        })
        .collect();
    let clean = damage.is_empty() && found.unreadable.is_empty() && snapshot_state.damaged.is_empty();
    let json = json!({
        "directory": log.display().to_string(),
        "clean": clean,
        "epoch": found.epoch,
        "frames": count.frames,
        "records": count.records,
        "bytes": count.bytes,
        "namespaces": count.views.keys().filter(|view| **view != 0).count(),
        "first": count.first,
        "last": count.last,
        "segments": segments,
        "spare_files": found.spare_files,
        "torn_frames": found.torn_frames,
        "snapshot": snapshot_state.newest.as_ref().map(|(log_sequence, _)| *log_sequence),
        "damaged_snapshots": snapshot_state.damaged,
        "unreadable_files": found.unreadable,
        "damage": damage,
    });
    output.text_or_json(&text(&json, verify), &json)?;
    Ok(if verify && !clean { FAILED } else { 0 })
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
        let columns =
            [("segment", "/segment"), ("first", "/first"), ("last", "/last"), ("bytes", "/bytes"), ("sealed", "/sealed")];
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
    for (key, what) in [("damaged_snapshots", "snapshot"), ("unreadable_files", "file without a readable header")] {
        for name in list(key) {
            text.push_str(&format!("DAMAGE {what} {}\n", name.as_str().unwrap_or_default()));
        }
    }
    if json.get("clean") == Some(&Value::Bool(true)) {
        text.push_str("clean: every byte is as it was written\n");
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

/// Prints frames as they come.
struct Dump<'a> {
    output: &'a Output,
    trouble: Option<Failure>,
}

impl Dump<'_> {
    fn print(&mut self, text: &str) {
        if self.trouble.is_none() {
            self.trouble = print(text).err();
        }
    }
}

impl Replay for Dump<'_> {
    fn head(&mut self, _: &FrameHead, _: Place) {}
    fn wants_body(&self, _: &FrameHead) -> bool {
        self.trouble.is_none()
    }
    fn body(&mut self, head: &FrameHead, place: Place, body: Bytes) -> walhost_core::Result<()> {
        let what = walhost_embedded::describe(head.kind, head.count, &body);
        let line = if self.output.is_json() {
            let json = json!({
                "log_sequence": head.log_sequence, "epoch": head.epoch, "view": head.view, "segment": place.segment,
                "position": place.position, "first_offset": head.first_offset, "count": head.count,
                "bytes": head.bytes, "what": what,
            });
            format!("{json}\n")
        } else {
            let (segment, position) = (place.segment, place.position);
            format!("{:>10}  {segment}:{position:<10}  view {:<4}  offset {:<10}  {what}\n", head.log_sequence, head.view, head.first_offset)
        };
        self.print(&line);
        Ok(())
    }
    fn lost(&mut self, damage: &Damage) {
        if !self.output.is_json() {
            self.print(&format!("DAMAGE {damage}\n"));
        }
    }
}

fn dump(directory: &Path, output: &Output) -> Result<u8, Failure> {
    let mut dump = Dump { output, trouble: None };
    let found = open(directory, &mut dump)?.0;
    match dump.trouble {
        Some(trouble) => Err(trouble),
        None => Ok(if found.damage.is_empty() { 0 } else { FAILED }),
    }
}

/// Looks into the log of a data directory, or into a log's own directory. Refuses one in use.
fn open(directory: &Path, caller: &mut dyn Replay) -> Result<(Inspection, PathBuf, PathBuf), Failure> {
    let disk = OsDisk;
    let inside = directory.join(LOG_DIR);
    let (log, above) = if inside.is_dir() {
        (inside, directory.to_owned())
    } else {
        (directory.to_owned(), directory.parent().map(Path::to_owned).unwrap_or_default())
    };
    if !log.is_dir() {
        return Err(Failure::failed(format!("{}: there is no such directory", directory.display())));
    }
    // A host holds the lock of its data directory for as long as it runs.
    let host_lock = above.join("lock");
    let held = host_lock.is_file().then(|| disk.lock(&host_lock)).transpose();
    let _held = held.map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => in_use(directory),
        _ => Failure::failed(format!("{}: {error}", host_lock.display())),
    })?;
    let found = inspect(&disk, &log, caller).map_err(|error| match error.kind() {
        Kind::Conflict => in_use(directory),
        _ => Failure::from(error),
    })?;
    Ok((found, log, above.join(SNAPSHOTS_DIR)))
}

fn in_use(directory: &Path) -> Failure {
    Failure::failed(format!("the directory {} is in use by another process; stop the host first", directory.display()))
}
