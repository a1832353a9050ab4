//! The dead letters of a queue in memory.
//!
//! In: filters, ids. Out: pages, groups, details; redriven and purged ones.

use super::progress::Progress;
use super::state::{Now, State, Stored};
use crate::attempt::{Attempt, Exhausted};
use crate::error::{Error, Kind, Result};
use crate::inspect::{DeadLetter, DeadLetterDetail, DeadLetterFilter, DeadLetterGroup, DeadLetterId, Page};
use crate::name::TargetName;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A record given up on by one target.
pub struct Letter {
    pub offset: u64,
    pub last: Attempt,
    pub exhausted: Option<Exhausted>,
    pub dead_at_ms: u64,
    /// Later records of its key follow it.
    pub parks: bool,
    pub key: Option<Bytes>,
}

fn id_of(number: u64) -> DeadLetterId {
    DeadLetterId(format!("d{number}"))
}

fn number_of(id: &DeadLetterId) -> Option<u64> {
    let number = id.0.strip_prefix('d')?.parse().ok()?;
    (id_of(number) == *id).then_some(number)
}

impl Letter {
    fn shown(&self, number: u64, target: &TargetName, records: &BTreeMap<u64, Stored>) -> DeadLetter {
        let record = &records[&self.offset].record;
        DeadLetter {
            id: id_of(number),
            record: record.id.clone(),
            target: target.clone(),
            last: self.last.clone(),
            exhausted: self.exhausted,
            appended_at_ms: record.appended_at_ms,
            dead_at_ms: self.dead_at_ms,
        }
    }
}

impl Progress {
    pub fn expire_letters(&mut self, now_ms: u64, retention_ms: u64) {
        let expired: Vec<u64> = self
            .letters
            .iter()
            .filter(|(_, letter)| now_ms > letter.dead_at_ms + retention_ms)
            .map(|(number, _)| *number)
            .collect();
        for number in expired {
            self.drop_letter(number);
            self.counts().expired += 1;
        }
    }

    fn drop_letter(&mut self, number: u64) {
        if let Some(letter) = self.letters.remove(&number) {
            self.forget(letter.offset);
        }
    }
}

impl State {
    pub fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DeadLetter>> {
        let from = match cursor.map(str::parse::<u64>) {
            None => 0,
            Some(Ok(number)) => number,
            Some(Err(_)) => return Err(Error::new(Kind::Invalid, "queue.dead_letters", "this cursor is none of ours")),
        };
        let mut all: BTreeMap<u64, DeadLetter> = BTreeMap::new();
        for (target, progress) in &self.targets {
            let shown = progress.letters.range(from..).map(|(n, letter)| (*n, letter.shown(*n, target, &self.records)));
            all.extend(shown.filter(|(_, letter)| filter.matches(letter)));
        }
        let next = all.keys().nth(limit).map(u64::to_string);
        Ok(Page { items: all.into_values().take(limit).collect(), next })
    }

    pub fn dead_letter_groups(&self) -> Vec<DeadLetterGroup> {
        let mut groups: BTreeMap<_, DeadLetterGroup> = BTreeMap::new();
        for (target, progress) in &self.targets {
            for letter in progress.letters.values() {
                let (code, digest, at_ms) = (letter.last.code.clone(), letter.last.digest, letter.dead_at_ms);
                let group = groups.entry((code.clone(), target.clone(), digest)).or_insert_with(|| DeadLetterGroup {
                    code,
                    target: target.clone(),
                    digest,
                    count: 0,
                    oldest_at_ms: at_ms,
                    newest_at_ms: at_ms,
                });
                group.count += 1;
                group.oldest_at_ms = group.oldest_at_ms.min(at_ms);
                group.newest_at_ms = group.newest_at_ms.max(at_ms);
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }

    fn holder(&self, id: &DeadLetterId) -> Option<(TargetName, u64)> {
        let number = number_of(id)?;
        let (target, _) = self.targets.iter().find(|(_, progress)| progress.letters.contains_key(&number))?;
        Some((target.clone(), number))
    }

    pub fn dead_letter(&self, id: &DeadLetterId) -> Option<DeadLetterDetail> {
        let (target, number) = self.holder(id)?;
        let progress = &self.targets[&target];
        let letter = &progress.letters[&number];
        Some(DeadLetterDetail {
            letter: letter.shown(number, &target, &self.records),
            record: self.records[&letter.offset].record.clone(),
            attempts: progress.records[&letter.offset].attempts.clone(),
        })
    }

    /// A parked key goes back whole, in the order in which it died.
    pub fn redrive(&mut self, ids: &[DeadLetterId], now: &Now) -> Result<u64> {
        let held: Vec<_> = ids.iter().filter_map(|id| self.holder(id)).collect();
        if held.iter().any(|(target, _)| self.subscribed(target).is_none()) {
            return Err(Error::new(Kind::UnknownTarget, "queue.redrive", "the target is no longer subscribed"));
        }
        let mut moved = 0;
        for (target, number) in held {
            let (targets, records, numbers) = self.numbers();
            let progress = targets.get_mut(&target).expect("it was found there");
            let Some(letter) = progress.letters.get(&number) else { continue };
            let key = letter.key.clone();
            let is_parked = |letter: &Letter| letter.parks && letter.key == key;
            let together: Vec<u64> = if progress.letters.values().any(is_parked) && key.is_some() {
                progress.letters.iter().filter(|(_, letter)| letter.key == key).map(|(number, _)| *number).collect()
            } else {
                vec![number]
            };
            for number in together {
                let letter = progress.letters.remove(&number).expect("it was listed");
                let standing = progress.records.get_mut(&letter.offset).expect("a dead letter keeps its standing");
                (standing.spent, standing.first_spent_at_ms) = (0, None);
                progress.put_last(letter.offset, numbers);
                let stored = records.get_mut(&letter.offset).expect("a dead letter keeps its record");
                stored.waiting.insert(target.clone());
                stored.settled_at_ms = None;
                moved += 1;
            }
        }
        self.tick(now);
        Ok(moved)
    }

    pub fn purge(&mut self, ids: &[DeadLetterId]) -> u64 {
        let mut purged = 0;
        for id in ids {
            let Some((target, number)) = self.holder(id) else { continue };
            let progress = self.targets.get_mut(&target).expect("it was found there");
            progress.drop_letter(number);
            progress.counts().purged += 1;
            purged += 1;
        }
        purged
    }
}
