//! Crash states: copies of the disk, taken in the middle of its operations while a run goes on, each opened
//! again in a world of its own and held against what was promised at that moment.
//!
//! In: a run, an operation of it, what that operation may have done by then. Out: counters; a panic where a
//! promise does not hold.

use super::ran::Ran;
use super::run::Run;
use super::spaces::Space;
use crate::frame::again::Class;
use std::path::Path;
use walhost_core::Random;
use walhost_core::disk::{Disk, SimDisk};
use walhost_log::inspect::Inspector;

/// How crash states are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// How likely an operation of the run is watched, in percent; 0: none is.
    pub operations_percent: u64,
    /// How likely each change of the disk during a watched operation leaves a state.
    pub changes_percent: u64,
    /// States of one operation at most.
    pub most: usize,
    /// How many recoveries deep: 0 is the run, 1 the recovery of a state of it, 2 the recovery of a state of that.
    pub depth: usize,
}

impl Watch {
    /// No crash states but those of the run itself.
    pub(super) const NONE: Watch = Watch { operations_percent: 0, changes_percent: 0, most: 0, depth: 0 };
    /// Many.
    pub(super) const MUCH: Watch = Watch { operations_percent: 30, changes_percent: 40, most: 4, depth: 0 };
    /// How deep recoveries are crashed in turn.
    const DEPTH_MAX: usize = 2;
    /// States of one recovery at most.
    const RECOVERY_MOST: usize = 40;
}

const FRAMES: [(u8, &str); 6] = [
    (crate::frame::APPEND, "on disk: append"),
    (crate::frame::APPEND_WITH, "on disk: append with"),
    (crate::frame::FACTS, "on disk: facts"),
    (crate::frame::DEAD, "on disk: dead letters"),
    (crate::frame::AGAIN, "on disk: again"),
    (crate::frame::APPEND_DELAYED, "on disk: append delayed"),
];

impl Run {
    /// Runs an operation, perhaps taking states in the middle of it. `may` says what such a state may show of it.
    pub(super) fn watched<T>(
        &mut self,
        what: &'static str,
        may: impl FnOnce(&mut Space),
        operation: impl FnOnce(&mut Run) -> T,
    ) -> T {
        self.watch_if(what, |spaces| may(&mut spaces[0]), operation)
    }

    /// The same for an operation that is about all namespaces.
    pub(super) fn watched_all<T>(
        &mut self,
        what: &'static str,
        may: impl Fn(&mut Space),
        operation: impl FnOnce(&mut Run) -> T,
    ) -> T {
        self.watch_if(what, |spaces| spaces.iter_mut().for_each(may), operation)
    }

    fn watch_if<T>(
        &mut self,
        what: &'static str,
        may: impl FnOnce(&mut [Space]),
        operation: impl FnOnce(&mut Run) -> T,
    ) -> T {
        let Watch { operations_percent, changes_percent, most, .. } = self.watch;
        if operations_percent == 0 || self.random.below(100) >= operations_percent {
            return operation(self);
        }
        let mut spaces = self.copies();
        may(&mut spaces);
        let before = self.world.embedded().stats();
        self.world.disk.keep_images(changes_percent, most);
        let answer = operation(self);
        let images = self.world.disk.take_images();
        if let Some(embedded) = &self.world.embedded {
            let after = embedded.stats();
            let states = images.len() as u64;
            if after.rotations > before.rotations {
                self.ran.count_many("during: rotation", states);
            }
            if after.recycled > before.recycled {
                self.ran.count_many("during: recycling", states);
            }
        }
        for (disk, at) in images {
            self.ran.count(what);
            self.judge(disk, at, &spaces);
        }
        answer
    }

    /// A state between two operations.
    pub(super) fn look_between(&mut self) {
        if self.watch.operations_percent > 0 && self.random.below(100) < self.watch.operations_percent / 4 {
            let spaces = self.copies();
            let disk = self.world.disk.fork(self.random.next_u64());
            self.ran.count("state between operations");
            self.judge(disk, "between", &spaces);
        }
    }

    /// Opens the run's queues, and crashes that recovery at each of its changes of the disk (I7).
    pub(super) fn open_watched(&mut self, open: impl FnOnce(&mut Run)) {
        let deep = self.watch.depth;
        // The deeper, the fewer: else there would be no end.
        let wanted = self.watch.operations_percent > 0
            && deep <= Watch::DEPTH_MAX
            && (deep == 0 || self.random.below(if deep == 1 { 16 } else { 200 }) == 0);
        if !wanted {
            return open(self);
        }
        let spaces = self.copies();
        self.world.disk.keep_images(100, Watch::RECOVERY_MOST);
        open(self);
        for (disk, at) in self.world.disk.take_images() {
            self.ran.count(if deep == 0 { "state in recovery" } else { "state in the recovery of a recovery" });
            self.judge(disk, at, &spaces);
        }
    }

