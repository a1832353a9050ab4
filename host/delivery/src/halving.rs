//! Finds the records that break a plugin: a batch that broke is tried again in halves. Pure.
//!
//! In: how many records, which parts broke. Out: the next part to try, the guilty one when it is alone.

use std::collections::VecDeque;
use std::ops::Range;

/// The parts of one batch that are still to be tried.
///
/// After a part broke, its sibling goes before its halves: with one guilty record every other one has its
/// turn after at most ⌈log2 n⌉ + 1 broken calls (I15). Beyond that it goes deep first: where everything
/// breaks, the first guilty records are alone after 2 ⌈log2 n⌉ + 1 calls, and not after n.
#[derive(Debug)]
pub struct Halving {
    /// Siblings, the next one first.
    current: VecDeque<Range<usize>>,
    /// Halves of what broke of `current`.
    broken: Vec<[Range<usize>; 2]>,
    /// What comes after, the next pair last.
    stack: Vec<[Range<usize>; 2]>,
}

impl Halving {
    /// All of `count` records, at least one, are to be tried together.
    #[expect(clippy::single_range_in_vec_init, reason = "one part is what it begins with")]
    pub fn new(count: usize) -> Halving {
        Halving { current: VecDeque::from([0..count]), broken: Vec::new(), stack: Vec::new() }
    }

    /// The next part; none when all had their turn.
    pub fn next_part(&mut self) -> Option<Range<usize>> {
        if self.current.is_empty() {
            self.stack.extend(self.broken.drain(..).rev());
            self.current.extend(self.stack.pop()?);
        }
        self.current.pop_front()
    }

    /// This part broke. Answers the guilty record when it was alone; else its halves come later.
    pub fn broke(&mut self, part: Range<usize>) -> Option<usize> {
        if part.len() == 1 {
            return Some(part.start);
        }
        let middle = part.start + part.len() / 2;
        self.broken.push([part.start..middle, middle..part.end]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries a batch of which some are guilty. Answers the guilty ones found, the broken calls that each
    /// record had to wait for until its own end, and the broken calls until the first was alone.
    fn try_all(count: usize, guilty: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut halving, mut found, mut waited) = (Halving::new(count), Vec::new(), vec![usize::MAX; count]);
        let (mut broken, mut first_alone) = (0, 0);
        while let Some(part) = halving.next_part() {
            if guilty.iter().any(|guilty| part.contains(guilty)) {
                broken += 1;
                if let Some(alone) = halving.broke(part) {
                    found.push(alone);
                    waited[alone] = broken;
                    first_alone = if first_alone == 0 { broken } else { first_alone };
                }
            } else {
                part.for_each(|record| waited[record] = broken);
            }
        }
        (found, waited, first_alone)
    }

    #[test]
    fn i15_a_failing_record_delays_the_others_by_at_most_log2_n_and_one_deadlines() {
        for count in 1..=130_usize {
            let bound = count.next_power_of_two().trailing_zeros() as usize + 1;
            for guilty in 0..count {
                let (found, waited, _) = try_all(count, &[guilty]);
                assert_eq!(found, [guilty]);
                assert!(waited.iter().all(|waited| *waited <= bound), "{count} records, {guilty} guilty: {waited:?}");
            }
        }
    }

    #[test]
    fn every_guilty_record_ends_alone_and_every_other_one_has_its_turn() {
        for seed in 0..200_u64 {
            let count = 1 + (walhost_core::random::mix(seed) % 40) as usize;
            let guilty: Vec<usize> =
                (0..count).filter(|i| walhost_core::random::mix(seed * 1_000 + *i as u64).is_multiple_of(3)).collect();
            let (mut found, waited, _) = try_all(count, &guilty);
            found.sort_unstable();
            assert_eq!(found, guilty);
            assert!(waited.iter().all(|waited| *waited != usize::MAX), "nobody is left out");
        }
    }

    #[test]
    fn where_everything_breaks_the_first_guilty_one_is_alone_soon() {
        for (count, bound) in [(1, 1), (2, 2), (64, 13), (128, 15), (500, 19)] {
            let all: Vec<usize> = (0..count).collect();
            let (found, _, first_alone) = try_all(count, &all);
            assert_eq!(found.len(), count);
            assert!(first_alone <= bound, "{first_alone} of {count}");
        }
    }
}
