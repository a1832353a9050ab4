//! What a simulated disk holds: as the processes see it, and as it is on the platters.
//!
//! In: writes, syncs, crashes. Out: the bytes and names that are left.

use super::{Counters, SECTOR_BYTES};
use crate::random::{Random, mix};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file without its name.
#[derive(Clone, Default)]
pub(super) struct Node {
    /// As readers see it. Shared with copies of the disk until one of them writes.
    pub(super) cached: Arc<Vec<u8>>,
    /// As it is on disk.
    durable: Arc<Vec<u8>>,
    /// Sectors that the next sync writes.
    dirty: BTreeSet<usize>,
    /// Sectors that a failed sync has marked clean and that are not on disk.
    lied: BTreeSet<usize>,
}

/// A change of names that is not synced.
#[derive(Clone)]
pub(super) enum Pending {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Pending {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Pending::Add(path, node) => drop(names.insert(path.clone(), *node)),
            Pending::Remove(path) => drop(names.remove(path)),
            Pending::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }

    fn is_in(&self, directory: &Path) -> bool {
        match self {
            Pending::Add(path, _) | Pending::Remove(path) => path.parent() == Some(directory),
            Pending::Rename(from, to) => from.parent() == Some(directory) || to.parent() == Some(directory),
        }
    }
}

pub(super) struct State {
    random: Random,
    pub(super) nodes: BTreeMap<u64, Node>,
    next_node: u64,
    pub(super) names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<Pending>,
    /// Directories are durable at once: nobody's correctness hangs on losing one.
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Grows with every crash: files of an earlier life are dead.
    pub(super) life: u64,
    pub(super) stop_at: Option<u64>,
    pub(super) stopped: Option<&'static str>,
    pub(super) syncs_good: u64,
    pub(super) syncs_failing: u64,
    pub(super) capacity_bytes: u64,
    pub(super) counters: Counters,
    /// Copies that were taken in the middle of operations, with the operation's name.
    pub(super) images: Vec<(State, &'static str)>,
    /// How likely an operation leaves a copy, and how many there may be.
    pub(super) images_percent: u64,
    pub(super) images_max: usize,
    image_random: Random,
}

impl Clone for State {
    fn clone(&self) -> Self {
        State {
            random: Random::seeded(0),
            nodes: self.nodes.clone(),
            next_node: self.next_node,
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            pending: self.pending.clone(),
            directories: self.directories.clone(),
            locks: BTreeSet::new(),
            life: self.life + 1,
            stop_at: None,
            stopped: None,
            syncs_good: 0,
            syncs_failing: 0,
            capacity_bytes: self.capacity_bytes,
            counters: Counters::default(),
            images: Vec::new(),
            images_percent: 0,
            images_max: 0,
            image_random: Random::seeded(0),
        }
    }
}

impl State {
    pub(super) fn new(seed: u64) -> State {
        State {
            random: Random::seeded(seed),
            nodes: BTreeMap::new(),
            next_node: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            directories: BTreeSet::new(),
            locks: BTreeSet::new(),
            life: 1,
            stop_at: None,
            stopped: None,
            syncs_good: 0,
            syncs_failing: 0,
            capacity_bytes: u64::MAX,
            counters: Counters::default(),
            images: Vec::new(),
            images_percent: 0,
            images_max: 0,
            image_random: Random::seeded(mix(seed)),
        }
    }

    pub(super) fn reseed(&mut self, seed: u64) {
        self.random = Random::seeded(seed);
        self.image_random = Random::seeded(mix(seed));
    }

    /// Perhaps keeps a copy of the disk as it is in the middle of an operation: `halfway` does what the
    /// operation may have done by then.
    pub(super) fn image(&mut self, operation: &'static str, halfway: impl FnOnce(&mut State)) {
        let wanted = self.stopped.is_none()
            && self.images.len() < self.images_max
            && self.image_random.below(100) < self.images_percent;
        if wanted {
            let mut image = self.clone();
            image.reseed(self.image_random.next_u64());
            halfway(&mut image);
            image.reseed(self.image_random.next_u64());
            self.images.push((image, operation));
        }
    }

    pub(super) fn coin(&self) -> bool {
        self.random.below(2) == 0
    }

    pub(super) fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// Counts an operation; an error when the process is stopped.
    pub(super) fn tick(&mut self, operation: &'static str) -> io::Result<()> {
        if self.stopped.is_some() {
            return Err(stopped());
        }
        self.counters.operations += 1;
        if self.stop_at == Some(self.counters.operations) {
            self.stopped = Some(operation);
            self.counters.stops += 1;
            return Err(stopped());
        }
        Ok(())
    }

