//! The progress of all targets: counters, what is settled, what was tried.

use super::Section;
use crate::codec::{Reader, Writer, corrupt};
use crate::frame::attempt::Attempts;
use crate::progress::{Progress, Tried};
use crate::runs::Runs;
use crate::spread::StillMap;
use walhost_core::queue::Accounting;
use walhost_core::{Result, TargetName};

pub(super) const SECTION: Section = Section {
    name: "targets",
    version: 1,
    take: |view| {
        let all: Vec<Kept> = view.targets.iter().map(Kept::of).collect();
        if all.is_empty() {
            return None;
        }
        Some(Box::new(move |writer| {
            writer.u64(all.len() as u64);
            all.iter().for_each(|target| target.put(writer));
        }))
    },
    get: |reader, view| {
        for _ in 0..reader.count()? {
            view.targets.push(get(reader)?);
        }
        Ok(())
    },
};

/// What of a target's progress is durable.
struct Kept {
    name: TargetName,
    ended: bool,
    counters: Accounting,
    settled: Runs,
    tried: StillMap<u64, Tried>,
}

impl Kept {
    fn of(progress: &Progress) -> Kept {
        Kept {
            name: progress.name.clone(),
            ended: progress.ended,
            counters: progress.counters,
            settled: progress.settled.clone(),
            tried: progress.tried.clone(),
        }
    }

    fn put(&self, writer: &mut Writer) {
        writer.text(self.name.as_str());
        writer.flag(self.ended);
        let counters = &self.counters;
        for number in [
            counters.accepted,
            counters.delivered,
            counters.dead,
            counters.pending,
            counters.filtered,
            counters.purged,
            counters.expired,
            counters.cancelled,
        ] {
            writer.u64(number);
        }
        writer.u64(self.settled.floor());
        writer.u64(self.settled.count() as u64);
        let mut at = self.settled.floor();
        for (start, end) in self.settled.above() {
            writer.u64(start - at);
            writer.u64(end - start);
            at = end;
        }
        writer.u64(self.tried.len() as u64);
        for (offset, tried) in &self.tried {
            writer.u64(*offset);
            put_tried(writer, tried);
        }
    }
}

fn put_tried(writer: &mut Writer, tried: &Tried) {
    writer.u32(tried.number);
    writer.u32(tried.spent);
    writer.option(tried.first_spent_at_ms);
    writer.u64(tried.due_ms);
    writer.u64(tried.change);
    writer.flag(tried.by_time);
    tried.attempts.put(writer);
}

fn get_tried(reader: &mut Reader<'_>) -> Result<Tried> {
    Ok(Tried {
        number: reader.u32()?,
        spent: reader.u32()?,
        first_spent_at_ms: reader.option()?,
        due_ms: reader.u64()?,
        change: reader.u64()?,
        by_time: reader.flag()?,
        waiting: false,
        in_frame: false,
        attempts: Attempts::get(reader)?,
    })
}

fn get(reader: &mut Reader<'_>) -> Result<Progress> {
    let name = TargetName::new(reader.text()?).map_err(|_| corrupt("name of a target"))?;
    let ended = reader.flag()?;
    let counters = Accounting {
        accepted: reader.u64()?,
        delivered: reader.u64()?,
        dead: reader.u64()?,
        pending: reader.u64()?,
        filtered: reader.u64()?,
        purged: reader.u64()?,
        expired: reader.u64()?,
        cancelled: reader.u64()?,
    };
    let floor = reader.u64()?;
    let mut progress = Progress::new(name, floor);
    (progress.ended, progress.counters, progress.settled) = (ended, counters, Runs::from_floor(floor));
    let mut at = floor;
    for _ in 0..reader.count()? {
        let start = at.checked_add(reader.u64()?).ok_or_else(|| corrupt("run"))?;
        let end = start.checked_add(reader.u64()?).ok_or_else(|| corrupt("run"))?;
        progress.settled.insert_range(start, end);
        at = end;
    }
    for _ in 0..reader.count()? {
        let offset = reader.u64()?;
        progress.tried.insert(offset, get_tried(reader)?);
    }
    Ok(progress)
}
