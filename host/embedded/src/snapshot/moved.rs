//! Records that were appended again: where they began, and where they are for a target.

use super::Section;

pub(super) const SECTION: Section = Section {
    name: "moved",
    version: 1,
    take: |view| {
        if view.moved.is_empty() {
            return None;
        }
        let moved = view.moved.clone();
        Some(Box::new(move |writer| {
            writer.u64(moved.len() as u64);
            for ((origin, target), offset) in &moved {
                writer.u64(*origin);
                writer.u32(u32::from(*target));
                writer.u64(*offset);
            }
        }))
    },
    get: |reader, view| {
        for _ in 0..reader.count()? {
            let (origin, target, offset) = (reader.u64()?, reader.u16()?, reader.u64()?);
            view.moved.insert((origin, target), offset);
            view.origins.insert(offset, origin);
        }
        Ok(())
    },
};