    fn copies(&self) -> Vec<Space> {
        std::iter::once(&self.space).chain(&self.others).map(Space::copy).collect()
    }

    /// Ends the process of a state, opens it again and looks at everything; now and then delivers all.
    fn judge(&mut self, disk: SimDisk, at: &'static str, spaces: &[Space]) {
        self.ran.count("state");
        if let Some(at) = OPERATIONS.iter().find(|name| name.strip_prefix("at: ") == Some(at)) {
            self.ran.count(at);
        }
        let random = Random::seeded(self.random.next_u64());
        let world = self.world.with_disk(disk, self.random.next_u64());
        let watch = Watch { depth: self.watch.depth + 1, ..self.watch };
        let mut run = Run::of(world, random, spaces.iter().map(Space::copy).collect(), watch);
        run.note(|| format!("a state at {at}"));
        run.world.disk.set_capacity_bytes(u64::MAX);
        let power = run.random.below(4) > 0;
        run.world.end(power);
        count_content(&run.world.disk, &mut run.ran);
        run.snapshot_alone = self.snapshot_alone;
        if run.random.below(8) == 0 && !run.snapshot_alone && run.damage_newest_snapshot() {
            run.ran.count("state with a damaged snapshot");
        }
        run.come_back();
        if run.random.below(6) == 0 {
            run.each(Run::drain);
            run.ran.count("state drained");
        }
        self.ran.add(&run.ran);
    }
}

impl Run {
    /// Flips a bit in the newest snapshot when there is an older one, which must then serve as well (I9, I11).
    fn damage_newest_snapshot(&mut self) -> bool {
        let (disk, dir) = (&self.world.disk, Path::new("/data/snapshots"));
        let Ok(found) = walhost_log::snapshot::read_newest(disk, dir) else { return false };
        let (Some((as_of, _)), Some(_)) = (found.newest, found.previous) else { return false };
        let named =
            |name: &str| name.starts_with(&format!("{as_of:016x}")) && !found.damaged.iter().any(|one| one == name);
        let Some(file) = disk.list(dir).unwrap().into_iter().find(|file| named(&file.name)) else { return false };
        let bit = self.random.below(file.bytes * 8);
        disk.flip_bit(&dir.join(&file.name), bit).unwrap();
        self.note(|| format!("bit {bit} of snapshot {} is flipped", file.name));
        true
    }
}

const OPERATIONS: [&str; 7] =
    ["at: create", "at: write", "at: write_synced", "at: sync", "at: sync_dir", "at: rename", "at: remove"];

/// Counts the states that hold each kind of thing, by the inspection that operators use.
fn count_content(disk: &SimDisk, ran: &mut Ran) {
    // Before the first open there is nothing.
    let Ok(inspector) = Inspector::open(disk, Path::new("/data/wal")) else { return };
    let Ok(report) = inspector.report() else { return };
    let mut kinds = [false; FRAMES.len()];
    let mut moved = false;
    let dumped = inspector.dump(|head, _, _| {
        moved |= head.kind == crate::frame::AGAIN && head.first_sequence != Class::Ready.number();
        kinds.iter_mut().zip(FRAMES).filter(|(_, (kind, _))| *kind == head.kind).for_each(|(seen, _)| *seen = true);
        true
    });
    dumped.unwrap();
    kinds.iter().zip(FRAMES).filter(|(seen, _)| **seen).for_each(|(_, (_, name))| ran.count(name));
    let some = |of: fn(&walhost_log::inspect::SegmentReport) -> u64| report.segments.iter().map(of).sum::<u64>() > 0;
    let snapshots = disk.list(Path::new("/data/snapshots")).map_or(0, |files| files.len());
    let there = [
        ("on disk: moved", moved),
        ("on disk: trailer", some(|one| one.trailers)),
        ("on disk: fence", some(|one| one.fences)),
        ("on disk: roster", some(|one| one.rosters)),
        ("on disk: release", some(|one| one.releases)),
        ("on disk: footer", some(|one| u64::from(one.footer))),
        ("on disk: unproven frames", report.unproven_frames > 0),
        ("on disk: torn frames", report.torn_frames > 0),
        ("on disk: blank files", !report.blank.is_empty()),
        ("on disk: one snapshot", snapshots == 1),
        ("on disk: two snapshots", snapshots > 1),
    ];
    there.into_iter().filter(|(_, there)| *there).for_each(|(name, _)| ran.count(name));
}
