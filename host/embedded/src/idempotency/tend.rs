//! Housekeeping of the idempotency keys: recent ones become runs, runs of one size become one, and files go when
//! the window of their keys has ended.
//!
//! In: namespaces, now and then; a snapshot that was written. Out: run files, and fewer of them.
//!
//! A file is durable before a view refers to it, and a view refers to it before a snapshot does. Until then the
//! keys are in the snapshot before, or in segments that only two snapshots set free. A file that nobody refers to
//! any more goes after two more snapshots, because an open may have to go back to the one before.

use super::run::{ENDING, Entry, Run, RunId, RunWriter, file_name};
use super::{Keys, RunReference};
use crate::limits;
use crate::shared::{Namespace, Shared};
use crate::view::View;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use walhost_core::disk::Disk;
use walhost_core::{Error, Kind, Result};

/// The run files of a data directory.
#[derive(Debug)]
pub(crate) struct RunFiles {
    dir: PathBuf,
    epoch: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    retired: Vec<Retired>,
}

/// A file that no view refers to.
#[derive(Debug)]
struct Retired {
    name: String,
    since_ms: u64,
    /// After how many snapshots it goes.
    left: u8,
}

/// Snapshots that must have been written without a file before it goes.
const SNAPSHOTS_BEFORE_REMOVAL: u8 = 2;

impl RunFiles {
    /// Opens the runs that the views refer to. What is missing or damaged is named; its keys are lost. Files that
    /// no view refers to go after two snapshots.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: PathBuf,
        epoch: u32,
        now_ms: u64,
        views: &mut BTreeMap<u32, View>,
        damage: &mut Vec<String>,
    ) -> Result<RunFiles> {
        let failed = |error: io::Error| {
            let detail = "the run files of idempotency keys cannot be read";
            Error::new(Kind::Unavailable, "embedded.open", detail).source(error)
        };
        disk.create_dir_all(&dir).map_err(failed)?;
        let mut referenced = BTreeSet::new();
        for (number, view) in views.iter_mut() {
            for reference in std::mem::take(&mut view.keys.referenced) {
                let name = file_name(*number, reference.id);
                match Run::open(disk, &dir.join(&name), *number, reference.id) {
                    Ok(run) => view.keys.replace(&[], Some(run)),
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                        damage.push(lost(&name, view.name.as_ref().map(|name| name.as_str()), &reference, &error));
                    }
                    Err(error) => return Err(failed(error)),
                }
                referenced.insert(name);
            }
        }
        let listed = disk.list(&dir).map_err(failed)?.into_iter().map(|found| found.name);
        let retired = listed.filter(|name| name.ends_with(ENDING) && !referenced.contains(name));
        let retired = retired.map(|name| Retired { name, since_ms: now_ms, left: SNAPSHOTS_BEFORE_REMOVAL }).collect();
        Ok(RunFiles { dir, epoch, state: Mutex::new(State { next: 0, retired }) })
    }

    fn retire(&self, view: u32, runs: &[RunId], since_ms: u64) {
        let left = SNAPSHOTS_BEFORE_REMOVAL;
        let files = runs.iter().map(|id| Retired { name: file_name(view, *id), since_ms, left });
        self.state.lock().retired.extend(files);
    }

    /// True when a file has waited for snapshots for so long that they should be taken for it.
    pub(crate) fn waits(&self, now_ms: u64) -> bool {
        self.state.lock().retired.iter().any(|file| file.since_ms.saturating_add(limits::RUN_LINGERS_MS) <= now_ms)
    }

    /// A namespace is gone, and its keys with it.
    pub(crate) fn forget(&self, view: u32, keys: &Keys, now_ms: u64) {
        let ids: Vec<RunId> = keys.runs().iter().map(|run| run.id).collect();
        self.retire(view, &ids, now_ms);
    }

    /// One more snapshot is on disk: files that neither it nor the one before refers to go.
    pub(crate) fn snapshot_written(&self, disk: &dyn Disk) {
        let gone: Vec<Retired> = {
            let mut state = self.state.lock();
            state.retired.iter_mut().for_each(|file| file.left = file.left.saturating_sub(1));
            state.retired.extract_if(.., |file| file.left == 0).collect()
        };
        for file in gone {
            match disk.remove(&self.dir.join(&file.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let name = &file.name;
                    tracing::warn!(%error, name, "a run of idempotency keys cannot be removed; it is tried again");
                    self.state.lock().retired.push(Retired { left: 1, ..file });
                }
                _ => {}
            }
        }
    }

    fn next(&self) -> RunId {
        let mut state = self.state.lock();
        state.next += 1;
        RunId { epoch: self.epoch, number: state.next }
    }

    /// Writes sorted entries into a file of their own, durably; none when there are none.
    fn write(
        &self,
        disk: &dyn Disk,
        view: u32,
        (oldest_ms, newest_ms): (u64, u64),
        entries: impl Iterator<Item = Entry>,
    ) -> io::Result<Option<Run>> {
        let id = self.next();
        let path = self.dir.join(file_name(view, id));
        let mut writer = RunWriter::create(disk, &path, view, oldest_ms, newest_ms)?;
        let mut entries = entries;
        let written = entries.try_for_each(|entry| writer.add(&entry)).and_then(|()| writer.finish());
        match written {
            Ok(count) if count > 0 => {
                disk.sync_dir(&self.dir)?;
                Run::open(disk, &path, view, id).map(Some)
            }
            // What is not whole is nobody's.
            other => disk.remove(&path).and(other.map(|_| None)),
        }
    }
}

fn lost(file: &str, namespace: Option<&str>, reference: &RunReference, error: &io::Error) -> String {
    format!(
        "run file {file} of namespace {}: {error}; {} idempotency keys are lost, the newest of {} ms",
        namespace.unwrap_or("?"),
        reference.count,
        reference.newest_ms
    )
}

