//! The dead letters of a namespace: what is needed to list, filter and find them. Their records stay in
//! the log.
//!
//! In: frames of dead letters. Out: letters in the order they died; where their records are.

use crate::codec::{Reader, Writer};
use crate::extents::log_bytes;
use crate::frame::attempt;
use crate::frame::dead::{Letter, get_exhausted, put_exhausted};
use crate::spread::StillMap;
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use walhost_core::attempt::Exhausted;
use walhost_core::{Attempt, Result};
use walhost_log::Place;

/// What is kept in memory of one dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub target: u16,
    pub origin: u64,
    pub epoch: u32,
    pub appended_at_ms: u64,
    pub dead_at_ms: u64,
    pub exhausted: Option<Exhausted>,
    /// The last attempt, encoded.
    last: Box<[u8]>,
    /// Where its frame is; none until that is known, and when it was lost.
    pub place: Option<Place>,
    /// Which one of its frame it is.
    pub index: u32,
    /// How many letters its frame holds.
    pub of: u32,
    /// A redrive is on its way.
    pub moving: bool,
    /// Hash of the key that it parks.
    pub parks: Option<u64>,
    /// Offsets below were given when it died: what was appended again at one of them came back before.
    pub below: u64,
}

impl Dead {
    pub(crate) fn new(letter: &Letter, place: Place, index: u32, of: u32) -> Dead {
        let mut last = Writer::default();
        if let Some(attempt) = letter.attempts.list().last() {
            attempt::put(&mut last, attempt);
        }
        Dead {
            target: letter.target,
            origin: letter.origin,
            epoch: letter.epoch,
            appended_at_ms: letter.appended_at_ms,
            dead_at_ms: letter.dead_at_ms,
            exhausted: letter.exhausted,
            last: last.0.into_boxed_slice(),
            place: Some(place),
            index,
            of,
            moving: false,
            parks: letter.parks,
            below: letter.below,
        }
    }

    /// Bytes that it takes in the log: its part of its frame.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.place.map_or(0, |place| log_bytes(u64::from(place.bytes)) / u64::from(self.of.max(1)))
    }

    /// Bytes that it takes in memory, its places in the maps included.
    fn memory_bytes(&self) -> u64 {
        (size_of::<Dead>() + 128 + self.last.len()) as u64
    }

    /// The last attempt; none when there never was one.
    pub(crate) fn last(&self) -> Option<Attempt> {
        attempt::get(&mut Reader::new(&self.last)).ok()
    }
}

/// A letter's number, the place of its frame, how many letters that holds, and which one it is.
pub(crate) type Placed = (u64, Place, u32, u32);

/// All of a namespace, by number. What a snapshot holds can be taken as it is at one moment at no cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadLetters {
    all: OrdMap<u64, Arc<Dead>>,
    by_record: StillMap<(u64, u16), u64>,
    /// Target, hash of the key that is parked, number of the letter; without those on their way back.
    parked: BTreeSet<(u16, u64, u64)>,
    /// Where the next round of expiry begins.
    looked_at: u64,
    memory_bytes: u64,
}

impl DeadLetters {
    pub(crate) fn insert(&mut self, number: u64, dead: Dead) {
        self.by_record.insert((dead.origin, dead.target), number);
        if let Some(hash) = dead.parks.filter(|_| !dead.moving) {
            self.parked.insert((dead.target, hash, number));
        }
        self.memory_bytes += dead.memory_bytes();
        if let Some(before) = self.all.insert(number, Arc::new(dead)) {
            self.memory_bytes -= before.memory_bytes();
        }
    }

    /// A redrive of it begins, or has failed.
    pub(crate) fn set_moving(&mut self, number: u64, moving: bool) {
        let Some(dead) = self.all.get_mut(&number).map(Arc::make_mut) else { return };
        dead.moving = moving;
        if let Some(hash) = dead.parks {
            let parked = (dead.target, hash, number);
            if moving {
                self.parked.remove(&parked);
            } else {
                self.parked.insert(parked);
            }
        }
    }

