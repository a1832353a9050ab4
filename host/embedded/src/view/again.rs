//! The part of a view that is about records that are appended again, for one target: moves and redrives.
//!
//! In: their frames, as they become durable or are replayed. Out: the records at their new offsets, and ended
//! where they were, both at once.

use super::{Landed, View};
use crate::extents::Extent;
use crate::frame::again::{Again, Class, Instead};

/// Records that follow one another and wait behind one key: its hash, who holds it, below which offset the first one
/// died when they were dead letters, and their offsets.
type Behind = (u64, Option<u64>, Option<u64>, (u64, u64));

impl View {
    /// A frame of records that were appended again is durable. A record that has ended since the frame was
    /// made is nothing at its new offset.
    pub(crate) fn again(&mut self, landed: Landed, again: &Again) {
        let target = again.target;
        let mut extent = Extent {
            first_offset: landed.first_offset,
            first_sequence: again.class.number(),
            place: landed.place,
            count: landed.count,
            live: 0,
            only: target,
            redriven: true,
            delayed: false,
        };
        self.next_offset = self.next_offset.max(extent.end());
        for returned in &again.records {
            self.next_change = self.next_change.max(returned.change.saturating_add(1));
        }
        if landed.first_offset < self.applied {
            self.extents.insert(extent);
            return;
        }
        self.applied = extent.end();
        self.pass_skipped();
        for (number, progress) in self.targets.iter_mut().enumerate() {
            if number != usize::from(target) {
                progress.exclude(extent.first_offset, extent.end());
            }
        }
        let subscribed = self.targets.get(usize::from(target)).is_some_and(|progress| !progress.ended);
        // Who goes behind which key, as ranges.
        let mut behind: Vec<Behind> = Vec::new();
        for (place, returned) in again.records.iter().enumerate() {
            let to = landed.first_offset + place as u64;
            let died_below = match returned.instead {
                Instead::Letter(letter) => self.dead.get(letter).map(|dead| dead.below),
                Instead::Offset(_) => None,
            };
            let (lives, waits) = match returned.instead {
                Instead::Letter(letter) => self.comes_back(letter, (to, subscribed), again, place),
                Instead::Offset(from) => {
                    let from = if subscribed { self.now_at(from, returned.origin, target) } else { None };
                    match from {
                        None => (false, false),
                        Some(from) => {
                            let replaying = self.replaying;
                            let progress = &mut self.targets[usize::from(target)];
                            progress.suspects.moved(from, to);
                            let waits = progress.relocate((from, to), returned, again.class, replaying);
                            self.settled(from);
                            (true, waits)
                        }
                    }
                }
            };
            if !lives {
                if let Some(progress) = self.progress(target) {
                    progress.exclude(to, to + 1);
                }
                continue;
            }
            extent.live += 1;
            if waits && let Some(hash) = returned.hash {
                match behind.last_mut() {
                    Some((last, _, _, range)) if *last == hash && range.1 == to => range.1 = to + 1,
                    _ => behind.push((hash, returned.holder, died_below, (to, to + 1))),
                }
            }
        }
        self.count_settled();
        self.backlog_records += u64::from(extent.live);
        self.extents.insert(extent);
        for (hash, holder, died_below, range) in behind {
            let Some(progress) = self.progress(target) else { continue };
            if let Some(below) = died_below {
                progress.came_back(hash, 0, Some((range, below)));
            } else {
                progress.put_behind(hash, range, holder);
                progress.go_on(hash);
            }
        }
    }

    /// Where the record is that a frame moves away from an offset; none when it has ended.
    fn now_at(&self, from: u64, origin: u64, target: u16) -> Option<u64> {
        let progress = self.targets.get(usize::from(target))?;
        (self.present(origin, target) == from && !progress.settled.contains(from)).then_some(from)
    }

    /// A dead letter's record is there again. Answers whether it lives, and whether it waits behind its key.
    fn comes_back(&mut self, letter: u64, (to, subscribed): (u64, bool), again: &Again, place: usize) -> (bool, bool) {
        let Some(dead) = self.take_dead(letter) else { return (false, false) };
        let replaying = self.replaying;
        let progress = &mut self.targets[usize::from(dead.target)];
        if !subscribed || dead.target != again.target {
            progress.counters.cancelled += 1;
            return (false, false);
        }
        progress.bring_back(to, &again.records[place], replaying);
        (true, again.class == Class::Behind)
    }
}
