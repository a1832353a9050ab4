//! One seed: lives of a log, each ended by a crash, a kill or a close, the next one judged.
//!
//! In: a seed. Out: a report, or the promise that was broken.

use super::Report;
use super::model::{Kept, Model, Told};
use crate::recover::{survey, verdict};
use crate::{Committer, Log, Opened, Options, Planted, Preparer, State, Step, Urgency, limits, snapshot};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::Random;
use walhost_core::disk::SimDisk;
use walhost_core::random::mix;
use walhost_core::time::SimClock;

/// Lives of one seed.
const LIVES: u64 = 6;
/// Broken promises after which a campaign ends.
const BROKEN_MAX: usize = 12;
/// Pieces of work in one life at most.
const WORK_MAX: u64 = 120;

struct World {
    random: Random,
    disk: SimDisk,
    clock: Arc<SimClock>,
    options: Options,
    dir: PathBuf,
    snapshots: PathBuf,
    model: Model,
    /// As of which number a snapshot was written durably, and as of which one was begun.
    snapshot_done: u64,
    snapshot_begun: u64,
    report: Report,
}

struct Life {
    log: Arc<Log<Told>>,
    committer: Committer<Told>,
    preparer: Preparer<Told>,
    told: Arc<Told>,
}

/// Runs one seed, with a bug on purpose or without. The error says which promise was broken.
pub fn run(seed: u64, planted: Option<Planted>) -> Result<Report, String> {
    let mut world = World::new(seed, planted);
    for _ in 0..LIVES {
        let life = world.open()?;
        world.work(life)?;
    }
    drop(world.open()?);
    world.count_kinds();
    world.report.add_disk(&world.disk.counters());
    Ok(world.report)
}

