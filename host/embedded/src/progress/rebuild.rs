//! The part of a target's progress that makes everything anew at a restart that is not durable.
//!
//! In: what a snapshot and the frames after it have said. Out: progress that can go on.

use super::Progress;
use crate::frame::again::Class;
use crate::spread::{SpreadSet, StillMap};
use std::collections::VecDeque;
use walhost_core::schedule::keys::NOBODY;

/// Offsets that wait behind a key, and whether they came back from the dead letters.
type Ranged = ((u64, u64), bool);

impl Progress {
    /// Makes everything anew that is not durable. `class_of` tells what a frame of records that were appended
    /// again says of an offset.
    pub(crate) fn rebuild(&mut self, class_of: impl Fn(u64) -> Option<Class>) {
        let fresh = Progress::new(self.name.clone(), self.settled.floor());
        let old = std::mem::replace(self, fresh);
        (self.ended, self.counters, self.settled, self.next_token) =
            (old.ended, old.counters, old.settled, old.next_token);
        (self.tried, self.moved, self.holds, self.suspects) = (old.tried, old.moved, old.holds, old.suspects);
        let settled = &self.settled;
        self.moved.retain(|_, at| !settled.contains(*at));
        let mut placed = SpreadSet::default();
        for (due_ms, offset, retry) in old.kept_waits {
            if !self.settled.contains(offset) && !self.tried.contains_key(&offset) {
                self.schedule.insert(due_ms, offset << 1 | u64::from(retry));
                *(if retry { &mut self.retrying } else { &mut self.scheduled }) += 1;
                placed.insert(offset);
            }
        }
        self.rebuild_tried(&mut placed);
        self.rebuild_holds(&class_of, &mut placed);
        // Whoever was moved, waits for nothing and stands behind nobody is next.
        let ready = self.moved.values().filter(|at| !placed.contains(at));
        let ready = ready.filter(|at| !matches!(class_of(**at), None | Some(Class::Ready)));
        self.ready.extend(ready);
    }

    fn rebuild_tried(&mut self, placed: &mut SpreadSet<u64>) {
        let mut left = StillMap::default();
        for (offset, mut tried) in std::mem::take(&mut self.tried) {
            if self.settled.contains(offset) {
                continue;
            }
            tried.waiting = tried.due_ms > 0;
            if tried.waiting {
                self.schedule.insert(tried.due_ms, offset << 1 | u64::from(!tried.by_time));
                *(if tried.by_time { &mut self.scheduled } else { &mut self.retrying }) += 1;
                placed.insert(offset);
                if !tried.in_frame {
                    self.long.push(offset);
                    if !tried.by_time {
                        self.started.push(offset);
                    }
                }
            }
            if !tried.in_frame {
                left.insert(offset, tried);
            }
        }
        self.tried = left;
        self.started.sort_unstable_by(|one, other| other.cmp(one));
    }

    fn rebuild_holds(&mut self, class_of: &impl Fn(u64) -> Option<Class>, placed: &mut SpreadSet<u64>) {
        // Those that were not moved are met again in the order of offsets.
        let moved = |ranges: &VecDeque<(u64, u64)>, returned: usize| -> Vec<Ranged> {
            let each = |(place, (start, end)): (usize, &(u64, u64))| {
                let moved = (*start..*end).filter(|offset| class_of(*offset).is_some());
                let mut parts: Vec<Ranged> = Vec::new();
                for offset in moved {
                    match parts.last_mut().filter(|((_, end), _)| *end == offset) {
                        Some(((_, end), _)) => *end = offset + 1,
                        None => parts.push(((offset, offset + 1), place < returned)),
                    }
                }
                parts
            };
            ranges.iter().enumerate().flat_map(each).collect()
        };
        let all: Vec<(u64, u64, Vec<Ranged>)> = self
            .holds
            .all()
            .map(|(hash, holder, behind)| {
                (hash, holder, behind.map(|behind| moved(&behind.ranges, behind.returned)).unwrap_or_default())
            })
            .collect();
        self.holds.clear();
        for (hash, holder, ranges) in all {
            let open = holder != NOBODY && !self.settled.contains(holder);
            let has_started =
                |offset: &u64| self.tried.get(offset).is_some_and(|tried| tried.waiting && !tried.by_time);
            // One of those behind it may have held it since, and wait for its retry.
            let since = || ranges.iter().flat_map(|((start, end), _)| *start..*end).find(has_started);
            let holder = if open { Some(holder) } else { since() };
            let (open, holder) = (holder.is_some(), holder.unwrap_or(NOBODY));
            let moved = matches!(class_of(holder), Some(Class::Retry | Class::Time | Class::Behind));
            if ranges.is_empty() && !(open && moved) {
                // Whoever holds it now is met again in the order of offsets, before those behind it.
                continue;
            }
            self.install(hash, holder);
            for ((start, end), returned) in ranges {
                self.put_range(hash, (start, end), returned);
                self.held_moved += (start..end).filter(|offset| self.waits_ranged(*offset)).count() as u64;
                placed.extend(start..end);
            }
            if !open {
                self.go_on(hash);
            } else if moved && placed.insert(holder) {
                self.ready.insert(holder);
            }
        }
    }
}
