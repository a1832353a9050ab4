//! I6: a log at rest, of which one bit after another is flipped.
//!
//! In: a stride. Out: how many states were looked at, or the first that lost more than one frame, lost one
//! without naming it, or gave a wrong byte.

use super::model::{Kept, Model, Told};
use crate::recover::{replay::Teller, survey::survey, verdict::judge};
use crate::{Committer, DamageKind, Log, Opened, Options, Step, Urgency, limits};
use std::path::{Path, PathBuf};
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

/// Flips every `stride`th bit of all segment files in turn. `closed`: the log was closed, so that all its
/// segments have footers; else its last segment is to be scanned.
pub fn flips(stride: u64, closed: bool) -> Result<Flips, String> {
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
    // Two segments, in commits of one to three frames.
    while log.segments().len() < 2 || log.segments()[1].last < log.segments()[1].first + 20 {
        for _ in 0..1 + model.dice() % 3 {
            let (number, draft) = model.draft(Urgency::Now);
            log.submit(draft, number).map_err(|(refused, _)| format!("{refused:?}"))?;
        }
        settle(&mut committer);
    }
    if closed {
        log.close();
    }
    clock.advance(Duration::from_millis(100));
    settle(&mut committer);
    model.told(&told)?;
    drop((log, committer));
    disk.kill();
    let mut flips = Flips::default();
    for file in disk.list(&dir).map_err(|error| error.to_string())? {
        let path = dir.join(&file.name);
        let mut bit = 0;
        while bit < file.bytes * 8 {
            let flip = || disk.flip_bit(&path, bit).map_err(|error| error.to_string());
            flip()?;
            look(&disk, &dir, &model, &mut flips).map_err(|broken| format!("{} bit {bit}: {broken}", file.name))?;
            flip()?;
            bit += stride;
        }
    }
    Ok(flips)
}

fn look(disk: &SimDisk, dir: &Path, model: &Model, flips: &mut Flips) -> Result<(), String> {
    let text = |error: walhost_core::Error| error.to_string();
    let survey = survey(disk, dir).map_err(text)?;
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
            Some(body) if *body != model.body(head.first_offset) => {
                return Err(format!("frame {} has other bytes", head.first_offset));
            }
            Some(_) => there.push(head.first_offset),
            None => {}
        }
    }
    there.sort_unstable();
    let lost: Vec<_> = model.places().filter(|(number, _)| there.binary_search(number).is_err()).collect();
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
