//! How records ended.

use super::Section;
use crate::history::History;

pub(super) const SECTION: Section = Section {
    name: "history",
    version: 1,
    take: |view| {
        if view.history.is_empty() {
            return None;
        }
        let history = view.history.clone();
        Some(Box::new(move |writer| history.put(writer)))
    },
    get: |reader, view| {
        view.history = History::get(reader)?;
        Ok(())
    },
};