/// Runs many seeds; the error names the first bad one.
pub fn campaign(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> Result<Report, (u64, String)> {
    let mut all = Report::default();
    for seed in seeds {
        all.add(&run(seed, planted).map_err(|broken| (seed, broken))?);
    }
    Ok(all)
}

/// Runs many seeds, and the recovery of some at each of its steps; the error tells the first bad ones. Runs
/// on two threads are two calls with seeds of their own.
pub fn campaign_of(seeds: std::ops::Range<u64>, steps: std::ops::Range<u64>) -> Result<Report, String> {
    let mut all = Report::default();
    let mut broken = Vec::new();
    let runs = seeds.map(|seed| ("seed", seed, run(seed, None)));
    for (what, seed, outcome) in runs.chain(steps.map(|seed| ("steps of seed", seed, recovery_steps(seed)))) {
        match outcome {
            Ok(one) => all.add(&one),
            Err(promise) => broken.push(format!("{what} {seed}: {promise}")),
        }
        if broken.len() >= BROKEN_MAX {
            break;
        }
    }
    if broken.is_empty() { Ok(all) } else { Err(broken.join("\n")) }
}

/// Leaves one directory behind by a crash, and stops its recovery at every one of its operations in turn;
/// each time the next recovery must find the same.
pub fn recovery_steps(seed: u64) -> Result<Report, String> {
    let mut world = World::new(seed, None);
    for _ in 0..2 {
        let life = world.open()?;
        world.work(life)?;
    }
    let mut operation = 1;
    loop {
        let mut step = World {
            random: Random::seeded(mix(seed ^ operation)),
            disk: world.disk.fork(mix(seed ^ operation << 16)),
            clock: Arc::clone(&world.clock),
            options: world.options.clone(),
            dir: world.dir.clone(),
            snapshots: world.snapshots.clone(),
            model: world.model.clone(),
            snapshot_done: world.snapshot_done,
            snapshot_begun: world.snapshot_begun,
            report: Report::default(),
        };
        step.disk.stop_after(operation);
        let done = step.try_open().is_ok();
        if let Some(operation) = step.disk.stopped_at() {
            *step.report.recovery_stops.entry(operation).or_default() += 1;
        }
        step.end();
        drop(step.open()?);
        step.report.add_disk(&step.disk.counters());
        world.report.add(&step.report);
        if done {
            world.report.add_disk(&world.disk.counters());
            return Ok(world.report);
        }
        operation += 1;
    }
}

impl World {
    fn new(seed: u64, planted: Option<Planted>) -> World {
        let clock = Arc::new(SimClock::new(1_000));
        let mut options = Options::new(Arc::clone(&clock) as _, Arc::new(Random::seeded(mix(seed))));
        options.segment_bytes = limits::SEGMENT_BYTES_MIN;
        options.planted = planted;
        World {
            random: Random::seeded(seed),
            disk: SimDisk::new(mix(seed ^ 1)),
            clock,
            options,
            dir: PathBuf::from("/data/wal"),
            snapshots: PathBuf::from("/data/snapshots"),
            model: Model::new(seed),
            snapshot_done: 0,
            snapshot_begun: 0,
            report: Report::default(),
        }
    }

    fn dice(&self, sides: u64) -> u64 {
        self.random.below(sides)
    }

    fn try_open(&mut self) -> walhost_core::Result<(Life, Kept, u64)> {
        let mut kept = Kept::default();
        let disk = Arc::new(self.disk.clone());
        let Opened { log, mut committer, preparer, torn_frames, .. } =
            Log::<Told>::open(disk, &self.dir, self.options.clone(), &mut kept)?;
        let told = Arc::new(Told::default());
        committer.attach(Arc::clone(&told));
        Ok((Life { log, committer, preparer, told }, kept, torn_frames))
    }

    /// Opens the log, the first times perhaps stopped on the way; judges what it says.
    fn open(&mut self) -> Result<Life, String> {
        for _ in 0..self.dice(3) {
            self.disk.stop_after(1 + self.dice(60));
            let opened = self.try_open();
            let Some(operation) = self.disk.stopped_at() else {
                // It was done before: then it must be right, and is left at once.
                let (life, kept, torn) = opened.map_err(|error| format!("an open failed: {error}"))?;
                self.judge(&life, &kept, torn)?;
                drop(life);
                self.end();
                continue;
            };
            *self.report.stops.entry(operation).or_default() += 1;
            *self.report.recovery_stops.entry(operation).or_default() += 1;
            self.report.recoveries_stopped += u64::from(opened.is_err());
            drop(opened);
            self.end();
        }
        self.disk.go_on();
        let (life, kept, torn) = self.try_open().map_err(|error| format!("an open failed: {error}"))?;
        self.judge(&life, &kept, torn)?;
        self.judge_snapshot()?;
        Ok(life)
    }

    fn judge(&mut self, life: &Life, kept: &Kept, torn: u64) -> Result<(), String> {
        self.report.fences += 1;
        self.report.torn += torn;
        self.report.damage += kept.damage.len() as u64;
        let copies = kept.frames.iter().filter(|(head, ..)| head.origin != head.log_sequence).count() as u64;
        self.report.fences_with_copies += u64::from(copies > 0);
        self.report.copies += copies;
        self.model.judge(kept, torn)?;
        if self.dice(4) == 0 && self.disk.stopped_at().is_none() {
            for (number, place) in self.model.places() {
                match life.log.read(place) {
                    Ok((_, body)) if body == self.model.body(number) => {}
                    Err(error) if self.disk.stopped_at().is_some() => drop(error),
                    other => return Err(format!("frame {number} is read as {other:?}")),
                }
            }
        }
        Ok(())
    }

    fn judge_snapshot(&self) -> Result<(), String> {
        let found = snapshot::read_newest(&self.disk, &self.snapshots).map_err(|error| error.to_string())?;
        let newest = found.newest.as_ref().map_or(0, |(log_sequence, _)| *log_sequence);
        if newest < self.snapshot_done || newest > self.snapshot_begun {
            return Err(format!("the snapshot is as of {newest}, {} was durable", self.snapshot_done));
        }
        match found.newest {
            Some((log_sequence, bytes)) if bytes != snapshot_bytes(log_sequence) => {
                Err("a snapshot has other bytes".to_owned())
            }
            _ if !found.damaged.is_empty() => Err(format!("snapshots {:?} are damaged", found.damaged)),
            _ => Ok(()),
        }
    }

    /// Ends the process.
    fn end(&mut self) {
        self.report.crash_states += 1;
        if self.dice(4) == 0 { self.disk.kill() } else { self.disk.crash() }
    }

    /// Works until the process is stopped, or the work is done; then ends the process.
    fn work(&mut self, mut life: Life) -> Result<(), String> {
        if self.dice(4) > 0 {
            self.disk.stop_after(1 + self.dice(150));
        }
        if self.dice(8) == 0 {
            self.disk.set_capacity_bytes((4 + self.dice(8)) * u64::from(self.options.segment_bytes));
        }
        let given_up = life.log.stats().commits_failed;
        for _ in 0..self.dice(WORK_MAX) {
            self.piece(&mut life);
            self.take_in(&life)?;
            if self.disk.stopped_at().is_some() {
                break;
            }
        }
        let stopped = self.disk.stopped_at();
        if let Some(operation) = stopped {
            *self.report.stops.entry(operation).or_default() += 1;
        }
        let stats = life.log.stats();
        let state = life.log.state();
        self.report.read_only += u64::from(state == State::ReadOnly && stopped.is_none());
        self.report.given_up += if state == State::Ok { stats.commits_failed - given_up } else { 0 };
        let closing = stopped.is_none() && self.dice(2) == 0;
        if closing {
            life.log.close();
            while life.committer.step() != Step::Closed {}
            self.take_in(&life)?;
            self.report.closed += 1;
        }
        let stats = life.log.stats();
        self.report.footers += stats.rotations;
        self.report.recycled += stats.recycled;
        self.report.idle_trailers += stats.commits_idle;
        drop(life);
        self.end();
        self.disk.set_capacity_bytes(u64::MAX);
        if closing && !self.model.flipped && self.dice(3) == 0 {
            if self.dice(3) == 0 { self.flip_header() } else { self.flip() }
        }
        Ok(())
    }

    /// One piece of work, of the kind that the dice say.
    fn piece(&mut self, life: &mut Life) {
        match self.dice(100) {
            0..=44 => self.submit(life, Urgency::Now),
            45..=59 => self.submit(life, Urgency::Lazy),
            60..=79 => drop(life.committer.step()),
            80..=86 => self.clock.advance(Duration::from_millis(self.dice(70))),
            87 => self.clock.advance(Duration::from_secs(2)),
            88 => life.log.roll(),
            89..=91 => self.release(life),
            92..=96 => drop(life.preparer.step()),
            97 => self.disk.fail_syncs(self.dice(4), 1 + self.dice(2)),
            98 => self.snapshot(life),
            _ => while life.committer.step() == Step::Worked && self.disk.stopped_at().is_none() {},
        }
    }

    fn submit(&mut self, life: &Life, urgency: Urgency) {
        let (number, draft) = self.model.draft(urgency);
        if life.log.submit(draft, number).is_err() {
            self.report.no_room += u64::from(life.log.state() == State::DiskFull);
            self.model.refused(number);
        }
    }

    fn release(&mut self, life: &Life) {
        let segments = life.log.segments();
        let sealed: Vec<_> = segments.iter().filter(|segment| segment.sealed).collect();
        if !sealed.is_empty() {
            // Mostly the oldest one, sometimes one from the middle.
            let place = if self.dice(3) > 0 { 0 } else { self.dice(sealed.len() as u64) as usize };
            self.model.release(sealed[place].segment);
            life.log.release(sealed[place].segment);
            self.report.releases += 1;
        }
    }

    fn snapshot(&mut self, life: &Life) {
        let last = life.log.segments().last().map_or(0, |segment| segment.last);
        if last <= self.snapshot_begun {
            return;
        }
        self.snapshot_begun = last;
        let bytes = snapshot_bytes(last);
        let parts = [bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..)];
        if snapshot::write(&self.disk, &self.snapshots, last, &parts).is_ok() {
            self.snapshot_done = last;
            self.report.snapshots += 1;
        }
    }

    fn take_in(&mut self, life: &Life) -> Result<(), String> {
        let (acknowledged, _) = self.model.told(&life.told)?;
        self.report.acknowledged += acknowledged;
        Ok(())
    }

    /// Flips a bit in one frame that is proven: damage in a commit that is not may pass for a torn tail (I5).
    fn flip(&mut self) {
        let survey = survey::survey(&self.disk, &self.dir);
        let Some(verdict) = survey.ok().and_then(|survey| verdict::judge(&survey).ok()) else { return };
        let proven = verdict.last_counting;
        let places: Vec<_> = self.model.places().filter(|(_, place)| place.log_sequence <= proven).collect();
        if places.is_empty() {
            return;
        }
        let (_, place) = places[self.dice(places.len() as u64) as usize];
        let bits = (64 + u64::from(place.bytes)) * 8;
        let bit = u64::from(place.position) * 8 + self.dice(bits);
        if let Some(path) = self.path_of(place.segment)
            && self.disk.flip_bit(&path, bit).is_ok()
        {
            self.model.flipped = true;
        }
    }

    /// Flips a bit in one copy of the header of one segment, and has both copies read.
    fn flip_header(&mut self) {
        let Ok(survey) = survey::survey(&self.disk, &self.dir) else { return };
        let used: Vec<_> = survey.segments.iter().filter(|surveyed| surveyed.first.is_some()).collect();
        if used.is_empty() || !survey.damage.is_empty() {
            return;
        }
        let surveyed = used[self.dice(used.len() as u64) as usize];
        let path = self.dir.join(&surveyed.segment.name);
        let bit = self.dice(2) * 4_096 * 8 + self.dice(64 * 8);
        if self.disk.flip_bit(&path, bit).is_ok() {
            self.report.headers_damaged += 1;
            self.model.header_flipped = true;
        }
    }

    /// Counts what is on disk, by kind.
    fn count_kinds(&mut self) {
        let Ok(survey) = survey::survey(&self.disk, &self.dir) else { return };
        for surveyed in survey.segments.iter().filter(|surveyed| surveyed.first.is_some()) {
            let Ok(contents) = verdict::contents(&surveyed.segment) else { continue };
            // A footer lists all frames but itself and its trailer.
            let sealed = u64::from(contents.sealed.is_some());
            *self.report.kinds.entry("footer").or_default() += sealed;
            *self.report.kinds.entry("trailer").or_default() += sealed;
            for frame in &contents.found {
                *self.report.kinds.entry(crate::format::kind_name(frame.head.kind)).or_default() += 1;
            }
        }
    }

    /// The file of a segment, by its header.
    fn path_of(&self, segment: u64) -> Option<PathBuf> {
        let survey = survey::survey(&self.disk, &self.dir).ok()?;
        let found = survey.segments.iter().find(|surveyed| surveyed.segment.id() == segment)?;
        Some(self.dir.join(&found.segment.name))
    }
}

fn snapshot_bytes(log_sequence: u64) -> Bytes {
    (0..100 + log_sequence % 5_000).map(|place| mix(log_sequence ^ place << 40) as u8).collect()
}
