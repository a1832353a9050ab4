//! I6: a log at rest, of which one bit after another is flipped.
//!
//! In: a stride. Out: how many states were looked at, or the first that lost more than one frame, lost one
//! without naming it, or gave a wrong byte.

use super::model::{Kept, Model, Told};
use crate::recover::{replay::Teller, survey::survey, verdict::judge};
use crate::{Committer, DamageKind, Log, Opened, Options, Place, Step, Urgency, limits};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::Random;
use walhost_core::disk::{Disk, SimDisk};
use walhost_core::time::SimClock;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flips {
    /// Bits flipped, each one alone.
    pub states: u64,
    /// How many of them cost a frame.
    pub lost: u64,
    /// How many damaged only the log's own bookkeeping, or a header that is there twice.
    pub harmless: u64,
}

/// Threads that flip bits, each on a copy of its own.
const THREADS: u64 = 2;

/// Flips every `stride`th bit of all segment files in turn, all bits of a log of 64 KiB when that is 1.
/// `closed`: the log was closed, so that all its segments have footers; else its last segment is to be
/// scanned. All kinds of frames are in it.
pub fn flips(stride: u64, closed: bool) -> Result<Flips, String> {
    let (disk, dir, model) = log_at_rest(closed)?;
    let rest = AtRest {
        must: model.places().collect(),
        bodies: (0..model.next()).map(|number| model.body(number)).collect(),
        dir,
    };
    let (disk, rest) = (&disk, &rest);
    let parts: Vec<Result<Flips, String>> = std::thread::scope(|scope| {
        let part = |thread| {
            let disk = disk.fork(thread);
            scope.spawn(move || flip_all(&disk, rest, thread * stride, THREADS * stride))
        };
        let running: Vec<_> = (0..THREADS).map(part).collect();
        running.into_iter().map(|part| part.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))).collect()
    });
    let mut flips = Flips::default();
    for part in parts {
        let part = part?;
        flips.states += part.states;
        flips.lost += part.lost;
        flips.harmless += part.harmless;
    }
    Ok(flips)
}

/// What is known of the log before a bit is flipped.
struct AtRest {
    dir: PathBuf,
    /// Numbers and places of the frames that must be there.
    must: Vec<(u64, Place)>,
    /// The bodies of all frames, by number.
    bodies: Vec<Bytes>,
}

fn flip_all(disk: &SimDisk, rest: &AtRest, from: u64, stride: u64) -> Result<Flips, String> {
    let mut flips = Flips::default();
    let dir = &rest.dir;
    for file in disk.list(dir).map_err(|error| error.to_string())? {
        let path = dir.join(&file.name);
        let mut bit = from;
        while bit < file.bytes * 8 {
            let flip = || disk.flip_bit(&path, bit).map_err(|error| error.to_string());
            flip()?;
            look(disk, rest, &mut flips).map_err(|broken| format!("{} bit {bit}: {broken}", file.name))?;
            flip()?;
            bit += stride;
        }
    }
    Ok(flips)
}

/// Two segments with frames of all kinds, on a disk that nobody has open.
fn log_at_rest(closed: bool) -> Result<(SimDisk, PathBuf, Model), String> {
    let disk = SimDisk::new(6);
    let dir = PathBuf::from("/data/wal");
    let mut model = Model::new(6);
    let clock = Arc::new(SimClock::new(1_000));
    let mut options = Options::new(Arc::clone(&clock) as _, Arc::new(Random::seeded(6)));
    options.segment_bytes = limits::SEGMENT_BYTES_MIN;
    let text = |error: walhost_core::Error| error.to_string();
    let Opened { log, mut committer, .. } =
        Log::<Told>::open(Arc::new(disk.clone()), &dir, options, &mut Kept::default()).map_err(text)?;
    let told = Arc::new(Told::default());
    committer.attach(Arc::clone(&told));
    let settle = |committer: &mut Committer<Told>| while committer.step() == Step::Worked {};
    // Commits of one to three frames.
    let fill = |committer: &mut Committer<Told>, model: &mut Model| {
        while log.segments().len() < 2 || log.segments()[1].last < log.segments()[1].first + 20 {
            for _ in 0..1 + model.dice() % 3 {
                let (number, draft) = model.draft(Urgency::Now);
                log.submit(draft, number).map_err(|(refused, _)| format!("{refused:?}"))?;
            }
            settle(committer);
        }
        model.told(&told)
    };
    fill(&mut committer, &mut model)?;
    // The first one is given back, and used again as the third.
    let first = log.segments()[0].segment;
    model.release(first);
    log.release(first);
    clock.advance(Duration::from_millis(100));
    settle(&mut committer);
    fill(&mut committer, &mut model)?;
    if log.stats().recycled == 0 {
        return Err("no file was used twice".to_owned());
    }
    if closed {
        log.close();
    }
    clock.advance(Duration::from_millis(100));
    settle(&mut committer);
    model.told(&told)?;
    drop((log, committer));
    disk.kill();
    Ok((disk, dir, model))
}

fn look(disk: &SimDisk, rest: &AtRest, flips: &mut Flips) -> Result<(), String> {
    let text = |error: walhost_core::Error| error.to_string();
    let survey = survey(disk, &rest.dir).map_err(text)?;
    let verdict = judge(&survey).map_err(|error| error.to_string())?;
    let mut kept = Kept::default();
    let mut teller = Teller::new(&mut kept, survey.damage.iter().chain(&verdict.damage));
    for segment in &verdict.live {
        teller.segment(segment).map_err(text)?;
    }
    let copied = verdict.copies.iter().map(|(head, _)| head.first_offset);
    let mut there: Vec<u64> = copied.collect();
    for (head, _, body) in &kept.frames {
        match body {
            Some(body) if rest.bodies.get(head.first_offset as usize) != Some(body) => {
                return Err(format!("frame {} has other bytes", head.first_offset));
            }
            Some(_) => there.push(head.first_offset),
            None => {}
        }
    }
    there.sort_unstable();
    let lost: Vec<_> = rest.must.iter().filter(|(number, _)| there.binary_search(number).is_err()).collect();
    flips.states += 1;
    flips.lost += lost.len() as u64;
    let named = |sequence: u64| kept.damage.iter().any(|d| (d.first..=d.last).contains(&sequence));
    let frames: u64 = kept.damage.iter().map(crate::Damage::frames).sum();
    flips.harmless += u64::from(lost.is_empty() && !kept.damage.is_empty());
    match lost[..] {
        [] if frames > 0 => Err(format!("nothing is lost, and reported is {:?}", kept.damage)),
        [] => Ok(()),
        [(number, place)] if !named(place.log_sequence) => {
            Err(format!("frame {number} is lost and not named: {:?}", kept.damage))
        }
        [_] if frames != 1 || kept.damage.iter().any(|d| d.kind == DamageKind::Segment) => {
            Err(format!("one frame is lost, and reported is {:?}", kept.damage))
        }
        [_] => Ok(()),
        _ => Err(format!("{} frames are lost: {:?}", lost.len(), kept.damage)),
    }
}
