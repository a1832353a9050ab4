//! Recent frames in memory, so that a target that keeps up never reads the disk, and a few cold ones.
//!
//! In: frames as they become durable or are read. Out: the same frame, by view and first offset.

use crate::frame::append::Stored;
use std::collections::{HashMap, VecDeque};

/// A bounded cache, first in, first out.
#[derive(Debug)]
pub(crate) struct Cache {
    frames: HashMap<(u32, u64), Stored>,
    order: VecDeque<(u32, u64)>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache { frames: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps a frame; the oldest go.
    pub(crate) fn insert(&mut self, view: u32, first_offset: u64, stored: Stored) {
        self.bytes += stored.bytes();
        match self.frames.insert((view, first_offset), stored) {
            Some(before) => self.bytes -= before.bytes(),
            None => self.order.push_back((view, first_offset)),
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(stored) = self.frames.remove(&oldest) {
                self.bytes -= stored.bytes();
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
        self.bytes = self.frames.values().map(Stored::bytes).sum();
    }
}
