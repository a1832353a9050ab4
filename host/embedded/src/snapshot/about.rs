//! What a namespace is: its number, name, incarnation, and the next numbers that it gives.

use super::Section;
use crate::codec::corrupt;
use walhost_core::NamespaceName;

pub(super) const SECTION: Section = Section {
    name: "about",
    version: 1,
    take: |view| {
        let name = view.name.clone();
        let (number, incarnation) = (view.number, view.incarnation);
        let numbers = [view.applied, view.last_sequence, view.next_dead, view.next_change, view.lost];
        Some(Box::new(move |writer| {
            writer.u32(number);
            writer.text(name.as_ref().map_or("", NamespaceName::as_str));
            writer.u32(incarnation);
            numbers.into_iter().for_each(|number| writer.u64(number));
        }))
    },
    get: |reader, view| {
        view.number = reader.u32()?;
        let name = reader.text()?;
        view.name = match name {
            "" => None,
            name => Some(NamespaceName::new(name).map_err(|_| corrupt("name of a namespace"))?),
        };
        view.incarnation = reader.u32()?;
        view.applied = reader.u64()?;
        view.next_offset = view.applied;
        view.last_sequence = reader.u64()?;
        view.next_dead = reader.u64()?;
        view.next_change = reader.u64()?;
        view.lost = reader.u64()?;
        Ok(())
    },
};
