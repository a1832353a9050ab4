//! What the cleaner changes in a view: where frames are, and nothing else.
//!
//! In: copies that are durable, frames that cannot be read. Out: the view with their places.

use super::View;
use walhost_log::Place;

impl View {
    /// A frame with records was copied. Whoever reads it from now on reads the copy.
    pub(crate) fn copied(&mut self, first_offset: u64, from: Place, to: Place) {
        self.extents.relocate(first_offset, from, to);
    }

    /// Dead letters that follow one another were copied into one frame; each with where it was.
    pub(crate) fn copied_letters(&mut self, first: u64, from: &[Place], to: Place) {
        let count = from.len() as u32;
        for (index, from) in from.iter().enumerate() {
            let number = first + index as u64;
            let Some(before) = self.dead.get(number).filter(|dead| dead.place == Some(*from)) else { continue };
            self.extents.unhold(from.segment, before.log_bytes());
            if let Some(dead) = self.dead.place(number, to, index as u32, count) {
                self.extents.hold(to.segment, dead.log_bytes());
            }
        }
    }

    /// A dead letter cannot be read any more.
    pub(crate) fn lose_letter(&mut self, number: u64, place: Place) {
        if self.dead.get(number).is_none_or(|dead| dead.place != Some(place) || dead.moving) {
            return;
        }
        let Some(dead) = self.take_dead(number) else { return };
        let counters = &mut self.targets[usize::from(dead.target)].counters;
        counters.accepted = counters.accepted.saturating_sub(1);
        self.lost += 1;
        tracing::error!(
            namespace = self.name.as_ref().map_or("?", |name| name.as_str()),
            number,
            segment = place.segment,
            position = place.position,
            "a dead letter is lost"
        );
    }
}
