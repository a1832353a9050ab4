//! I6 for the queue: a data directory at rest, with every kind of frame in it, of which one bit after another is
//! flipped; and a log whose values are log files.
//!
//! In: a stride. Out: how many states were looked at, or the first that cost more than one frame, gave a wrong
//! byte, or lost something without saying so.

use super::images::Watch;
use super::model::asked;
use super::reference::{Stand, TARGETS, fits};
use super::run::{Run, target};
use super::spaces::Space;
use crate::Planted;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use walhost_core::disk::{Disk, SimDisk};
use walhost_core::inspect::State;
use walhost_core::queue::{Done, LeaseRequest, Settlement};
use walhost_core::{Random, RecordId};
use walhost_log::inspect::{Inspector, SegmentUse};

/// What one operation has changed: place of the namespace, record, target.
type Group = BTreeSet<(usize, RecordId, &'static str)>;

/// A directory at rest, and what is in it.
struct Rest {
    run: Run,
    groups: Vec<Group>,
    /// The files that count, with their bytes.
    files: Vec<(PathBuf, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flips {
    states: u64,
    /// States in which something was found elsewhere than before.
    lost: u64,
    /// States in which damage was named and nothing was missing.
    harmless: u64,
    /// States in which a namespace had lost its name.
    nameless: u64,
}

fn stands(run: &mut Run) -> BTreeMap<(usize, RecordId, &'static str), Stand> {
    let (mut all, mut place) = (BTreeMap::new(), 0);
    run.each(|run| {
        for known in &run.space.reference.records {
            all.extend(known.slots.iter().map(|(name, slot)| ((place, known.id.clone(), *name), slot.now)));
        }
        place += 1;
    });
    all
}

/// Works until the first segment is as full as so many operations make it.
fn work(operations: usize) -> (Run, Vec<Group>) {
    let mut run = Run::new(6, None, Watch::NONE);
    let mut groups = Vec::new();
    let mut before = stands(&mut run);
    for operation in 0..operations {
        if operation % 3 == 0 {
            run.turn();
        }
        match run.random.below(16) {
            0..5 => run.append(),
            5..8 => run.lease(),
            8..12 => run.settle(),
            12 => run.cancel(),
            13 => run.reschedule(),
            14 => run.redrive(),
            _ => run.purge(),
        }
        let after = stands(&mut run);
        let changed = after.iter().filter(|(slot, stand)| before.get(*slot) != Some(*stand));
        groups.push(changed.map(|(slot, _)| slot.clone()).collect());
        before = after;
    }
    (run, groups)
}

fn rest(closed: bool) -> Rest {
    let rotated = |operations| work(operations).0.world.embedded().stats().rotations > 0;
    let fits = (1..100).map(|tens| tens * 10).find(|operations| rotated(*operations)).unwrap() - 10;
    let (mut run, groups) = work(fits);
    run.world.flush();
    run.each(|run| run.space.reference.saved());
    if closed {
        run.world.close().unwrap();
    }
    run.world.end(false);
    let mut files = Vec::new();
    {
        let inspector = Inspector::open(&run.world.disk, Path::new("/data/wal")).unwrap();
        for segment in inspector.report().unwrap().segments {
            if segment.used == SegmentUse::Counts {
                files.push((Path::new("/data/wal").join(&segment.file), segment.bytes));
            }
        }
    }
    for file in run.world.disk.list(Path::new("/data/snapshots")).unwrap() {
        files.push((Path::new("/data/snapshots").join(&file.name), file.bytes));
    }
    run.each(|run| {
        run.space.queue = None;
        run.space.leases.clear();
    });
    Rest { run, groups, files }
}

/// A disk with a directory in which there is every kind of frame.
pub(super) fn filled() -> SimDisk {
    rest(false).run.world.disk.clone()
}

impl Rest {
    /// Flips one bit, opens, looks at everything, delivers everything.
    fn look(&self, file: &Path, bit: u64, flips: &mut Flips) {
        let disk = self.run.world.disk.fork(bit);
        disk.flip_bit(file, bit).unwrap();
        let spaces = std::iter::once(&self.run.space).chain(&self.run.others).map(Space::copy).collect();
        let world = self.run.world.with_disk(disk, bit);
        let mut run = Run::of(world, Random::seeded(bit), spaces, Watch::NONE);
        run.world.open().unwrap();
        let embedded = run.world.embedded();
        let orphans = embedded.orphans();
        let (mut differ, mut place, mut nameless, mut gone) = (Group::new(), 0, false, 0);
        run.each(|run| {
            let name = run.space.namespace();
            if orphans.iter().any(|orphan| orphan.name.as_ref() == Some(&name)) {
                run.take_up();
                gone += run.differences(place, &mut differ);
            } else {
                nameless = true;
            }
            place += 1;
        });
        // What still waits for a commit holds on to its queue: half a million of them would fill the memory.
        run.world.flush();
        let told = !embedded.report().damage.is_empty() || embedded.stats().corrupt_frames > 0;
        flips.states += 1;
        if nameless {
            // Its records are kept and reported (I11); nobody can be asked for them.
            assert!(told && orphans.iter().filter(|orphan| orphan.name.is_none()).count() == 1, "{orphans:?}");
            flips.nameless += 1;
        }
        if differ.is_empty() {
            assert_eq!((embedded.report().lost, gone), (0, 0), "nothing is missing");
            flips.harmless += u64::from(told && !nameless);
            return;
        }
        flips.lost += 1;
        assert!(told, "{differ:?} without a word");
        let one = self.groups.iter().any(|group| group.is_superset(&differ));
        assert!(one, "more than one frame was lost: {differ:?}, damage {:?}", embedded.report().damage);
    }
}

fn is_open(state: State) -> bool {
    matches!(state, State::Scheduled | State::Ready | State::InFlight | State::Retrying | State::Held)
}

impl Run {
    /// Collects the slots that are found elsewhere than they were; answers how many records the counters lost.
    fn differences(&mut self, place: usize, differ: &mut Group) -> u64 {
        let (queue, now_ms) = (self.queue(), self.now_ms());
        for record in self.world.wait(queue.peek(None, 1_000)).unwrap().items.into_iter().map(|peeked| peeked.record) {
            let known = self.space.reference.find(&record.id).expect("a record that nobody appended");
            assert_eq!(record.value, known.value, "I3");
        }
        let mut open = BTreeSet::new();
        for at in 0..self.space.reference.records.len() {
            let id = self.space.reference.records[at].id.clone();
            let found = self.world.wait(queue.find(&id)).unwrap();
            for (name, slot) in &self.space.reference.records[at].slots {
                let found = found.as_ref().and_then(|found| found.targets.get(&target(name)));
                if !fits(&slot.now, found, now_ms) {
                    differ.insert((place, id.clone(), *name));
                }
                if found.is_some_and(|found| is_open(found.state)) {
                    open.insert((id.clone(), *name));
                }
            }
        }
        for letter in self.full_letters() {
            let Some(detail) = self.world.wait(queue.dead_letter(&letter.id)).unwrap() else {
                let name = TARGETS.into_iter().find(|name| *name == letter.target.as_str()).unwrap();
                differ.insert((place, letter.record, name));
                continue;
            };
            let known = self.space.reference.find(&letter.record).expect("a dead letter of nobody");
            assert_eq!(detail.record.value, known.value, "I3");
        }
        self.deliver_what_is_left(&mut open);
        differ.extend(open.into_iter().map(|(id, name)| (place, id, name)));
        let stats = self.queue().stats();
        let mut gone = 0;
        for name in TARGETS {
            let accounting = stats.targets[&target(name)].accounting;
            assert!(accounting.balances(), "I12: {accounting:?}");
            assert_eq!(accounting.pending, 0, "what is left was delivered");
            gone += self.space.reference.accounting(name).accepted.saturating_sub(accounting.accepted);
        }
        gone
    }

    /// Delivers all that can be; what stays in `open` never came.
    fn deliver_what_is_left(&mut self, open: &mut BTreeSet<(RecordId, &'static str)>) {
        self.world.advance(300_000);
        for name in TARGETS {
            let sub = self.sub(name);
            loop {
                let request = LeaseRequest { records_max: 1_000, bytes_max: 1 << 20, visibility_ms: 5_000, wait_ms: 0 };
                let leases = self.world.wait(sub.lease(request)).unwrap();
                let before = self.queue().stats().targets[&target(name)].accounting.pending;
                self.world.step();
                let after = self.queue().stats().targets[&target(name)].accounting.pending;
                if leases.is_empty() && before == after {
                    break;
                }
                let mut call = Vec::new();
                for lease in leases {
                    let known = self.space.reference.find(&lease.record.id).expect("a record that nobody appended");
                    assert_eq!(lease.record.value, known.value, "I3");
                    open.remove(&(lease.record.id, name));
                    call.push((lease.token, Settlement::Done { outcome: Done::Delivered, attempt: None }));
                }
                self.world.wait(sub.settle(call)).unwrap();
            }
        }
        // Records of a parked key have followed it into the dead letters.
        let letters = self.full_letters();
        open.retain(|(id, name)| !letters.iter().any(|one| one.record == *id && one.target.as_str() == *name));
    }
}

/// Flips every `stride`th bit that this thread is to flip.
fn flip_all(closed: bool, stride: u64, thread: u64, threads: u64, planted: Option<Planted>) -> Flips {
    let mut rest = rest(closed);
    rest.run.world.planted = planted;
    let mut flips = Flips::default();
    let (mut count, begun, mut told) = (0_u64, std::time::Instant::now(), 0);
    for (file, bytes) in &rest.files {
        for bit in (0..bytes * 8).step_by(stride as usize) {
            count += 1;
            if count % threads != thread {
                continue;
            }
            let looked = catch_unwind(AssertUnwindSafe(|| rest.look(file, bit, &mut flips)));
            assert!(looked.is_ok(), "closed {closed}, {} bit {bit}", file.display());
            if begun.elapsed().as_secs() >= told + 10 {
                told = begun.elapsed().as_secs();
                eprintln!("flips, closed {closed}, thread {thread}: bit {bit} of {}, {told} s", file.display());
            }
        }
    }
    flips
}

#[test]
fn i06_one_flipped_bit_costs_one_frame_that_is_named_and_the_rest_is_delivered() {
    // A stride that is odd, so that all bits of a byte have their turn.
    let stride = asked("WALHOST_PROVE_STRIDE", 1_709);
    let threads = if stride == 1 { 2 } else { 1 };
    for closed in [false, true] {
        let flip = |thread| {
            walhost_core::exec::thread("flips", move || flip_all(closed, stride, thread, threads, None)).unwrap()
        };
        let running: Vec<_> = (0..threads).map(flip).collect();
        let mut all = Flips::default();
        for thread in running {
            let flips = thread.join().unwrap();
            all.states += flips.states;
            all.lost += flips.lost;
            all.harmless += flips.harmless;
            all.nameless += flips.nameless;
        }
        eprintln!("flips, closed {closed}: {all:?}");
        assert!(all.states >= 524_288 / stride && all.lost > 0 && all.harmless > 0, "{all:?}");
    }
}

#[test]
fn the_flips_catch_truncation_at_damage() {
    let planted = Planted::Log(walhost_log::Planted::TruncateOnDamage);
    assert!(catch_unwind(|| flip_all(false, 9_973, 0, 1, Some(planted))).is_err());
}
