//! Damage on purpose: both copies of a list, and values that are themselves logs.

use super::{Rig, draft, numbers};
use crate::format::{HEAD_BYTES, KIND_FENCE, KIND_ROSTER, SECTOR_BYTES};
use crate::recover::survey::survey;
use crate::recover::verdict::contents;
use crate::{Damage, Urgency};
use bytes::Bytes;
use walhost_core::disk::{Disk, read_all};

/// Damages every copy of every list of the newest `segments` segments; in their heads or in their bodies.
fn damage_lists(rig: &Rig, segments: usize, heads: bool) -> usize {
    let found = survey(&rig.disk, &rig.dir).unwrap();
    let used: Vec<_> = found.segments.iter().filter(|surveyed| surveyed.first.is_some()).collect();
    let mut damaged = 0;
    for surveyed in used.iter().rev().take(segments) {
        let path = rig.dir.join(&surveyed.segment.name);
        for frame in contents(&surveyed.segment).unwrap().found {
            if [KIND_FENCE, KIND_ROSTER].contains(&frame.head.kind) {
                let byte = frame.position as usize + if heads { 9 } else { HEAD_BYTES };
                rig.disk.flip_bit(&path, byte as u64 * 8).unwrap();
                damaged += 1;
            }
        }
    }
    damaged
}

#[test]
fn both_copies_of_the_newest_lists_may_be_damaged_and_no_frame_is_lost() {
    for (segments, heads) in [(1, true), (1, false), (2, true), (9, true), (9, false)] {
        let rig = Rig::new(20);
        let mut first = rig.open();
        for number in 0..50 {
            first.submit(number, 1_000, Urgency::Now);
            first.settle();
        }
        assert!(first.log.segments().len() > 2);
        drop(first);
        rig.disk.kill();
        let mut second = rig.open();
        for number in 50..100 {
            second.submit(number, 1_000, Urgency::Now);
            second.settle();
        }
        let of_this_life = second.log.segments().iter().filter(|segment| !segment.sealed).count();
        assert_eq!(of_this_life, 1);
        second.close();
        assert!(damage_lists(&rig, segments, heads) >= 2);
        let third = rig.open();
        assert_eq!(numbers(&third.kept), (0..100).collect::<Vec<_>>(), "{segments} {heads}");
        assert_eq!(third.kept.damage.iter().map(Damage::frames).sum::<u64>(), 0, "{:?}", third.kept.damage);
        assert!(segments < 9 || !third.kept.damage.is_empty(), "that no list is left is said");
    }
}

#[test]
fn i06_values_that_are_logs_are_only_values_also_in_a_file_that_is_used_again() {
    // Another log, with other salts.
    let inner = Rig::new(30);
    let mut log = inner.open();
    for number in 500..520 {
        log.submit(number, 700, Urgency::Now);
        log.settle();
    }
    log.close();
    let stranger = read_all(&inner.disk, &inner.dir.join("00000001.wal"), 1 << 20).unwrap();
    let mut rig = Rig::new(31);
    rig.options.segment_bytes = 256 * 1024;
    let mut log = rig.open();
    let own = rig.dir.join("00000001.wal");
    let mut expected = Vec::new();
    for number in 0..60 {
        // This very segment, as it was when it was read: its own salt, at other places.
        let itself = read_all(&rig.disk, &own, 1 << 20).unwrap();
        let mut hostile = draft(number, 0, Urgency::Now);
        let value = if number % 2 == 0 { stranger.clone() } else { itself[8_192..8_192 + 40_000].to_vec() };
        hostile.parts = vec![Bytes::from(value.clone())];
        log.log.submit(hostile, number).unwrap();
        log.settle();
        expected.push(value);
        if number == 25 {
            let released = log.log.segments()[0].segment;
            log.log.release(released);
            rig.clock.advance(std::time::Duration::from_millis(60));
            log.settle();
        }
    }
    assert!(log.log.stats().recycled > 0, "old frames lie behind the new ones");
    let places = log.places();
    log.close();
    let before: Vec<u64> = numbers(&rig.open().kept);
    rig.disk.kill();
    // Heads are destroyed, so that the next frame is looked for inside of values; and footers, so that all
    // segments are scanned.
    let found = survey(&rig.disk, &rig.dir).unwrap();
    let name = |segment: u64| found.segments.iter().find(|s| s.segment.id() == segment).map(|s| s.segment.name.clone());
    let lost: Vec<u64> = (before[0]..60).filter(|number| number % 7 == 3).collect();
    let last = rig.options.segment_bytes - SECTOR_BYTES as u32;
    let mut heads: Vec<(u64, u32)> =
        lost.iter().map(|number| places[*number as usize]).map(|place| (place.segment, place.position)).collect();
    let mut segments: Vec<u64> = heads.iter().map(|(segment, _)| *segment).collect();
    segments.dedup();
    heads.extend(segments.iter().map(|segment| (*segment, last)));
    for (segment, position) in heads {
        let path = rig.dir.join(name(segment).unwrap());
        rig.disk.flip_bit(&path, (u64::from(position) + 9) * 8).unwrap();
    }
    let again = rig.open();
    let left: Vec<u64> = before.iter().copied().filter(|number| !lost.contains(number)).collect();
    assert_eq!(numbers(&again.kept), left);
    for (head, _, body) in &again.kept.frames {
        assert_eq!(body[..], expected[head.first_offset as usize][..], "frame {}", head.first_offset);
    }
    let named: u64 = again.kept.damage.iter().map(Damage::frames).sum();
    assert_eq!(named, lost.len() as u64, "{:?}", again.kept.damage);
    assert!(rig.disk.list(&rig.dir).unwrap().len() > 3);
}

#[test]
fn an_open_tells_how_far_it_is() {
    let mut rig = Rig::new(32);
    let mut log = rig.open();
    for number in 0..60 {
        log.submit(number, 1_000, Urgency::Now);
        log.settle();
    }
    let segments = log.log.segments().len() as u64;
    log.close();
    let told = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let teller = std::sync::Arc::clone(&told);
    rig.options.progress = Some(std::sync::Arc::new(move |progress| teller.lock().push(progress)));
    rig.open();
    let told = told.lock();
    let (first, last) = (told[0], told[told.len() - 1]);
    assert_eq!((first.segments, first.bytes, first.segments_total), (0, 0, segments));
    assert_eq!((last.segments, last.bytes), (last.segments_total, last.bytes_total));
    assert!(told.windows(2).all(|pair| pair[0].segments < pair[1].segments));
}
