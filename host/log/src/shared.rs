//! What submitters, readers, the commit thread and the preparing thread share.
//!
//! In: nothing. Out: the queue, the map of segments, the pool of files.

use crate::frame::{FrameDraft, Urgency};
use crate::observe::{Observer, State};
use crate::options::Options;
use crate::segment::Segment;
use crate::stats::Stats;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use walhost_core::disk::{Disk, Lock};

/// A draft that waits, with the check sum of its body.
pub(crate) struct Waiting<C> {
    pub(crate) draft: FrameDraft,
    pub(crate) bytes: usize,
    pub(crate) body_crc: u32,
    pub(crate) context: C,
}

/// What is in front of the committer.
pub(crate) struct Queue<C> {
    pub(crate) waiting: VecDeque<Waiting<C>>,
    /// Bytes of bodies and heads that wait.
    pub(crate) bytes: usize,
    /// How many of them are urgent.
    pub(crate) urgent: usize,
    /// Segments to be given back.
    pub(crate) releases: Vec<u64>,
    /// When the oldest lazy frame or release that waits came.
    pub(crate) lazy_since: Option<Duration>,
    pub(crate) roll: bool,
    pub(crate) closed: bool,
    pub(crate) state: State,
    /// Set by whoever gives the sleeping committer a new deadline.
    pub(crate) nudged: bool,
    /// True while the commit thread sleeps.
    pub(crate) sleeping: bool,
}

/// A file that may be overwritten.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// False for one that is only to be removed: of another size, or given up after a failed sync.
    pub(crate) reusable: bool,
}

/// Files that are not in use.
pub(crate) struct Pool {
    /// In the order of their numbers, which is the order of use.
    pub(crate) ready: VecDeque<Arc<Segment>>,
    pub(crate) spare: Vec<Spare>,
    pub(crate) next_segment: u64,
    pub(crate) next_file: u64,
    /// The epoch that new headers name.
    pub(crate) epoch: u32,
    /// Why the last segment could not be made ready; none when it could.
    pub(crate) trouble: Option<String>,
    /// When the last segment was taken for use, and when the one before it was.
    pub(crate) taken: [Option<Duration>; 2],
    /// True while the commit thread waits for a segment: what is being made ready is to be finished soon.
    pub(crate) awaited: bool,
    pub(crate) closed: bool,
}

/// Everything that is shared.
pub(crate) struct Shared<O: Observer> {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) queue: Mutex<Queue<O::Context>>,
    /// Wakes the commit thread.
    pub(crate) wake: Condvar,
    /// Segments that count, the active one too.
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) pool: Mutex<Pool>,
    /// Held while a file is made ready: numbers are used in their order.
    pub(crate) preparing: Mutex<()>,
    /// Wakes the preparing thread.
    pub(crate) wake_preparer: Condvar,
    pub(crate) stats: Mutex<Stats>,
    pub(crate) lock: Mutex<Option<Box<dyn Lock>>>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Whether segments are used up so fast that filling them with zeros would not pay.
    pub(crate) fn is_fast(&self, now: Duration) -> bool {
        let fast = Duration::from_millis(crate::limits::FAST_MS);
        self.taken[1].is_some_and(|taken| now.saturating_sub(taken) < fast)
    }
}

impl<C> Queue<C> {
    pub(crate) fn new() -> Queue<C> {
        Queue {
            waiting: VecDeque::new(),
            bytes: 0,
            urgent: 0,
            releases: Vec::new(),
            lazy_since: None,
            roll: false,
            closed: false,
            state: State::Ok,
            nudged: false,
            sleeping: false,
        }
    }

    /// Takes the first one that waits.
    pub(crate) fn pop(&mut self) -> Option<Waiting<C>> {
        let first = self.waiting.pop_front()?;
        self.bytes -= first.bytes + crate::format::HEAD_BYTES;
        self.urgent -= usize::from(first.draft.urgency == Urgency::Now);
        Some(first)
    }
}

impl<O: Observer> Shared<O> {
    /// Wakes the commit thread when it sleeps.
    pub(crate) fn nudge(&self, queue: &mut Queue<O::Context>) {
        queue.nudged = true;
        if queue.sleeping {
            self.wake.notify_one();
        }
    }

    /// Gives a file back to the pool.
    pub(crate) fn spare(&self, segment: &Segment, reusable: bool) {
        let reusable = reusable && segment.bytes == self.options.segment_bytes;
        let spare = Spare { name: segment.name.clone(), bytes: u64::from(segment.bytes), reusable };
        self.pool.lock().spare.push(spare);
        self.wake_preparer.notify_one();
    }
}