/// One round over all namespaces. Blocks on the disk.
pub(crate) fn tend(shared: &Shared, namespaces: &[Arc<Namespace>]) {
    let now_ms = shared.clock.now_ms();
    let all: usize = namespaces.iter().map(|namespace| namespace.view.lock().keys.recent()).sum();
    let enough = if all > limits::KEYS_RECENT_MAX { limits::KEYS_AT_LEAST } else { limits::KEYS_AT_ONCE };
    for namespace in namespaces {
        let tended = write_recent(shared, namespace, now_ms, enough).and_then(|()| merge(shared, namespace, now_ms));
        if let Err(error) = tended {
            tracing::warn!(%error, view = namespace.number, "idempotency keys stay where they are; it is tried again");
        }
    }
}

fn window_ms(view: &View) -> Option<u64> {
    view.policy.as_ref().filter(|_| !view.removed).map(|policy| policy.idempotency_window_ms)
}

/// Lets go of what is over, and writes recent keys into a run when there are enough of them.
fn write_recent(shared: &Shared, namespace: &Namespace, now_ms: u64, enough: usize) -> io::Result<()> {
    let files = &shared.run_files;
    let entries = {
        let mut view = namespace.view.lock();
        let Some(window_ms) = window_ms(&view) else { return Ok(()) };
        view.keys.expire(now_ms, window_ms);
        let over = view.keys.runs().iter().filter(|run| run.is_over(now_ms, window_ms));
        let over: Vec<RunId> = over.map(|run| run.id).collect();
        if !over.is_empty() {
            view.keys.replace(&over, None);
            files.retire(namespace.number, &over, now_ms);
        }
        if view.keys.recent() < enough {
            return Ok(());
        }
        view.keys.settled()
    };
    let times = || entries.iter().map(|entry| entry.at_ms);
    let (Some(oldest_ms), Some(newest_ms)) = (times().min(), times().max()) else { return Ok(()) };
    let sorted = entries.iter().copied();
    if let Some(run) = files.write(&*shared.disk, namespace.number, (oldest_ms, newest_ms), sorted)? {
        namespace.view.lock().keys.written(&entries, run);
    }
    Ok(())
}

/// Makes one run of those of about one size, without the keys whose window has ended.
fn merge(shared: &Shared, namespace: &Namespace, now_ms: u64) -> io::Result<()> {
    let (runs, window_ms) = {
        let view = namespace.view.lock();
        let Some(window_ms) = window_ms(&view) else { return Ok(()) };
        (Arc::clone(view.keys.runs()), window_ms)
    };
    let Some(alike) = alike(&runs) else { return Ok(()) };
    let oldest_ms = alike.iter().map(|run| run.oldest_ms).min().unwrap_or(0);
    let newest_ms = alike.iter().map(|run| run.newest_ms).max().unwrap_or(0);
    let lives = |entry: &Entry| entry.at_ms.saturating_add(window_ms) > now_ms;
    let merged = Merge::new(namespace.number, &alike).filter(lives);
    let run = shared.run_files.write(&*shared.disk, namespace.number, (oldest_ms, newest_ms), merged)?;
    let old: Vec<RunId> = alike.iter().map(|run| run.id).collect();
    namespace.view.lock().keys.replace(&old, run);
    shared.run_files.retire(namespace.number, &old, now_ms);
    Ok(())
}

/// Runs of about one size, when there are enough of them: so there are never many of any.
fn alike(runs: &[Arc<Run>]) -> Option<Vec<Arc<Run>>> {
    let mut tiers: BTreeMap<u32, Vec<Arc<Run>>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.count < limits::RUN_KEYS_MAX) {
        let tier = (run.count / limits::KEYS_AT_ONCE as u64).max(1).ilog(limits::RUNS_ALIKE_MAX as u64);
        tiers.entry(tier).or_default().push(Arc::clone(run));
    }
    tiers.into_values().find(|tier| tier.len() >= limits::RUNS_ALIKE_MAX)
}

/// The entries of several runs in one order, block by block; of one key the newest.
struct Merge {
    view: u32,
    inputs: Vec<Input>,
}

struct Input {
    run: Arc<Run>,
    block: usize,
    entries: std::vec::IntoIter<Entry>,
    next: Option<Entry>,
}

impl Merge {
    fn new(view: u32, runs: &[Arc<Run>]) -> Merge {
        let input = |run: &Arc<Run>| {
            let mut input = Input { run: Arc::clone(run), block: 0, entries: Vec::new().into_iter(), next: None };
            input.advance(view);
            input
        };
        Merge { view, inputs: runs.iter().map(input).collect() }
    }
}

impl Input {
    fn advance(&mut self, view: u32) {
        loop {
            self.next = self.entries.next();
            if self.next.is_some() || self.block == self.run.blocks() {
                return;
            }
            let read = self.run.block(self.block);
            self.block += 1;
            match read {
                Ok(entries) => self.entries = entries.into_iter(),
                Err(error) => {
                    let file = file_name(view, self.run.id);
                    tracing::error!(%error, file, block = self.block - 1, "idempotency keys are lost to damage");
                }
            }
        }
    }
}

impl Iterator for Merge {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let key = self.inputs.iter().filter_map(|input| input.next.map(|entry| entry.key)).min()?;
        let mut newest: Option<Entry> = None;
        for input in &mut self.inputs {
            if let Some(entry) = input.next.filter(|entry| entry.key == key) {
                newest = Some(newest.filter(|other| other.at_ms >= entry.at_ms).unwrap_or(entry));
                input.advance(self.view);
            }
        }
        newest
    }
}