    pub(super) fn node_of(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn directory_of(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(directory) if self.directories.contains(directory) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn add(&mut self, node: Node) -> u64 {
        let number = self.next_node;
        self.next_node += 1;
        self.nodes.insert(number, node);
        number
    }

    pub(super) fn name(&mut self, change: Pending) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    pub(super) fn sync_names(&mut self, directory: &Path) {
        for change in self.pending.extract_if(.., |change| change.is_in(directory)) {
            change.apply(&mut self.durable_names);
        }
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let used: u64 = self.names.values().map(|node| self.nodes[node].bytes()).sum();
        self.capacity_bytes.saturating_sub(used)
    }

    /// Whether the next sync of data fails.
    pub(super) fn sync_fails(&mut self) -> bool {
        if self.syncs_failing == 0 {
            return false;
        }
        if self.syncs_good > 0 {
            self.syncs_good -= 1;
            return false;
        }
        self.syncs_failing -= 1;
        self.counters.syncs_failed += 1;
        true
    }

    pub(super) fn crash(&mut self) {
        self.counters.crashes += 1;
        // Some crashes keep much, some little, some all of it, some nothing.
        let keep_percent = [0, 10, 50, 90, 100][self.random.below(5) as usize];
        for node in self.nodes.values_mut() {
            node.crash(&self.random, keep_percent, &mut self.counters);
        }
        for change in std::mem::take(&mut self.pending) {
            if self.random.below(100) < keep_percent {
                self.counters.names_kept += 1;
                change.apply(&mut self.durable_names);
            } else {
                self.counters.names_lost += 1;
            }
        }
        self.names = self.durable_names.clone();
        let names = &self.names;
        self.nodes.retain(|number, _| names.values().any(|named| named == number));
        self.next_life();
    }

    pub(super) fn kill(&mut self) {
        self.counters.kills += 1;
        self.next_life();
    }

    fn next_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.stop_at = None;
        self.stopped = None;
        self.syncs_good = 0;
        self.syncs_failing = 0;
    }
}

fn stopped() -> io::Error {
    io::Error::other("the simulated process was stopped")
}

impl Node {
    pub(super) fn bytes(&self) -> u64 {
        self.cached.len() as u64
    }

    pub(super) fn flip(&mut self, bit: u64) -> io::Result<()> {
        let place = usize::try_from(bit / 8).map_err(io::Error::other)?;
        for bytes in [&mut self.cached, &mut self.durable] {
            if let Some(byte) = Arc::make_mut(bytes).get_mut(place) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    /// Zeros to the end; the length is durable with the next sync.
    pub(super) fn allocate(&mut self, bytes: usize) {
        let cached = Arc::make_mut(&mut self.cached);
        cached.resize(cached.len().max(bytes), 0);
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: usize) {
        let end = position + bytes.len();
        let cached = Arc::make_mut(&mut self.cached);
        if cached.len() < end {
            cached.resize(end, 0);
        }
        cached[position..end].copy_from_slice(bytes);
        for sector in position / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.dirty.insert(sector);
            self.lied.remove(&sector);
        }
    }

    /// Puts the dirty sectors of a range on disk.
    pub(super) fn sync(&mut self, from: usize, until: usize) {
        if self.durable.len() < self.cached.len() {
            Arc::make_mut(&mut self.durable).resize(self.cached.len(), 0);
        }
        let sectors: Vec<usize> =
            self.dirty.range(from / SECTOR_BYTES..until.div_ceil(SECTOR_BYTES)).copied().collect();
        for sector in sectors {
            self.dirty.remove(&sector);
            self.put(sector);
        }
    }

    /// A sync that fails: some sectors reach the disk, all are marked clean.
    pub(super) fn sync_failing(&mut self, from: usize, until: usize, random: &Random, counters: &mut Counters) {
        let sectors: Vec<usize> =
            self.dirty.range(from / SECTOR_BYTES..until.div_ceil(SECTOR_BYTES)).copied().collect();
        if self.durable.len() < self.cached.len() {
            Arc::make_mut(&mut self.durable).resize(self.cached.len(), 0);
        }
        for sector in sectors {
            self.dirty.remove(&sector);
            if random.below(4) == 0 {
                self.put(sector);
            } else {
                self.lied.insert(sector);
                counters.sectors_lied += 1;
            }
        }
    }

    fn put(&mut self, sector: usize) {
        let from = sector * SECTOR_BYTES;
        let until = (from + SECTOR_BYTES).min(self.cached.len());
        let durable = Arc::make_mut(&mut self.durable);
        if durable.len() < until {
            durable.resize(until, 0);
        }
        durable[from..until].copy_from_slice(&self.cached[from..until]);
    }

    fn crash(&mut self, random: &Random, keep_percent: u64, counters: &mut Counters) {
        let (mut kept, mut lost) = (0, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if random.below(100) < keep_percent {
                self.put(sector);
                kept += 1;
            } else {
                lost += 1;
            }
        }
        counters.sectors_kept += kept;
        counters.sectors_lost += lost;
        counters.files_torn += u64::from(kept > 0 && lost > 0);
        counters.lies_lost += self.lied.len() as u64;
        self.lied.clear();
        self.cached = Arc::clone(&self.durable);
    }
}

impl State {
    /// A failing sync of a range of a node.
    pub(super) fn fail_sync(&mut self, node: u64, from: usize, until: usize) {
        let State { nodes, random, counters, .. } = self;
        if let Some(node) = nodes.get_mut(&node) {
            node.sync_failing(from, until, random, counters);
        }
    }
}
