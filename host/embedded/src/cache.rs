//! Recent frames in memory, so that a target that keeps up never reads the disk, and a few cold ones.
//!
//! In: frames as they become durable or are read. Out: the same frame, by view and first offset.

use crate::frame::append::Stored;
use crate::limits::CACHED_FRAME_BYTES;
use crate::spread::SpreadMap;
use std::collections::VecDeque;

/// A bounded cache, first in, first out.
#[derive(Debug)]
pub(crate) struct Cache {
    frames: SpreadMap<(u32, u64), Stored>,
    order: VecDeque<(u32, u64)>,
    bytes: usize,
    bytes_max: usize,
}

/// Bytes that a frame keeps in memory, its places in the maps included.
fn cost(stored: &Stored) -> usize {
    stored.bytes() + CACHED_FRAME_BYTES
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache { frames: SpreadMap::default(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps a frame; the oldest go.
    pub(crate) fn insert(&mut self, view: u32, first_offset: u64, stored: Stored) {
        self.bytes += cost(&stored);
        match self.frames.insert((view, first_offset), stored) {
            Some(before) => self.bytes -= cost(&before),
            None => self.order.push_back((view, first_offset)),
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(stored) = self.frames.remove(&oldest) {
                self.bytes -= cost(&stored);
            }
        }
    }

    /// The frame, when it is here.
    pub(crate) fn get(&self, view: u32, first_offset: u64) -> Option<Stored> {
        self.frames.get(&(view, first_offset)).cloned()
    }

    /// Forgets all frames of a namespace.
    pub(crate) fn forget(&mut self, view: u32) {
        self.order.retain(|(whose, _)| *whose != view);
        self.frames.retain(|(whose, _), _| *whose != view);
        self.bytes = self.frames.values().map(cost).sum();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn i25_many_tiny_frames_stay_within_the_bound_and_the_oldest_go_first() {
        let stored = Stored::decode(&Bytes::from(vec![0; 16]), 0).unwrap();
        let mut cache = Cache::new(100 * CACHED_FRAME_BYTES);
        for offset in 0..1_000 {
            cache.insert(1, offset, stored.clone());
            cache.insert(1, offset, stored.clone());
        }
        assert!(cache.frames.len() < 100 && cache.order.len() == cache.frames.len());
        assert!(cache.get(1, 999).is_some() && cache.get(1, 0).is_none());
        cache.forget(1);
        assert_eq!((cache.bytes, cache.order.len()), (0, 0));
    }
}
