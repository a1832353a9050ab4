//! Starts without an end, counts, and trials that are not over (I15), target by target.

use super::{Section, Taken};
use crate::codec::{Reader, Writer, corrupt};
use crate::suspects::Suspects;
use crate::view::View;
use walhost_core::Result;

pub(super) const SECTION: Section = Section { name: "suspects", version: 2, take, get };

fn take(view: &View) -> Option<Taken> {
    let all = view.targets.iter().enumerate().filter(|(_, target)| !target.ended && !target.suspects.is_quiet());
    let all: Vec<(usize, Suspects)> = all.map(|(number, target)| (number, target.suspects.clone())).collect();
    if all.is_empty() {
        return None;
    }
    Some(Box::new(move |writer: &mut Writer| {
        writer.u64(all.len() as u64);
        for (number, suspects) in all {
            writer.u64(number as u64);
            suspects.put(writer);
        }
    }))
}

fn get(reader: &mut Reader<'_>, view: &mut View) -> Result<()> {
    for _ in 0..reader.count()? {
        let number = reader.u16()?;
        let suspects = Suspects::get(reader)?;
        view.progress(number).ok_or_else(|| corrupt("target of a suspect"))?.suspects = suspects;
    }
    Ok(())
}
