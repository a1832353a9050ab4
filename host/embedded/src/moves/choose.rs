//! Which records are to be moved: those that wait for long, and those behind a key that is held for long.
//!
//! In: a target's progress and the time. Out: what to move, those of one key in its order.

use super::Wanted;
use crate::frame::again::Class;
use crate::limits::{HELD_MAX, MOVE_LEFT_MS, MOVE_WAIT_MS, TRIED_KEPT_MAX};
use crate::progress::{Kept, Progress};
use crate::view::View;
use walhost_core::schedule::keys::NOBODY;

/// Records that are chosen in one round, so that it does not hold the lock for long.
const CHOSEN_MAX: usize = 65_536;

/// Chooses for one round. What is chosen is not chosen again, unless it is told again.
pub(super) fn choose(view: &mut View, target: u16, (now_ms, monotonic_ms): (u64, u64), active: u64) -> Vec<Wanted> {
    let Some(progress) = view.targets.get_mut(usize::from(target)).filter(|progress| !progress.ended) else {
        return Vec::new();
    };
    let mut long = std::mem::take(&mut progress.long);
    long.sort_unstable();
    long.dedup();
    let mut wanted = Vec::new();
    let mut left = Vec::new();
    for offset in long {
        let progress = &view.targets[usize::from(target)];
        let Some(tried) = progress.tried.get(&offset).filter(|tried| tried.waiting) else { continue };
        if tried.due_ms <= now_ms.saturating_add(MOVE_LEFT_MS) {
            continue;
        }
        // Where nothing goes yet nothing is pinned, and each attempt would be a copy.
        let stays = progress.tried.len() <= TRIED_KEPT_MAX
            && view.extents.find(offset).is_some_and(|extent| extent.redriven && extent.place.segment == active);
        // After a restart it takes its key first: its frame is to say so.
        let keyless = !tried.by_time && !progress.started.is_empty();
        if stays || keyless || wanted.len() >= CHOSEN_MAX {
            left.push(offset);
        } else {
            let class = if tried.by_time { Class::Time } else { Class::Retry };
            wanted.push(Wanted { offset, class, hash: None });
        }
    }
    wanted.sort_by_key(|wanted| (wanted.class == Class::Time, wanted.offset));
    if let Some(progress) = view.progress(target) {
        progress.long.append(&mut left);
    }
    let crowded = view.targets[usize::from(target)].holds.crowded_count();
    for _ in 0..crowded {
        if wanted.len() >= CHOSEN_MAX {
            break;
        }
        let Some(hash) = view.progress(target).and_then(|progress| progress.holds.pop_crowded()) else { break };
        if is_held_for_long(view, target, hash, (now_ms, monotonic_ms)) {
            let progress = &view.targets[usize::from(target)];
            let behind = progress.holds.behind(hash).into_iter().flat_map(|behind| behind.singles.iter());
            let behind = behind.filter(|offset| progress.holds_behind(**offset) == Some(hash));
            wanted.extend(behind.map(|offset| Wanted { offset: *offset, class: Class::Behind, hash: Some(hash) }));
        } else if let Some(progress) = view.progress(target) {
            progress.holds.put_back_crowded(hash);
        }
    }
    wanted
}

/// True when those behind a key would stay where they are for long.
fn is_held_for_long(view: &View, target: u16, hash: u64, (now_ms, monotonic_ms): (u64, u64)) -> bool {
    let progress = &view.targets[usize::from(target)];
    let Some(holder) = progress.holds.holder(hash).filter(|holder| *holder != NOBODY) else { return false };
    if progress.held() > HELD_MAX / 2 {
        return true;
    }
    let since_ms = progress.holds.behind(hash).map_or(u64::MAX, |behind| behind.since_ms);
    if monotonic_ms.saturating_sub(since_ms) >= MOVE_WAIT_MS {
        return true;
    }
    match progress.tried.get(&holder) {
        Some(tried) => tried.waiting && tried.due_ms > now_ms.saturating_add(MOVE_LEFT_MS),
        None => view.kept(holder) == Kept::Retry && progress.rests(holder),
    }
}

/// Whether a record waits as it did when it was chosen.
pub(super) fn still(progress: &Progress, wanted: &Wanted) -> bool {
    match wanted.class {
        Class::Behind => wanted.hash.is_some() && progress.holds_behind(wanted.offset) == wanted.hash,
        class => progress
            .tried
            .get(&wanted.offset)
            .is_some_and(|tried| tried.waiting && tried.by_time == (class == Class::Time)),
    }
}

/// They could not be moved now.
pub(super) fn again_later(view: &mut View, target: u16, wanted: &[Wanted]) {
    let Some(progress) = view.progress(target) else { return };
    for wanted in wanted {
        match wanted.hash {
            Some(hash) => progress.holds.put_back_crowded(hash),
            None => progress.long.push(wanted.offset),
        }
    }
}
