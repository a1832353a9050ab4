//! Records of a parked key that follow it into the dead letters, in the order of the key (I19).
//!
//! In: closed keys with somebody behind them. Out: leases that end with a dead letter each; one part of a key at a
//! time is on its way, so that one that could not be written is not overtaken.

use super::{Frame, Parked, Pass, Walk};
use crate::frame::again::Instead;
use crate::limits;
use walhost_core::schedule::keys::NOBODY;

impl Walk<'_> {
    /// Takes the next of those who wait behind closed keys.
    pub(super) fn follow(&mut self, pass: &mut Pass) {
        let mut left = self.view.progress(self.target).map_or(0, |progress| progress.follow.len());
        while left > 0 && pass.parked.len() < limits::PARKED_AT_ONCE_MAX {
            left -= 1;
            let Some(progress) = self.view.progress(self.target) else { return };
            let Some(hash) = progress.follow.pop_front() else { return };
            let coming = progress.holds.behind(hash).map_or(0, |behind| behind.coming);
            if progress.holds.holder(hash) != Some(NOBODY) || coming > 0 {
                continue;
            }
            if !self.view.dead.is_parked(self.target, hash) {
                if let Some(progress) = self.view.progress(self.target) {
                    progress.hand_over(hash);
                }
                // Who may start now is met by the next pass.
                pass.more = pass.picked.is_empty();
            } else if !self.follow_one(pass, hash) {
                return;
            }
        }
    }

    /// False: a frame must be read first.
    fn follow_one(&mut self, pass: &mut Pass, hash: u64) -> bool {
        let mut frame: Option<Frame> = None;
        while pass.parked.len() < limits::PARKED_AT_ONCE_MAX {
            let Some(progress) = self.view.progress(self.target) else { return true };
            let Some(offset) = progress.pop_behind(hash) else {
                progress.go_on(hash);
                return true;
            };
            if frame.as_ref().is_none_or(|frame| !frame.holds(offset)) {
                let Some(extent) = self.view.extents.find(offset) else {
                    self.drop_offset(offset);
                    continue;
                };
                let Some(stored) = self.stored(&extent) else {
                    let progress = self.view.progress(self.target).expect("it was there above");
                    progress.put_back(hash, offset);
                    progress.follow.push_front(hash);
                    if pass.picked.is_empty() && pass.parked.is_empty() && pass.missing.is_empty() {
                        pass.missing = self.ahead(extent);
                    }
                    return false;
                };
                frame = Some(Frame::new(self.view, extent, stored));
            }
            let known = frame.as_ref().and_then(|frame| Some((frame.extent, frame.find(pass.incarnation, offset)?)));
            let Some((_, found)) = known else {
                if let Some(frame) = frame.take() {
                    self.lose(&frame.extent);
                }
                continue;
            };
            let until_ms = self.monotonic_ms.saturating_add(self.request.visibility_ms);
            let redriven =
                found.returned.as_ref().is_some_and(|(_, returned)| matches!(returned.instead, Instead::Letter(_)));
            let follows = self.must_follow(hash, redriven.then_some(offset));
            let progress = self.view.progress(self.target).expect("it was there above");
            if !follows {
                // It has come back from there by somebody's wish.
                progress.install(hash, offset);
                progress.ready.insert(offset);
                pass.more = pass.picked.is_empty();
                return true;
            }
            if let Some((class, returned)) = &found.returned {
                progress.merge(offset, returned, *class);
            }
            let token = progress.lease((offset, found.origin), until_ms, Some(hash));
            progress.set_following(token, hash);
            pass.parked.push(Parked { offset, found, hash });
        }
        true
    }
}