    /// Its frame is here, and holds so many letters; it is the one at `index`.
    pub(crate) fn place(&mut self, number: u64, place: Place, index: u32, of: u32) -> Option<&Dead> {
        let dead = self.all.get_mut(&number).map(Arc::make_mut)?;
        (dead.place, dead.index, dead.of) = (Some(place), index, of);
        Some(dead)
    }

    /// True when a dead letter parks this key of the target.
    pub(crate) fn is_parked(&self, target: u16, hash: u64) -> bool {
        self.parked.range((target, hash, 0)..=(target, hash, u64::MAX)).next().is_some()
    }

    /// True when a dead letter parks this key of the target that died after the record at this offset had come
    /// back from the dead letters. Letters that died before wait for a redrive to bring them back too: they do
    /// not stop those that are back.
    pub(crate) fn is_parked_since(&self, target: u16, hash: u64, offset: u64) -> bool {
        // Numbers and offsets are given in one order: the newest letter has seen the most of them.
        let newest = self.parked.range((target, hash, 0)..=(target, hash, u64::MAX)).next_back();
        newest.and_then(|(.., number)| self.get(*number)).is_some_and(|dead| dead.below > offset)
    }

    /// The letters, and all that park one of their keys: they go back together, in order.
    pub(crate) fn together(&self, numbers: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        let key = |dead: &Arc<Dead>| dead.parks.map(|hash| (dead.target, hash));
        let mut all: BTreeSet<u64> = numbers.filter(|number| self.all.contains_key(number)).collect();
        let keys: BTreeSet<(u16, u64)> = all.iter().filter_map(|number| self.all.get(number).and_then(key)).collect();
        for (target, hash) in keys {
            all.extend(self.parked.range((target, hash, 0)..=(target, hash, u64::MAX)).map(|(.., number)| *number));
        }
        all
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Dead> {
        let dead = self.all.remove(&number)?;
        self.memory_bytes -= dead.memory_bytes();
        if self.by_record.get(&(dead.origin, dead.target)) == Some(&number) {
            self.by_record.remove(&(dead.origin, dead.target));
        }
        if let Some(hash) = dead.parks {
            self.parked.remove(&(dead.target, hash, number));
        }
        Some(Arc::unwrap_or_clone(dead))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.all.len() as u64
    }

    /// Bytes that they take in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Dead> {
        self.all.get(&number).map(Arc::as_ref)
    }

    /// The dead letter of a record for a target.
    pub(crate) fn of_record(&self, origin: u64, target: u16) -> Option<u64> {
        self.by_record.get(&(origin, target)).copied()
    }

