//! The log as its caller sees it, on a simulated disk.

#![allow(clippy::unwrap_used)]

mod damage;

use crate::*;
use bytes::Bytes;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use walhost_core::disk::{Disk, OsDisk, SimDisk};
use walhost_core::time::SimClock;
use walhost_core::{Random, Result};

/// Keeps what it was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) committed: Mutex<Vec<(u64, Place)>>,
    pub(crate) failed: Mutex<Vec<(u64, Failure)>>,
}

impl Observer for Told {
    type Context = u64;

    fn committed(&self, frames: Vec<(u64, Place)>) {
        self.committed.lock().extend(frames);
    }

    fn failed(&self, frames: Vec<u64>, failure: &Failure) {
        self.failed.lock().extend(frames.into_iter().map(|context| (context, failure.clone())));
    }
}

/// Keeps what a replay says.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) frames: Vec<(FrameHead, Place, Bytes)>,
    pub(crate) damage: Vec<Damage>,
}

impl Replay for Kept {
    fn head(&mut self, head: &FrameHead, place: Place) {
        self.frames.push((*head, place, Bytes::new()));
    }

    fn wants_body(&self, _head: &FrameHead) -> bool {
        true
    }

    fn body(&mut self, head: &FrameHead, _place: Place, body: Bytes) -> Result<()> {
        let last = self.frames.last_mut().unwrap();
        assert_eq!(last.0, *head);
        last.2 = body;
        Ok(())
    }

    fn lost(&mut self, damage: &Damage) {
        self.damage.push(damage.clone());
    }
}

pub(crate) struct Rig {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) options: Options,
    pub(crate) dir: PathBuf,
}

pub(crate) struct Running {
    pub(crate) log: Arc<Log<Told>>,
    pub(crate) committer: Committer<Told>,
    pub(crate) preparer: Preparer<Told>,
    pub(crate) told: Arc<Told>,
    pub(crate) kept: Kept,
    pub(crate) opened: (u32, u64),
    pub(crate) clean: bool,
}

impl Rig {
    pub(crate) fn new(seed: u64) -> Rig {
        let clock = Arc::new(SimClock::new(1_000));
        let mut options = Options::new(Arc::clone(&clock) as _, Arc::new(Random::seeded(seed)));
        options.segment_bytes = limits::SEGMENT_BYTES_MIN;
        Rig { disk: SimDisk::new(seed), clock, options, dir: PathBuf::from("/data/wal") }
    }

    pub(crate) fn open(&self) -> Running {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Running> {
        let mut kept = Kept::default();
        let disk = Arc::new(self.disk.clone());
        let mut opened = Log::<Told>::open(disk, &self.dir, self.options.clone(), &mut kept)?;
        let told = Arc::new(Told::default());
        opened.committer.attach(Arc::clone(&told));
        let Opened { epoch, log, committer, preparer, torn_frames, clean, .. } = opened;
        Ok(Running { log, committer, preparer, told, kept, opened: (epoch, torn_frames), clean })
    }
}

impl Running {
    pub(crate) fn submit(&self, number: u64, bytes: usize, urgency: Urgency) {
        self.log.submit(draft(number, bytes, urgency), number).map_err(|(refused, _)| refused).unwrap();
    }

    pub(crate) fn settle(&mut self) -> Step {
        loop {
            match self.committer.step() {
                Step::Worked => {}
                other => return other,
            }
        }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.told.committed.lock().iter().map(|(_, place)| *place).collect()
    }

