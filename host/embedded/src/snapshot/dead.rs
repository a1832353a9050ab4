//! The dead letters, without their records.

use super::Section;
use crate::dead_letters::DeadLetters;

pub(super) const SECTION: Section = Section {
    name: "dead",
    version: 1,
    take: |view| {
        if view.dead.is_empty() {
            return None;
        }
        let dead = view.dead.clone();
        Some(Box::new(move |writer| dead.put(writer)))
    },
    get: |reader, view| {
        view.dead = DeadLetters::read(reader)?;
        Ok(())
    },
};
