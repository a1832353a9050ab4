//! What the heads of frames with records do not say: for whom they are meant, and how far apart the records of a
//! delayed one are due.

use super::Section;
use crate::frame::append::Delay;

pub(super) const SECTION: Section = Section {
    name: "extents",
    version: 2,
    take: |view| {
        let (restricted, delays) = view.extents.besides();
        if restricted.is_empty() && delays.is_empty() {
            return None;
        }
        Some(Box::new(move |writer| {
            writer.u64(restricted.len() as u64);
            for (first_offset, only) in &restricted {
                writer.u64(*first_offset);
                writer.u32(u32::from(*only));
            }
            writer.u64(delays.len() as u64);
            for (first_offset, delay) in &delays {
                writer.u64(*first_offset);
                writer.u64(delay.due_ms);
                writer.u64(delay.jitter_ms);
            }
        }))
    },
    get: |reader, view| {
        for _ in 0..reader.count()? {
            let first_offset = reader.u64()?;
            view.extents.restrict(first_offset, reader.u16()?);
        }
        for _ in 0..reader.count()? {
            let first_offset = reader.u64()?;
            view.extents.delay(first_offset, Delay { due_ms: reader.u64()?, jitter_ms: reader.u64()? });
        }
        Ok(())
    },
};
