//! Records that were appended again: where they began, where they are for a target, and what they wait for.

use super::Section;
use crate::spread::StillMap;

/// Of one target: first to present offsets; due time, offset and whether for an attempt of those that wait.
type Moved = (StillMap<u64, u64>, Vec<(u64, u64, bool)>);

pub(super) const SECTION: Section = Section {
    name: "moved",
    version: 2,
    take: |view| {
        if view.targets.iter().all(|target| target.moved.is_empty()) {
            return None;
        }
        let waits = |offset| view.is_moved(offset);
        let all: Vec<Moved> = view.targets.iter().map(|target| (target.moved.clone(), target.waits(waits))).collect();
        Some(Box::new(move |writer| {
            writer.u64(all.len() as u64);
            for (moved, waits) in all {
                writer.u64(moved.len() as u64);
                for (origin, offset) in &moved {
                    writer.u64(*origin);
                    writer.u64(*offset);
                }
                writer.u64(waits.len() as u64);
                for (due_ms, offset, retry) in waits {
                    writer.u64(due_ms);
                    writer.u64(offset);
                    writer.flag(retry);
                }
            }
        }))
    },
    get: |reader, view| {
        let base_change = view.next_change;
        for number in 0..reader.count()? {
            let mut progress = view.targets.get_mut(number);
            for _ in 0..reader.count()? {
                let (origin, offset) = (reader.u64()?, reader.u64()?);
                if let Some(progress) = &mut progress {
                    progress.moved.insert(origin, offset);
                }
            }
            for _ in 0..reader.count()? {
                let wait = (reader.u64()?, reader.u64()?, reader.flag()?);
                if let Some(progress) = &mut progress {
                    progress.kept_waits.push(wait);
                }
            }
            if let Some(progress) = progress {
                progress.base_change = base_change;
            }
        }
        Ok(())
    },
};
