//! Idempotency keys within their window.

use super::Section;
use crate::idempotency::Keys;

pub(super) const SECTION: Section = Section {
    name: "keys",
    version: 2,
    take: |view| {
        if view.keys.is_empty() {
            return None;
        }
        let keys = view.keys.clone();
        Some(Box::new(move |writer| keys.put(writer)))
    },
    get: |reader, view| {
        view.keys = Keys::get(reader)?;
        Ok(())
    },
};
