//! Looks at a log that nobody has open, and changes nothing: for `walhost wal inspect|verify|dump`.
//!
//! In: a directory. Out: its segments, its frames, its damage, by the very rules that an open goes by.

use crate::format::{KIND_FENCE, KIND_FOOTER, KIND_RELEASE, KIND_ROSTER, KIND_TRAILER};
use crate::frame::{FrameHead, KIND_RESERVED_FROM, Place};
use crate::recover::replay::{Teller, frame_damage};
use crate::recover::survey::{ENDING, Survey, headers, survey};
use crate::recover::verdict::{Verdict, contents, judge};
use crate::recover::{LOCK_NAME, failed, lock};
use crate::replay::{Damage, Replay};
use crate::segment::{ReadFault, Segment};
use bytes::Bytes;
use std::io;
use std::path::Path;
use walhost_core::Result;
use walhost_core::disk::{Disk, Lock};
use walhost_core::error::{Error, Kind};

/// A log under inspection. Nobody can open it meanwhile.
pub struct Inspector {
    survey: Survey,
    verdict: Verdict,
    set_aside: Vec<String>,
    _lock: Option<Box<dyn Lock>>,
}

/// What a segment is to an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentUse {
    /// It holds frames that count.
    Counts,
    /// It holds nothing: made ready, never used.
    Ready,
    /// All that it holds is void, given back, or about to be copied.
    Spare,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Name of its file.
    pub file: String,
    /// Its number.
    pub segment: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// What it is to an open.
    pub used: SegmentUse,
    /// The epoch that its header names.
    pub header_epoch: u32,
    /// Whether each of the two copies of its header is intact.
    pub headers_intact: [bool; 2],
    /// The epoch of its frames; none without frames.
    pub epoch: Option<u32>,
    /// First log sequence number that counts in it; 0 when none does.
    pub first: u64,
    /// Last log sequence number that counts in it; 0 when none does.
    pub last: u64,
    /// Group commits that have left a trace in it.
    pub commits: u64,
    /// Frames of the caller's whose heads are intact, those that do not count too.
    pub frames: u64,
    /// Bytes of their bodies.
    pub frame_bytes: u64,
    /// Trailers.
    pub trailers: u64,
    /// Fences: two copies in the segment that begins an epoch.
    pub fences: u64,
    /// Rosters: two copies in every other segment.
    pub rosters: u64,
    /// Releases: two copies each.
    pub releases: u64,
    /// True when it ends in a footer that can be believed.
    pub footer: bool,
}

/// The whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order of their numbers.
    pub segments: Vec<SegmentReport>,
    /// The newest epoch seen; the next open begins a larger one.
    pub epoch: u32,
    /// The last log sequence number that is proven.
    pub last: u64,
    /// Frames behind it that are intact: the next open copies them.
    pub unproven_frames: u64,
    /// Frames behind it that are not: the torn tail that the next open cuts.
    pub torn_frames: u64,
    /// Whether the last process has closed the log; see `Opened::clean`.
    pub clean: bool,
    /// Files that hold nothing: a crash came while they were made ready.
    pub blank: Vec<String>,
    /// Files that an earlier open has set aside.
    pub set_aside: Vec<String>,
    /// Damage that shows without reading bodies that a footer vouches for; `verify` reads all.
    pub damage: Vec<Damage>,
}

