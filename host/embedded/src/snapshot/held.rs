//! The keys that are held by a record that was moved, or have such ones behind them (I19). All others are met
//! again in the order of offsets.

use super::Section;
use walhost_core::schedule::keys::NOBODY;

/// Of one key: its hash, who holds it, who waits behind it, and how many of these came back from the dead letters.
type Held = (u64, u64, Vec<(u64, u64)>, usize);

pub(super) const SECTION: Section = Section {
    name: "held",
    version: 2,
    take: |view| {
        let all: Vec<Vec<Held>> = view
            .targets
            .iter()
            .map(|target| {
                let held = |(hash, holder, behind): (u64, u64, Option<&walhost_core::schedule::keys::Behind>)| {
                    let ranges: Vec<(u64, u64)> =
                        behind.map(|behind| behind.ranges.iter().copied().collect()).unwrap_or_default();
                    let durable = !ranges.is_empty() || holder != NOBODY && view.is_moved(holder);
                    durable.then_some((hash, holder, ranges, behind.map_or(0, |behind| behind.returned)))
                };
                target.holds.all().filter_map(held).collect()
            })
            .collect();
        if all.iter().all(Vec::is_empty) {
            return None;
        }
        Some(Box::new(move |writer| {
            writer.u64(all.len() as u64);
            for keys in all {
                writer.u64(keys.len() as u64);
                for (hash, holder, ranges, returned) in keys {
                    writer.u64(hash >> 1);
                    writer.option((holder != NOBODY).then_some(holder));
                    writer.u64(returned as u64);
                    writer.u64(ranges.len() as u64);
                    for (start, end) in ranges {
                        writer.u64(start);
                        writer.u64(end.saturating_sub(start));
                    }
                }
            }
        }))
    },
    get: |reader, view| {
        for number in 0..reader.count()? {
            let mut progress = view.targets.get_mut(number);
            for _ in 0..reader.count()? {
                let hash = reader.u64()? << 1;
                let holder = reader.option()?.unwrap_or(NOBODY);
                if let Some(progress) = &mut progress {
                    progress.install(hash, holder);
                }
                let returned = reader.u64()?;
                for place in 0..reader.count()? {
                    let start = reader.u64()?;
                    let end = start.saturating_add(reader.u64()?);
                    if let Some(progress) = &mut progress {
                        progress.put_range(hash, (start, end), (place as u64) < returned);
                    }
                }
            }
        }
        Ok(())
    },
};
