//! What extents answer, held against a plain list.

use super::*;
use std::collections::btree_map::Entry;
use walhost_core::Random;

pub(crate) fn extent(first_offset: u64, count: u32, segment: u64) -> Extent {
    let place = Place { segment, position: 0, bytes: 10, log_sequence: first_offset };
    Extent {
        first_offset,
        first_sequence: 0,
        place,
        count,
        live: count,
        only: ALL_TARGETS,
        redriven: false,
        delayed: false,
    }
}

#[test]
fn an_offset_is_found_and_a_hole_is_none() {
    let mut extents = Extents::default();
    for (first, count) in [(0, 5), (5, 1), (10, 3)] {
        extents.insert(extent(first, count, 1));
    }
    assert_eq!(extents.find(4).unwrap().first_offset, 0);
    assert_eq!(extents.find(5).unwrap().first_offset, 5);
    assert!(extents.find(6).is_none() && extents.find(13).is_none());
    assert_eq!(extents.at_or_after(6).unwrap().first_offset, 10);
    assert_eq!((extents.from(5).count(), extents.from(4).count(), extents.from(13).count()), (2, 3, 0));
}

#[test]
fn i09_a_segment_is_in_use_until_the_last_record_is_settled_and_no_dead_letter_is_in_it() {
    let mut extents = Extents::default();
    extents.insert(extent(0, 2, 1));
    extents.insert(extent(2, 1, 2));
    extents.hold(1, 30);
    assert_eq!((extents.live_bytes(), extents.held_bytes(), extents.needed_bytes()), (20, 30, 190));
    extents.settle_range(0, 1);
    extents.settle_range(1, 2);
    assert_eq!((extents.live_bytes(), extents.live_segments().collect::<Vec<_>>()), (10, vec![1, 2]));
    extents.unhold(1, 30);
    assert_eq!(extents.live_segments().collect::<Vec<_>>(), vec![2]);
    extents.insert(Extent { place: extent(2, 1, 3).place, ..extent(2, 1, 3) });
    assert_eq!((extents.live_segments().collect::<Vec<_>>(), extents.len()), (vec![3], 2));
    assert_eq!(extents.release(1, 0, 10), None);
    assert!(extents.find(0).is_none());
    assert_eq!((extents.find(2).unwrap().place.segment, extents.len()), (3, 1));
}

#[test]
fn a_frame_that_was_copied_is_at_its_new_place_and_one_that_left_stays_where_it_is() {
    let mut extents = Extents::default();
    extents.insert(extent(0, 2, 1));
    extents.insert(Extent { only: 3, ..extent(2, 1, 1) });
    let (from, to) = (extent(0, 2, 1).place, Place { segment: 9, log_sequence: 1 << 40, ..extent(0, 2, 1).place });
    extents.relocate(0, from, to);
    extents.relocate(0, from, Place { segment: 10, ..to });
    assert_eq!((extents.find(1).unwrap().place, extents.find(2).unwrap().only), (to, 3));
    assert_eq!((extents.usage(1).live, extents.usage(9).live_bytes), (1, 80));
    let (found, next) = extents.live_in(&BTreeSet::from([1, 9]), 1, 1_000);
    assert_eq!((found.len(), found[0].first_offset, next), (1, 2, None));
}

#[test]
fn many_extents_in_any_order_behave_like_a_list() {
    let random = Random::seeded(5);
    for _ in 0..20 {
        let mut extents = Extents::default();
        let mut list: BTreeMap<u64, Extent> = BTreeMap::new();
        let mut delays: BTreeMap<u64, Delay> = BTreeMap::new();
        for _ in 0..3_000 {
            let first = random.below(2_000) * 4;
            let mut new = Extent { live: 1 + random.below(3) as u32, ..extent(first, 3, 1 + random.below(9)) };
            new.first_sequence = first * (1 + random.below(2) * random.below(u64::from(u32::MAX)));
            new.place.log_sequence = random.below(1 << 33);
            match random.below(12) {
                0 => {
                    let segment = 1 + random.below(9);
                    if list.values().all(|known| known.place.segment != segment || known.live == 0) {
                        list.retain(|_, known| known.place.segment != segment);
                        let mut from = Some(0);
                        while let Some(at) = from {
                            from = extents.release(segment, at, 1);
                        }
                    }
                }
                1..5 => {
                    extents.set_live(first, 0);
                    list.entry(first).and_modify(|known| known.live = 0);
                }
                5 => {
                    let due_ms = random.below(1 << (20 + random.below(40)));
                    let delay = Delay { due_ms, jitter_ms: 7 * random.below(2) };
                    if let Entry::Vacant(room) = list.entry(first) {
                        (new.delayed, new.first_sequence) = (true, due_ms.saturating_mul(1_000));
                        extents.insert(new);
                        extents.delay(first, delay);
                        room.insert(new);
                        delays.insert(first, delay);
                    }
                }
                6 if !list.contains_key(&first) => {
                    new.only = 2;
                    extents.insert(new);
                    list.insert(first, new);
                }
                _ => {
                    extents.insert(new);
                    list.entry(first).and_modify(|known| known.place = new.place).or_insert(new);
                }
            }
        }
        let plain = |extent: &Extent| Extent {
            first_sequence: if extent.delayed { 0 } else { extent.first_sequence },
            ..*extent
        };
        let offset = random.below(8_000);
        let all: Vec<Extent> = extents.from(offset).map(|extent| plain(&extent)).collect();
        let expected: Vec<Extent> = list.values().filter(|known| known.end() > offset).map(plain).collect();
        assert_eq!(all, expected);
        for (first, known) in &list {
            let found = extents.find(first + 2).unwrap();
            let delay = delays.get(first).copied().filter(|_| known.delayed);
            assert_eq!((plain(&found), extents.delay_of(&found)), (plain(known), delay));
            assert!(extents.find(first + 3).is_none());
        }
        let live: u64 = list.values().filter(|known| known.live > 0).map(|known| u64::from(known.place.bytes)).sum();
        let needed = list.values().filter(|known| known.live > 0).count() as u64 * log_bytes(10);
        assert_eq!((extents.live_bytes(), extents.needed_bytes(), extents.len()), (live, needed, list.len() as u64));
        let segments = BTreeSet::from([2, 5]);
        let (mut found, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let part = extents.live_in(&segments, at, 300);
            found.extend(part.0.into_iter().map(|extent| extent.first_offset));
            from = part.1;
        }
        let wanted = |known: &&Extent| known.live > 0 && segments.contains(&known.place.segment);
        assert_eq!(found, list.values().filter(wanted).map(|known| known.first_offset).collect::<Vec<_>>());
    }
}

#[test]
fn i25_frames_lie_in_full_chunks_of_32_bytes_each() {
    let mut extents = Extents::default();
    for offset in 0..100_000 {
        extents.insert(extent(offset, 1, 1 + offset / 1_000));
    }
    assert_eq!(extents.chunks.len(), 100_000_usize.div_ceil(CHUNK_FRAMES_MAX));
    assert_eq!(extents.release(1, 0, SLICE_CHUNKS), None);
    assert_eq!(extents.len(), 99_000);
}
