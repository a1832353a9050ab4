//! A host's embedded queue in a box: simulated clock and disk, the log stepped by hand.
//!
//! In: a seed. Out: an `Embedded` that can be closed, crashed and opened again.

use crate::backend::{Embedded, EmbeddedOptions, Planted, Steps};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::disk::SimDisk;
use walhost_core::random::Random;
use walhost_core::testkit::drive::drive;
use walhost_core::time::SimClock;
use walhost_core::{Clock, Result};
use walhost_log::Step;

pub(super) struct World {
    pub clock: Arc<SimClock>,
    pub disk: SimDisk,
    runtime: tokio::runtime::Runtime,
    pub embedded: Option<Arc<Embedded>>,
    steps: Option<Steps>,
    seed: u64,
    opens: u64,
    segment_bytes: u32,
    pub planted: Option<Planted>,
    /// For the next open.
    pub clean_slack_segments: u64,
}

impl World {
    pub(super) fn new(seed: u64, segment_bytes: u32, planted: Option<Planted>) -> World {
        walhost_core::exec::inline_on_this_thread();
        World {
            clock: Arc::new(SimClock::new(1_700_000_000_000)),
            disk: SimDisk::new(seed),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            embedded: None,
            steps: None,
            seed,
            opens: 0,
            segment_bytes,
            planted,
            clean_slack_segments: crate::limits::CLEAN_SLACK_SEGMENTS,
        }
    }

    /// Another world with this disk, at the same time of day, whose process has not been opened.
    pub(super) fn with_disk(&self, disk: SimDisk, seed: u64) -> World {
        let clock = Arc::new(SimClock::new(self.clock.now_ms()));
        let clean_slack_segments = self.clean_slack_segments;
        World { clock, disk, clean_slack_segments, ..World::new(seed, self.segment_bytes, self.planted) }
    }

    pub(super) fn open(&mut self) -> Result<()> {
        self.let_go();
        self.opens += 1;
        let options = EmbeddedOptions {
            min_free_bytes: 0,
            segment_bytes: self.segment_bytes,
            tail_bytes_max: 2_000,
            planted: self.planted,
            clean_slack_segments: self.clean_slack_segments,
            ..EmbeddedOptions::new(PathBuf::from("/data"))
        };
        let random = Arc::new(Random::seeded(self.seed.wrapping_mul(1_000) + self.opens));
        let clock: Arc<dyn Clock> = Arc::<SimClock>::clone(&self.clock);
        let (embedded, steps) = Embedded::open_stepped(options, Arc::new(self.disk.clone()), clock, random)?;
        (self.embedded, self.steps) = (Some(embedded), Some(steps));
        Ok(())
    }

    pub(super) fn embedded(&self) -> Arc<Embedded> {
        Arc::clone(self.embedded.as_ref().unwrap())
    }

    /// Commits what waits.
    pub(super) fn step(&mut self) {
        step(&mut self.steps);
    }

    /// Drives a future to its end.
    pub(super) fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        let _runtime = self.runtime.enter();
        let (steps, clock, mut polls) = (&mut self.steps, &self.clock, 0);
        let embedded = self.embedded.clone();
        drive(future, || {
            step(steps);
            polls += 1;
            let full = embedded.as_ref().is_some_and(|embedded| embedded.state() == walhost_log::State::DiskFull);
            if full && polls > 200 {
                // A lazy frame waits for its time, and the log for another look at the disk.
                clock.advance(Duration::from_millis(1));
            } else if polls > 500 {
                // A read or a close is on a thread of the runtime, and the machine is busy.
                std::thread::park_timeout(Duration::from_micros(100));
            }
        })
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.step();
    }

    /// Everything lazy is on disk, if the disk lets it.
    pub(super) fn flush(&mut self) {
        for _ in 0..4 {
            self.advance(60);
        }
    }

    /// An orderly end.
    pub(super) fn close(&mut self) -> Result<()> {
        let embedded = self.embedded();
        let closed = self.wait(embedded.close());
        for _ in 0..100 {
            self.step();
        }
        drop(embedded);
        self.let_go();
        closed
    }

    fn let_go(&mut self) {
        self.embedded = None;
        self.steps = None;
    }

    /// The process is gone: by a power cut, or just it.
    pub(super) fn end(&mut self, power: bool) {
        if power {
            self.disk.crash();
        } else {
            self.disk.kill();
        }
        self.let_go();
    }
}

fn step(steps: &mut Option<Steps>) {
    if let Some(steps) = steps {
        for _ in 0..64 {
            if !matches!(steps.step(), Step::Worked) {
                break;
            }
        }
    }
}