impl Inspector {
    /// Looks at a directory. Errors: `Conflict` when a process has it open, `NotFound` when there is none,
    /// `Corrupt` for a newer format, `Unavailable` when the disk fails.
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<Inspector> {
        let listed = disk.list(dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::new(Kind::NotFound, "log.inspect", "there is no such directory").with("directory", dir.display())
            }
            _ => failed(error, "the directory cannot be read"),
        })?;
        // Who has it open has made the file; an inspection makes none.
        let locked = listed.iter().any(|found| found.name == LOCK_NAME);
        let lock = if locked { Some(lock(disk, dir)?) } else { None };
        let survey = survey(disk, dir)?;
        let verdict = judge(&survey).map_err(|error| failed(error, "a segment cannot be read"))?;
        let aside = format!("{ENDING}.damaged");
        let set_aside = listed.into_iter().map(|found| found.name).filter(|name| name.contains(&aside)).collect();
        Ok(Inspector { survey, verdict, set_aside, _lock: lock })
    }

    /// What there is, without reading bodies that a footer vouches for.
    pub fn report(&self) -> Result<Report> {
        let mut nothing = Nothing;
        let mut teller = self.teller(&mut nothing);
        for segment in &self.verdict.live {
            teller.segment(segment)?;
        }
        let damage = teller.damage;
        let mut segments = Vec::with_capacity(self.survey.segments.len());
        for surveyed in &self.survey.segments {
            let epoch = surveyed.first.as_ref().map(|first| first.head.epoch);
            segments.push(self.segment(&surveyed.segment, epoch).map_err(unread)?);
        }
        Ok(Report {
            segments,
            epoch: self.verdict.epoch_max.max(self.survey.epoch_max),
            last: self.verdict.last_counting,
            unproven_frames: self.verdict.copies.len() as u64,
            torn_frames: self.verdict.torn_frames,
            clean: self.verdict.clean,
            blank: self.survey.blank.iter().map(|(name, _)| name.clone()).collect(),
            set_aside: self.set_aside.clone(),
            damage,
        })
    }

    fn segment(&self, segment: &Segment, epoch: Option<u32>) -> io::Result<SegmentReport> {
        let counts = self.verdict.live.iter().any(|live| live.id() == segment.id());
        let range = segment.range();
        let mut report = SegmentReport {
            file: segment.name.clone(),
            segment: segment.id(),
            bytes: u64::from(segment.bytes),
            used: match epoch {
                _ if counts => SegmentUse::Counts,
                Some(_) => SegmentUse::Spare,
                None => SegmentUse::Ready,
            },
            header_epoch: segment.header.epoch,
            headers_intact: headers(&*segment.file)?.map(|copy| matches!(copy, crate::format::HeaderRead::Valid(_))),
            epoch,
            first: if counts { range.first } else { 0 },
            last: if counts { range.last } else { 0 },
            commits: 0,
            frames: 0,
            frame_bytes: 0,
            trailers: 0,
            fences: 0,
            rosters: 0,
            releases: 0,
            footer: false,
        };
        if epoch.is_none() {
            return Ok(report);
        }
        let contents = contents(segment)?;
        report.footer = contents.sealed.is_some();
        let mut commit = 0;
        for frame in &contents.found {
            report.commits += u64::from(frame.head.commit != commit);
            commit = frame.head.commit;
            match frame.head.kind {
                KIND_TRAILER => report.trailers += 1,
                KIND_FENCE => report.fences += 1,
                KIND_ROSTER => report.rosters += 1,
                KIND_RELEASE => report.releases += 1,
                KIND_FOOTER => {}
                _ => {
                    report.frames += 1;
                    report.frame_bytes += u64::from(frame.head.bytes);
                }
            }
        }
        Ok(report)
    }

    fn teller<'a>(&'a self, caller: &'a mut dyn Replay) -> Teller<'a> {
        Teller::new(caller, self.survey.damage.iter().chain(&self.verdict.damage))
    }

    /// Reads every frame that counts, the log's own too, and answers everything that is damaged.
    pub fn verify(&self) -> Result<Vec<Damage>> {
        let mut nothing = Nothing;
        let mut teller = self.teller(&mut nothing);
        let mut more = Vec::new();
        for segment in &self.verdict.live {
            teller.segment(segment)?;
            let contents = contents(segment).map_err(unread)?;
            if contents.sealed.is_none() {
                // It was scanned: bodies too.
                continue;
            }
            for frame in contents.found.iter().filter(|frame| frame.head.log_sequence <= segment.range().last) {
                let place = frame.place(segment.id());
                match segment.read(place) {
                    Ok(_) => {}
                    Err(ReadFault::Disk(error)) => return Err(unread(error)),
                    Err(ReadFault::Head | ReadFault::Body) => more.push(frame_damage(segment, place, frame.head)),
                }
            }
        }
        let mut damage = teller.damage;
        damage.extend(more);
        Ok(damage)
    }

    /// Shows every frame of the caller's that counts, in log order, with its body; `None` for a body that
    /// is damaged. Until `show` says false.
    pub fn dump(&self, mut show: impl FnMut(&FrameHead, Place, Option<Bytes>) -> bool) -> Result<()> {
        for segment in &self.verdict.live {
            let range = segment.range();
            for frame in contents(segment).map_err(unread)?.found {
                if frame.head.kind >= KIND_RESERVED_FROM || frame.head.log_sequence > range.last {
                    continue;
                }
                let place = frame.place(segment.id());
                let body = match segment.read(place) {
                    Ok((_, body)) => Some(body),
                    Err(ReadFault::Disk(error)) => return Err(unread(error)),
                    Err(ReadFault::Head | ReadFault::Body) => None,
                };
                if !show(&frame.head, place, body) {
                    return Ok(());
                }
            }
        }
        for ((head, body), place) in self.verdict.copies.iter().zip(&self.verdict.copied_from) {
            if !show(head, *place, Some(body.clone())) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Wants nothing.
struct Nothing;

impl Replay for Nothing {
    fn head(&mut self, _head: &FrameHead, _place: Place) {}

    fn wants_body(&self, _head: &FrameHead) -> bool {
        false
    }

    fn body(&mut self, _head: &FrameHead, _place: Place, _body: Bytes) -> Result<()> {
        Ok(())
    }

    fn lost(&mut self, _damage: &Damage) {}
}

fn unread(error: io::Error) -> Error {
    failed(error, "a segment cannot be read")
}
