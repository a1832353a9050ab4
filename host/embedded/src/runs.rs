//! A set of offsets as a floor and run lengths above it: as large as its holes, not as its members.
//!
//! In: offsets that are settled. Out: what is not, in order.

use imbl::OrdMap;

/// Settled offsets: everything below the floor, and the runs above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    floor: u64,
    /// Start to end (exclusive); never empty, never touching each other or the floor.
    above: OrdMap<u64, u64>,
}

impl Runs {
    /// Everything below `floor` is in it.
    pub(crate) fn from_floor(floor: u64) -> Runs {
        Runs { floor, above: OrdMap::new() }
    }

    /// All below is in it.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The runs above the floor, in order.
    pub(crate) fn above(&self) -> impl Iterator<Item = (u64, u64)> {
        self.above.iter().map(|(start, end)| (*start, *end))
    }

    /// How many runs there are.
    pub(crate) fn count(&self) -> usize {
        self.above.len()
    }

    /// True when the offset is in it.
    pub(crate) fn contains(&self, offset: u64) -> bool {
        offset < self.floor
            || !self.above.is_empty() && self.above.get_prev(&offset).is_some_and(|(_, end)| offset < *end)
    }

    /// The first offset at or after this one that is not in it.
    pub(crate) fn first_missing(&self, offset: u64) -> u64 {
        let offset = offset.max(self.floor);
        if self.above.is_empty() {
            return offset;
        }
        match self.above.get_prev(&offset) {
            Some((_, end)) if offset < *end => *end,
            _ => offset,
        }
    }

    /// How many of `start..end` are not in it.
    pub(crate) fn missing(&self, start: u64, end: u64) -> u64 {
        if self.above.is_empty() {
            return end.saturating_sub(start.max(self.floor));
        }
        let mut missing = 0;
        let mut at = self.first_missing(start);
        while at < end {
            let next = self.above.get_next(&at).map_or(end, |(start, _)| (*start).min(end));
            missing += next - at;
            at = self.first_missing(next);
        }
        missing
    }

    /// Adds one; false when it was there.
    pub(crate) fn insert(&mut self, offset: u64) -> bool {
        if self.contains(offset) {
            return false;
        }
        self.insert_range(offset, offset + 1);
        true
    }

    /// Adds `start..end`.
    pub(crate) fn insert_range(&mut self, start: u64, end: u64) {
        if start >= end || end <= self.floor {
            return;
        }
        if start <= self.floor && self.above.is_empty() {
            self.floor = end;
            return;
        }
        let mut start = start.max(self.floor);
        let mut end = end;
        if start == self.floor && self.above.is_empty() {
            self.floor = end;
            return;
        }
        let before = start.checked_sub(1).and_then(|before| self.above.get_prev(&before)).map(|(s, e)| (*s, *e));
        if let Some((before, before_end)) = before
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((after, after_end)) = self.above.get_next(&start).map(|(s, e)| (*s, *e)) {
            if after > end {
                break;
            }
            self.above.remove(&after);
            end = end.max(after_end);
        }
        if start == self.floor {
            self.floor = end;
        } else {
            self.above.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use walhost_core::Random;

    #[test]
    fn runs_behave_like_a_set_of_numbers() {
        let random = Random::seeded(11);
        for _ in 0..200 {
            let first = random.below(10);
            let mut runs = Runs::from_floor(first);
            let mut set: BTreeSet<u64> = (0..first).collect();
            for _ in 0..60 {
                let start = random.below(80);
                let end = start + random.below(6);
                if end == start {
                    assert_eq!(runs.insert(start), set.insert(start));
                } else {
                    runs.insert_range(start, end);
                    set.extend(start..end);
                }
                let floor = (0..).find(|offset| !set.contains(offset)).unwrap_or_default();
                assert_eq!(runs.floor(), floor);
                for offset in 0..90 {
                    assert_eq!(runs.contains(offset), set.contains(&offset), "{offset} {runs:?}");
                    assert_eq!(runs.first_missing(offset), (offset..).find(|o| !set.contains(o)).unwrap_or_default());
                }
                assert_eq!(runs.missing(start, 90), (start..90).filter(|o| !set.contains(o)).count() as u64);
                let members: u64 = runs.floor() + runs.above().map(|(s, e)| e - s).sum::<u64>();
                assert_eq!(members, set.len() as u64);
                assert!(runs.above().all(|(s, e)| s < e) && runs.count() <= set.len());
            }
        }
    }
}
