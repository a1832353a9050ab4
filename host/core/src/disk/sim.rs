//! A disk that does on purpose what a real one may do: forgets what was not synced, in part and in any
//! order; lies after a failed sync; fills up; flips bits; stops at any operation.
//!
//! In: a seed and orders to fail. Out: a `Disk`, and counters that prove what happened.

mod file;
mod state;

use super::{DirEntry, Disk, DiskFile, Lock, OpenMode};
use file::SimFile;
use parking_lot::Mutex;
use state::{Node, Pending, State};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What is written at once or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// How much happened, so that a test can prove that its faults did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Operations, reads included.
    pub operations: u64,
    /// Power cuts.
    pub crashes: u64,
    /// Processes ended with the page cache intact.
    pub kills: u64,
    /// Unsynced sectors that did not survive a power cut.
    pub sectors_lost: u64,
    /// Unsynced sectors that did.
    pub sectors_kept: u64,
    /// Files of which some unsynced sectors survived and others did not.
    pub files_torn: u64,
    /// Unsynced names (made, renamed or removed) that did not survive.
    pub names_lost: u64,
    /// Unsynced names that did.
    pub names_kept: u64,
    /// Syncs that failed.
    pub syncs_failed: u64,
    /// Sectors that a failed sync marked clean though they are not on disk.
    pub sectors_lied: u64,
    /// Such sectors that a power cut then took.
    pub lies_lost: u64,
    /// Writes that found no room.
    pub full: u64,
    /// Bits flipped.
    pub bits_flipped: u64,
    /// Operations at which the process was stopped.
    pub stops: u64,
}

/// A simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk; the same seed and the same operations give the same run.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    /// A disk of its own with the same content, of which the names and the unsynced sectors are the same
    /// too. Files that are open stay with the old one.
    pub fn fork(&self, seed: u64) -> SimDisk {
        let mut state = self.state.lock().clone();
        state.reseed(seed);
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// From now on every operation that changes something leaves, with so many percent, a copy of the disk as
    /// it is in the middle of that operation; at most so many copies. The run itself notices nothing.
    pub fn keep_images(&self, percent: u64, most: usize) {
        let mut state = self.state.lock();
        (state.images_percent, state.images_max) = (percent, most);
    }

    /// Ends `keep_images`; answers the copies that were left, each a disk of its own whose process is gone but
    /// whose power is still on, and the operation that it was taken in.
    pub fn take_images(&self) -> Vec<(SimDisk, &'static str)> {
        let mut state = self.state.lock();
        (state.images_percent, state.images_max) = (0, 0);
        let images = std::mem::take(&mut state.images);
        images.into_iter().map(|(image, at)| (SimDisk { state: Arc::new(Mutex::new(image)) }, at)).collect()
    }

    /// Stops the process at the `operations`th operation from now (1: the next one): it and all after it
    /// fail until `crash` or `kill`. What the operation itself has done by then is left to chance.
    pub fn stop_after(&self, operations: u64) {
        let mut state = self.state.lock();
        state.stop_at = Some(state.counters.operations + operations);
    }

    /// Takes `stop_after` back.
    pub fn go_on(&self) {
        self.state.lock().stop_at = None;
    }

    /// The name of the operation at which the process was stopped.
    pub fn stopped_at(&self) -> Option<&'static str> {
        self.state.lock().stopped
    }

    /// The next syncs of data (synced writes too) fail, after `good` of them have not.
    pub fn fail_syncs(&self, good: u64, failing: u64) {
        let mut state = self.state.lock();
        state.syncs_good = good;
        state.syncs_failing = failing;
    }

    /// All files together may have this many bytes.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Cuts the power: of what was not synced any part may be gone. Then the disk is as the next process
    /// sees it; files and locks of the last one are dead.
    pub fn crash(&self) {
        self.state.lock().crash();
    }

    /// Ends the process only: nothing that was written is gone, nothing is synced either.
    pub fn kill(&self) {
        self.state.lock().kill();
    }

    /// Flips one bit of a file, on disk and in the cache.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let node = state.node_of(path)?;
        state.counters.bits_flipped += 1;
        state.nodes.get_mut(&node).expect("a name has a node").flip(bit)
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.state.lock().counters
    }
}

struct SimLock {
    state: Arc<Mutex<State>>,
    path: std::path::PathBuf,
    life: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let stop = state.tick("create_dir_all");
        for above in path.ancestors() {
            state.directories.insert(above.to_path_buf());
        }
        stop
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if mode == OpenMode::CreateNew {
            state.image("create", |_| {});
        }
        let stop = state.tick(if mode == OpenMode::CreateNew { "create" } else { "open" });
        if mode == OpenMode::CreateNew && (stop.is_ok() || state.coin()) {
            state.directory_of(path)?;
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let node = state.add(Node::default());
            state.name(Pending::Add(path.to_path_buf(), node));
        }
        stop?;
        let node = state.node_of(path)?;
        Ok(Arc::new(SimFile { state: Arc::clone(&self.state), node, life: state.life }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state.lock();
        state.tick("list")?;
        if !state.directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut entries = Vec::new();
        for directory in state.directories.iter().filter(|d| d.parent() == Some(path)) {
            entries.push(DirEntry { name: last_of(directory), bytes: 0, directory: true });
        }
        for (name, node) in state.names.iter().filter(|(n, _)| n.parent() == Some(path)) {
            entries.push(DirEntry { name: last_of(name), bytes: state.nodes[node].bytes(), directory: false });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.image("rename", |_| {});
        let stop = state.tick("rename");
        if stop.is_ok() || state.coin() {
            state.node_of(from)?;
            state.directory_of(to)?;
            state.name(Pending::Rename(from.to_path_buf(), to.to_path_buf()));
        }
        stop
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.image("remove", |_| {});
        let stop = state.tick("remove");
        if stop.is_ok() || state.coin() {
            state.node_of(path)?;
            state.name(Pending::Remove(path.to_path_buf()));
        }
        stop
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.image("sync_dir", |image| {
            if image.coin() {
                image.sync_names(path);
            }
        });
        let stop = state.tick("sync_dir");
        if stop.is_ok() || state.coin() {
            state.sync_names(path);
        }
        stop
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.tick("free_bytes")?;
        Ok(state.free_bytes())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state.lock();
        state.tick("lock")?;
        if !state.locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !state.names.contains_key(path) {
            state.directory_of(path)?;
            let node = state.add(Node::default());
            state.name(Pending::Add(path.to_path_buf(), node));
        }
        Ok(Box::new(SimLock { state: Arc::clone(&self.state), path: path.to_path_buf(), life: state.life }))
    }
}

fn last_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