    pub(crate) fn close(mut self) {
        self.log.close();
        assert_eq!(self.settle(), Step::Closed);
    }
}

pub(crate) fn draft(number: u64, bytes: usize, urgency: Urgency) -> FrameDraft {
    FrameDraft {
        kind: 1,
        view: 7,
        first_offset: number,
        count: 1,
        first_sequence: number * 10,
        parts: vec![Bytes::from(number.to_le_bytes().to_vec()), Bytes::from(vec![number as u8; bytes])],
        urgency,
    }
}

pub(crate) fn body(number: u64, bytes: usize) -> Vec<u8> {
    draft(number, bytes, Urgency::Now).parts.concat()
}

fn numbers(kept: &Kept) -> Vec<u64> {
    kept.frames.iter().map(|(head, ..)| head.first_offset).collect()
}

#[test]
fn what_is_committed_is_read_back_and_replayed_in_order_after_close_and_after_a_crash() {
    let rig = Rig::new(1);
    let mut first = rig.open();
    for number in 0..20 {
        first.submit(number, 300 + number as usize, Urgency::Now);
        first.settle();
    }
    let places = first.places();
    assert_eq!(places.len(), 20);
    for (number, place) in places.iter().enumerate() {
        let (head, read) = first.log.read(*place).unwrap();
        assert_eq!((head.first_offset, read), (number as u64, body(number as u64, 300 + number).into()));
    }
    first.close();
    let mut second = rig.open();
    assert_eq!(numbers(&second.kept), (0..20).collect::<Vec<_>>());
    assert!(second.opened.0 > 1 && second.kept.damage.is_empty());
    second.submit(20, 10, Urgency::Now);
    second.settle();
    rig.disk.crash();
    let third = rig.open();
    assert_eq!(numbers(&third.kept), (0..21).collect::<Vec<_>>());
    assert_eq!(third.kept.damage, []);
    let (head, place, read) = &third.kept.frames[20];
    assert!(head.origin < head.log_sequence, "not proven before the crash: copied");
    assert_eq!(read, &body(20, 10));
    assert_eq!(&third.log.read(*place).unwrap().1, read);
}

#[test]
fn an_open_knows_whether_the_last_process_has_closed_the_log() {
    let rig = Rig::new(21);
    let mut first = rig.open();
    assert!(first.clean, "a new directory");
    first.submit(0, 100, Urgency::Now);
    first.settle();
    rig.disk.kill();
    let killed = rig.open();
    assert!(!killed.clean);
    killed.submit(1, 100, Urgency::Now);
    killed.close();
    // An open that never got its fence done changes nothing; one that did was not closed.
    rig.disk.stop_after(5);
    assert!(rig.try_open().is_err());
    rig.disk.crash();
    let mut rolled = rig.open();
    assert!(rolled.clean);
    rolled.submit(2, 100, Urgency::Now);
    rolled.settle();
    rolled.log.roll();
    rolled.settle();
    rig.disk.crash();
    let mut sealed = rig.open();
    assert!(!sealed.clean, "a footer alone is not the end of a log");
    sealed.log.roll();
    sealed.settle();
    assert!(sealed.log.segments().iter().all(|segment| segment.sealed));
    sealed.close();
    let last = rig.open();
    assert!(last.clean && numbers(&last.kept) == [0, 1, 2], "sealed before it was closed");
    rig.disk.fail_syncs(0, 9);
    last.submit(3, 100, Urgency::Now);
    last.close();
    rig.disk.fail_syncs(0, 0);
    rig.disk.crash();
    assert!(!rig.open().clean, "read-only at its end");
}

#[test]
fn lazy_frames_ride_or_go_alone_after_their_time_and_an_idle_log_proves_its_last_commit() {
    let rig = Rig::new(2);
    let mut log = rig.open();
    rig.clock.advance(Duration::from_secs(1));
    log.settle();
    log.submit(1, 10, Urgency::Lazy);
    assert_eq!(log.settle(), Step::Idle(Some(Duration::from_millis(50))));
    assert_eq!(log.places().len(), 0);
    log.submit(2, 10, Urgency::Now);
    log.settle();
    assert_eq!(log.places().len(), 2, "it rides");
    log.submit(3, 10, Urgency::Lazy);
    rig.clock.advance(Duration::from_millis(49));
    log.settle();
    assert_eq!(log.places().len(), 2);
    rig.clock.advance(Duration::from_millis(1));
    log.settle();
    assert_eq!(log.places().len(), 3, "it goes alone");
    let idle = log.log.stats().commits_idle;
    rig.clock.advance(Duration::from_millis(50));
    assert_eq!(log.settle(), Step::Idle(None));
    assert_eq!(log.log.stats().commits_idle, idle + 1);
    rig.disk.crash();
    let again = rig.open();
    assert!(again.kept.frames.iter().all(|(head, ..)| head.origin == head.log_sequence), "proven: not copied");
    assert_eq!(numbers(&again.kept), [1, 2, 3]);
}

#[test]
fn segments_rotate_are_released_recycled_and_stay_released() {
    let rig = Rig::new(3);
    let mut log = rig.open();
    for number in 0..60 {
        log.submit(number, 1_000, Urgency::Now);
        log.settle();
    }
    let segments = log.log.segments();
    assert!(segments.len() > 3, "{segments:?}");
    assert!(segments.windows(2).all(|pair| pair[0].last + 1 == pair[1].first && pair[0].sealed));
    let released = [segments[0], segments[1], segments[2]];
    released.iter().for_each(|segment| log.log.release(segment.segment));
    log.log.release(segments.last().unwrap().segment);
    log.submit(60, 1_000, Urgency::Now);
    log.settle();
    while log.preparer.step() {}
    assert_eq!(log.log.segments().len(), segments.len() - 3, "the active one is not released");
    let gone = log.places().iter().filter(|place| log.log.read(**place).is_err()).count();
    assert!(gone > 0);
    for number in 61..100 {
        log.submit(number, 1_000, Urgency::Now);
        log.settle();
        while log.preparer.step() {}
    }
    assert!(log.log.stats().recycled > 0);
    let expected: Vec<u64> = (gone as u64..100).collect();
    let files = rig.disk.list(&rig.dir).unwrap().len();
    rig.disk.crash();
    let again = rig.open();
    assert_eq!(numbers(&again.kept), expected);
    assert_eq!(again.kept.damage, []);
    assert!(rig.disk.list(&rig.dir).unwrap().len() <= files);
    drop(again);
    rig.disk.kill();
    assert_eq!(numbers(&rig.open().kept), expected);
}

#[test]
fn i04_after_a_failed_sync_nothing_of_the_group_counts_and_the_file_is_given_up() {
    let rig = Rig::new(4);
    let mut log = rig.open();
    log.submit(1, 100, Urgency::Now);
    log.settle();
    let epoch = log.opened.0;
    rig.disk.fail_syncs(0, 1);
    log.submit(2, 100, Urgency::Now);
    log.submit(3, 100, Urgency::Now);
    log.settle();
    assert_eq!(log.places().len(), 1);
    {
        let failed = log.told.failed.lock();
        assert_eq!(failed.len(), 2);
        assert!(failed[0].1.void && failed[0].1.kind == FailureKind::Sync);
    }
    log.submit(4, 100, Urgency::Now);
    log.settle();
    assert_eq!(log.log.state(), State::Ok);
    let place = log.places()[1];
    assert_eq!(log.log.read(place).unwrap().0.epoch, epoch + 1);
    rig.disk.kill();
    let again = rig.open();
    assert_eq!(numbers(&again.kept), [1, 4], "the void ones are in the page cache, and do not count");
    assert_eq!(again.kept.damage, []);
}

#[test]
fn i04_when_the_fresh_segment_fails_too_the_log_is_read_only_and_reads_go_on() {
    let rig = Rig::new(5);
    let mut log = rig.open();
    log.submit(1, 100, Urgency::Now);
    log.settle();
    rig.disk.fail_syncs(0, 10);
    log.submit(2, 100, Urgency::Now);
    log.settle();
    assert_eq!(log.log.state(), State::ReadOnly);
    assert!(!log.told.failed.lock()[0].1.void);
    assert_eq!(log.log.submit(draft(3, 1, Urgency::Lazy), 3).unwrap_err().0, Refused::ReadOnly);
    assert!(log.log.read(log.places()[0]).is_ok());
    rig.disk.crash();
    assert_eq!(numbers(&rig.open().kept)[0], 1);
}

#[test]
fn i10_a_full_disk_refuses_urgent_frames_keeps_a_reserve_for_lazy_ones_and_resumes_by_itself() {
    let rig = Rig::new(6);
    let mut log = rig.open();
    while log.preparer.step() {}
    rig.disk.set_capacity_bytes(5 * u64::from(rig.options.segment_bytes));
    let mut number = 0;
    while log.log.state() == State::Ok {
        number += 1;
        log.submit(number, 3_000, Urgency::Now);
        log.settle();
        log.preparer.step();
    }
    let (committed, failed) = (log.places().len() as u64, log.told.failed.lock().len() as u64);
    assert_eq!((committed, failed), (number - 1, 1), "each one was told");
    assert_eq!(log.told.failed.lock()[0].1.kind, FailureKind::DiskFull);
    assert_eq!(log.log.submit(draft(9, 1, Urgency::Now), 9).unwrap_err().0, Refused::DiskFull);
    for fact in 1_000..1_010 {
        log.submit(fact, 100, Urgency::Lazy);
        rig.clock.advance(Duration::from_millis(60));
        log.settle();
    }
    assert_eq!(log.places().len() as u64, committed + 10, "facts go on");
    let segments = log.log.segments();
    log.log.release(segments[0].segment);
    rig.clock.advance(Duration::from_millis(60));
    log.settle();
    rig.clock.advance(Duration::from_secs(2));
    log.settle();
    assert_eq!(log.log.state(), State::DiskFull, "one is the reserve");
    log.log.release(segments[1].segment);
    rig.clock.advance(Duration::from_millis(60));
    log.settle();
    rig.clock.advance(Duration::from_secs(2));
    log.settle();
    assert_eq!(log.log.state(), State::Ok);
    log.submit(number + 1, 3_000, Urgency::Now);
    log.settle();
    assert_eq!(log.places().len() as u64, committed + 11);
}

#[test]
fn i08_a_second_owner_is_refused_and_the_first_gives_it_back_on_close() {
    let rig = Rig::new(7);
    let first = rig.open();
    let refused = rig.try_open().err().unwrap();
    assert_eq!(refused.kind(), walhost_core::error::Kind::Conflict);
    assert!(refused.detail().contains("in use"));
    first.close();
    assert!(rig.try_open().is_ok());
}

#[test]
fn a_full_queue_refuses_and_a_frame_that_fits_no_segment_is_invalid() {
    let mut rig = Rig::new(8);
    rig.options.queue_bytes_max = 5_000;
    let mut log = rig.open();
    for number in 0..5 {
        log.submit(number, 900, Urgency::Now);
    }
    assert_eq!(log.log.submit(draft(5, 900, Urgency::Now), 5).unwrap_err(), (Refused::Full, 5));
    log.settle();
    log.submit(5, 900, Urgency::Now);
    assert_eq!(log.log.submit(draft(6, 40_000, Urgency::Now), 6).unwrap_err(), (Refused::Invalid, 6));
    let mut own = draft(7, 1, Urgency::Now);
    own.kind = KIND_RESERVED_FROM;
    assert_eq!(log.log.submit(own, 7).unwrap_err(), (Refused::Invalid, 7));
    log.log.close();
    assert_eq!(log.log.submit(draft(8, 1, Urgency::Now), 8).unwrap_err(), (Refused::Closed, 8));
    log.settle();
    assert_eq!(log.places().len(), 6);
}

#[test]
fn a_value_that_holds_a_whole_segment_is_never_taken_for_frames() {
    let rig = Rig::new(9);
    let mut log = rig.open();
    for number in 0..3 {
        log.submit(number, 500, Urgency::Now);
        log.settle();
    }
    let file = rig.dir.join("00000001.wal");
    let stolen = walhost_core::disk::read_all(&rig.disk, &file, 1 << 20).unwrap();
    let mut hostile = draft(3, 0, Urgency::Now);
    hostile.parts = vec![Bytes::copy_from_slice(&stolen[8_192..16_384])];
    log.log.submit(hostile, 3).unwrap();
    log.settle();
    log.submit(4, 10, Urgency::Now);
    log.settle();
    let place = log.places()[3];
    log.close();
    // Its head is destroyed, so that recovery must look for the next frame inside the value.
    let path = rig.dir.join("00000001.wal");
    rig.disk.flip_bit(&path, (u64::from(place.position) + 9) * 8).unwrap();
    // Without the footer the segment is scanned.
    let last = u64::from(rig.options.segment_bytes) - 512;
    rig.disk.flip_bit(&path, (last + 9) * 8).unwrap();
    let again = rig.open();
    assert_eq!(numbers(&again.kept), [0, 1, 2, 4]);
    let lost: u64 = again.kept.damage.iter().map(Damage::frames).sum();
    assert_eq!(lost, 1, "{:?}", again.kept.damage);
}

#[test]
fn the_threads_commit_on_the_real_disk_and_close_joins_them() {
    let dir = std::env::temp_dir().join(format!("walhost-log-threads-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&dir));
    let mut options =
        Options::new(Arc::new(walhost_core::time::SystemClock::default()), Arc::new(Random::from_system()));
    options.segment_bytes = 256 * 1024;
    let open = |kept: &mut Kept| Log::<Told>::open(Arc::new(OsDisk), &dir, options.clone(), kept).unwrap();
    let opened = open(&mut Kept::default());
    let told = Arc::new(Told::default());
    opened.committer.start(Arc::clone(&told), opened.preparer).unwrap();
    for number in 0..2_000 {
        let urgency = if number % 3 == 0 { Urgency::Lazy } else { Urgency::Now };
        opened.log.submit(draft(number, 400, urgency), number).map_err(|(refused, _)| refused).unwrap();
    }
    opened.log.close();
    assert_eq!(told.committed.lock().len(), 2_000);
    assert!(opened.log.stats().rotations > 2);
    let mut kept = Kept::default();
    let again = open(&mut kept);
    assert_eq!(numbers(&kept), (0..2_000).collect::<Vec<_>>());
    assert_eq!(kept.damage, []);
    drop(again);
    std::fs::remove_dir_all(Path::new(&dir)).unwrap();
}

#[test]
fn an_inspection_names_what_is_there_and_what_is_damaged_and_refuses_a_log_in_use() {
    let rig = Rig::new(10);
    let mut log = rig.open();
    for number in 0..40 {
        log.submit(number, 1_000, Urgency::Now);
        log.settle();
    }
    while log.preparer.step() {}
    let refused = inspect::Inspector::open(&rig.disk, &rig.dir).err().unwrap();
    assert_eq!(refused.kind(), walhost_core::error::Kind::Conflict);
    let places = log.places();
    log.close();
    let look = || inspect::Inspector::open(&rig.disk, &rig.dir).unwrap();
    let report = look().report().unwrap();
    assert_eq!(report.segments.iter().map(|segment| segment.frames).sum::<u64>(), 40);
    let counting = report.segments.iter().filter(|segment| segment.used == inspect::SegmentUse::Counts);
    assert!(counting.clone().count() > 1 && counting.clone().all(|s| s.footer && s.trailers == s.commits));
    assert_eq!((report.segments[0].fences, report.segments[1].rosters), (2, 2));
    assert!(report.segments.iter().any(|segment| segment.used == inspect::SegmentUse::Ready));
    assert_eq!((report.damage.len(), report.torn_frames, look().verify().unwrap().len()), (0, 0, 0));
    let path = rig.dir.join(&report.segments[0].file);
    rig.disk.flip_bit(&path, (u64::from(places[3].position) + 100) * 8).unwrap();
    assert_eq!(look().report().unwrap().damage, [], "a footer vouches for it");
    let damage = look().verify().unwrap();
    assert_eq!(damage.len(), 1);
    assert_eq!((damage[0].first, damage[0].heads[0].first_offset), (places[3].log_sequence, 3));
    let mut shown = Vec::new();
    look()
        .dump(|head, _, body| {
            shown.push((head.first_offset, body.is_some()));
            true
        })
        .unwrap();
    assert_eq!(shown, (0..40).map(|number| (number, number != 3)).collect::<Vec<_>>());
    let missing = inspect::Inspector::open(&rig.disk, Path::new("/nowhere")).err().unwrap();
    assert_eq!(missing.kind(), walhost_core::error::Kind::NotFound);
}
