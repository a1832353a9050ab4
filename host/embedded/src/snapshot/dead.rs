//! The dead letters, without their records.

use super::Section;
use crate::dead_letters::DeadLetters;

pub(super) const SECTION: Section = Section {
    name: "dead",
    version: 3,
    take: |view| {
        let still = view.dead.still();
        if still.is_empty() {
            return None;
        }
        Some(Box::new(move |writer| still.put(writer)))
    },
    get: |reader, view| {
        view.dead = DeadLetters::read(reader)?;
        Ok(())
    },
};