    /// All from a number on, oldest first.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Dead)> {
        self.all.range(number..).map(|(number, dead)| (*number, &**dead))
    }

    /// Letters whose frames are in these segments, from a number on, and from which number to go on, none at the
    /// end. As many as are within the bounds of letters looked at and of bytes found.
    pub(crate) fn in_segments(
        &self,
        segments: &BTreeSet<u64>,
        from: u64,
        looked_at_max: usize,
        bytes_max: u64,
    ) -> (Vec<Placed>, Option<u64>) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (looked_at, (number, dead)) in self.from(from).enumerate() {
            if looked_at == looked_at_max || bytes >= bytes_max {
                return (found, Some(number));
            }
            if let Some(place) = dead.place.filter(|place| segments.contains(&place.segment)) {
                bytes += dead.log_bytes();
                found.push((number, place, dead.of, dead.index));
            }
        }
        (found, None)
    }

    /// Numbers of those that died before this time, among the next so many: every call goes on where the one
    /// before it has stopped, and begins again after the last.
    pub(crate) fn died_before(&mut self, before_ms: u64, count_max: usize) -> Vec<u64> {
        let (mut old, mut looked_at, mut next) = (Vec::new(), 0, 0);
        for (number, dead) in self.all.range(self.looked_at..).take(count_max) {
            looked_at += 1;
            next = number.saturating_add(1);
            if dead.dead_at_ms < before_ms && !dead.moving {
                old.push(*number);
            }
        }
        self.looked_at = if looked_at < count_max { 0 } else { next };
        old
    }

    /// All of them as they are now.
    pub(crate) fn still(&self) -> StillLetters {
        StillLetters(self.all.clone())
    }

    /// Reads them; where they are is told by the heads of the log.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<DeadLetters> {
        let mut letters = DeadLetters::default();
        for _ in 0..reader.count()? {
            let number = reader.u64()?;
            let dead = Dead {
                target: reader.u16()?,
                origin: reader.u64()?,
                epoch: reader.u32()?,
                appended_at_ms: reader.u64()?,
                dead_at_ms: reader.u64()?,
                exhausted: get_exhausted(reader)?,
                last: reader.bytes()?.into(),
                parks: reader.option()?.map(|hash| hash << 1),
                below: reader.u64()?,
                place: None,
                index: 0,
                of: 0,
                moving: false,
            };
            letters.insert(number, dead);
        }
        Ok(letters)
    }
}

/// Dead letters as of one moment.
pub(crate) struct StillLetters(OrdMap<u64, Arc<Dead>>);

impl StillLetters {
    /// True when there were none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.u64(self.0.len() as u64);
        for (number, dead) in &self.0 {
            writer.u64(*number);
            writer.u32(u32::from(dead.target));
            writer.u64(dead.origin);
            writer.u32(dead.epoch);
            writer.u64(dead.appended_at_ms);
            writer.u64(dead.dead_at_ms);
            put_exhausted(writer, dead.exhausted);
            writer.bytes(&dead.last);
            writer.option(dead.parks.map(|hash| hash >> 1));
            writer.u64(dead.below);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::dead::tests::letter;

    #[test]
    fn letters_are_found_by_number_and_by_record_and_read_back() {
        let mut letters = DeadLetters::default();
        let place = Place { segment: 1, position: 2, bytes: 3, log_sequence: 4 };
        for number in 0..3 {
            letters.insert(number, Dead::new(&letter(number * 2), place, number as u32, 3));
        }
        assert_eq!(letters.of_record(2, 1), Some(2));
        assert_eq!(letters.get(2).unwrap().last().unwrap().code, "http-400");
        assert_eq!((letters.died_before(4, 9).len(), letters.died_before(5, 2)), (0, vec![0, 1]));
        assert_eq!((letters.died_before(5, 2), letters.died_before(5, 9)), (vec![2], vec![0, 1, 2]));
        assert_eq!(letters.together([2, 7].into_iter()), BTreeSet::from([0, 1, 2]), "they park one key");
        let mut others = letters.clone();
        others.insert(3, Dead { parks: None, ..Dead::new(&letter(9), place, 0, 1) });
        assert_eq!(others.together([3].into_iter()), BTreeSet::from([3]));
        let mut writer = Writer::default();
        letters.still().put(&mut writer);
        let mut read = DeadLetters::read(&mut Reader::new(&writer.0)).unwrap();
        assert_eq!(read.get(1).unwrap().place, None);
        read.place(1, place, 1, 3);
        assert_eq!((read.get(1), read.memory_bytes()), (letters.get(1), letters.memory_bytes()));
        read.set_moving(1, true);
        assert_eq!(read.together([0].into_iter()), BTreeSet::from([0, 2]), "one is on its way back");
        assert_eq!((read.remove(1).is_some(), read.remove(1).is_some(), read.of_record(1, 1)), (true, false, None));
        assert_eq!(read.from(0).map(|(number, _)| number).collect::<Vec<_>>(), vec![0, 2]);
    }
}
