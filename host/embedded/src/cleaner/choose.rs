//! Which segments are worth being cleaned.
//!
//! In: what is needed of each, how full the disk is. Out: those of which least is needed, as many as it takes;
//! none when there is room enough, or nothing to be gained.

use crate::limits::{CLEAN_CHEAP_PART, CLEAN_ROUND_SEGMENTS, CLEAN_SEGMENTS_MAX, CLEAN_SHARE_PERCENT};
use crate::shared::{Namespace, Shared};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use walhost_log::State;

/// How things stand, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Of one segment.
    pub segment: u64,
    /// Of all files of the log, also of those that are ready or kept for recycling.
    pub disk: u64,
    /// That must be kept.
    pub needed: u64,
    /// That the log could still take: files at hand, and free space above what must stay free.
    pub free: u64,
    /// That the cleaner may copy, so that it does not write more than its share.
    pub allowed: u64,
    /// The log takes no more records.
    pub full: bool,
    /// Beyond twice what is needed, in segments.
    pub slack_segments: u64,
}

pub(super) fn choose(
    shared: &Shared,
    namespaces: &[Arc<Namespace>],
    settled: u64,
    copied: u64,
) -> Option<BTreeSet<u64>> {
    let segments = shared.log.segments();
    let segment = segments.last().map(|segment| segment.bytes)?;
    let stats = shared.log.stats();
    let counting: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let above = shared.disk.free_bytes(&shared.wal).unwrap_or(0).saturating_sub(shared.min_free_bytes);
    let own = stats.bytes.saturating_sub(copied);
    let room = Room {
        segment,
        disk: stats.disk_bytes,
        needed: namespaces.iter().map(|namespace| namespace.view.lock().extents.needed_bytes()).sum(),
        free: above.saturating_add(stats.disk_bytes.saturating_sub(counting)),
        allowed: (own / 100 * CLEAN_SHARE_PERCENT + CLEAN_ROUND_SEGMENTS * segment).saturating_sub(copied),
        full: shared.log.state() == State::DiskFull,
        slack_segments: shared.clean_slack_segments,
    };
    if !is_wanted(&room) {
        return None;
    }
    let mut used: BTreeMap<u64, u64> =
        segments.iter().filter(|s| s.sealed && s.last <= settled).map(|s| (s.segment, 0)).collect();
    for namespace in namespaces {
        let view = namespace.view.lock();
        for (segment, bytes) in used.iter_mut().filter(|_| !view.removed) {
            *bytes += view.extents.usage(*segment).live_bytes;
        }
    }
    pick(&room, used)
}

fn bound(room: &Room) -> u64 {
    2 * room.needed + room.slack_segments * room.segment
}

/// Space is above the watermark, or the disk is short.
fn is_wanted(room: &Room) -> bool {
    room.full || room.disk > bound(room) || room.free < CLEAN_ROUND_SEGMENTS * room.segment
}

/// Those of which least is needed, as long as each gives more than it takes.
pub(super) fn pick(room: &Room, used: BTreeMap<u64, u64>) -> Option<BTreeSet<u64>> {
    // What is to be had without copying anything counts first.
    let coming = used.values().filter(|bytes| **bytes == 0).count() as u64 * room.segment;
    let short = room.full || room.free < CLEAN_ROUND_SEGMENTS * room.segment;
    let over = room.disk.saturating_sub(bound(room)).max(if short { CLEAN_ROUND_SEGMENTS * room.segment } else { 0 });
    if over <= coming {
        return None;
    }
    let wanted = over - coming + room.slack_segments / 4 * room.segment;
    // Where there is no room the copies go into the log's reserve, which settlements need as well.
    let budget = match room.full {
        true => room.segment / 4,
        false => (room.free / 4).min(CLEAN_ROUND_SEGMENTS * room.segment).max(room.segment / 4).min(room.allowed),
    };
    let mut sparse: Vec<(u64, u64)> =
        used.into_iter().map(|(segment, bytes)| (bytes, segment)).filter(|(bytes, _)| *bytes > 0).collect();
    sparse.retain(|(bytes, _)| *bytes < room.segment / 2);
    sparse.sort_unstable();
    let (mut picked, mut copies, mut gained) = (BTreeSet::new(), 0, 0);
    for (bytes, segment) in sparse {
        let cheap = bytes * CLEAN_CHEAP_PART <= room.segment;
        let enough = gained >= wanted && !cheap;
        if enough || copies + bytes > budget || picked.len() >= CLEAN_SEGMENTS_MAX {
            break;
        }
        copies += bytes;
        gained += room.segment - bytes;
        picked.insert(segment);
    }
    // Copies that free less than that are better gathered first.
    let least = if room.full { room.segment / 2 } else { 2 * room.segment };
    (gained >= least).then_some(picked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::limits::CLEAN_SLACK_SEGMENTS;

    const SEGMENT: u64 = 1_000;

    fn room(disk: u64, needed: u64) -> Room {
        Room {
            segment: SEGMENT,
            disk,
            needed,
            free: 1 << 40,
            allowed: 1 << 40,
            full: false,
            slack_segments: CLEAN_SLACK_SEGMENTS,
        }
    }

    fn used(all: &[u64]) -> BTreeMap<u64, u64> {
        all.iter().enumerate().map(|(segment, bytes)| (segment as u64, *bytes)).collect()
    }

    #[test]
    fn nothing_is_cleaned_below_the_watermark_nor_what_goes_back_without_it() {
        let slack = CLEAN_SLACK_SEGMENTS * SEGMENT;
        assert!(!is_wanted(&room(slack + 400, 200)) && is_wanted(&room(slack + 401, 200)));
        assert_eq!(pick(&room(slack + 3_000, 100), used(&[0, 0, 0, 100])), None);
        assert!(is_wanted(&Room { full: true, ..room(0, 0) }) && is_wanted(&Room { free: 10, ..room(0, 0) }));
    }

    #[test]
    fn those_of_which_least_is_needed_go_first_and_none_that_is_half_needed() {
        let over = room(CLEAN_SLACK_SEGMENTS * SEGMENT + 4_000, 0);
        let picked = pick(&over, used(&[10, 499, 500, 20, 900, 300, 40])).unwrap();
        assert!([0, 3, 5, 6].iter().all(|segment| picked.contains(segment)), "{picked:?}");
        assert!(!picked.contains(&2) && !picked.contains(&4));
        assert_eq!(pick(&over, used(&[400, 700])), None, "one segment for half of one: not worth it");
    }

    #[test]
    fn i10_where_there_is_no_room_a_round_copies_little_and_no_more_than_its_share_elsewhere() {
        let full = Room { full: true, ..room(9_000, 3_000) };
        assert_eq!(pick(&full, used(&[200, 100, 140, 240])), Some(BTreeSet::from([1, 2])));
        assert_eq!(pick(&full, used(&[300, 400])), None);
        let share = Room { allowed: 150, ..room(90_000, 3_000) };
        assert_eq!(pick(&share, used(&[60, 40, 50, 61, 400])), Some(BTreeSet::from([0, 1, 2])));
    }
}
