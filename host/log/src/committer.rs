//! The one who writes: takes what waits, commits it in one synced write, tells the observer.
//!
//! In: the queue of drafts. Out: durable commits.

pub(crate) mod group;
mod commit;
mod epoch;
mod rotate;
mod take;

use crate::observe::{Observer, State};
use crate::preparer::Preparer;
use crate::segment::Segment;
use crate::shared::Shared;
use group::Group;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use take::Taken;
use walhost_core::Result;
use walhost_core::error::{Error, Kind};
use walhost_core::exec::{self, Priority};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A commit, good or failed; step again at once.
    Worked,
    /// Nothing to do until something is submitted or so much time has passed.
    Idle(Option<Duration>),
    /// The log is closed, everything is written.
    Closed,
}

/// The segment that commits go to.
pub(crate) struct Active {
    segment: Arc<Segment>,
    /// Where the next commit begins.
    position: u32,
    /// Its frames so far, as the footer will list them.
    rows: Vec<u8>,
    frames: usize,
    first: u64,
    first_commit: u64,
}

/// The commit thread's own state. Exactly one a log.
pub struct Committer<O: Observer> {
    shared: Arc<Shared<O>>,
    observer: Option<Arc<O>>,
    group: Group,
    active: Option<Active>,
    epoch: u32,
    /// Number of the next commit.
    commit: u64,
    /// The next log sequence number.
    next: u64,
    /// The last log sequence number that is durable and counts.
    durable: u64,
    /// When the last commit returned, as long as no later one proves it.
    unproven_since: Option<Duration>,
    /// When room is looked for again while the disk is full.
    retry_at: Duration,
    /// The log is being closed: its last trailer says so.
    closing: bool,
}

impl<O: Observer> Committer<O> {
    pub(crate) fn new(shared: Arc<Shared<O>>, epoch: u32, next: u64, durable: u64) -> Committer<O> {
        Committer {
            shared,
            observer: None,
            group: Group::default(),
            active: None,
            epoch,
            commit: 1,
            next,
            durable,
            unproven_since: None,
            retry_at: Duration::ZERO,
            closing: false,
        }
    }

    /// Starts the commit thread and the preparing thread; `Log::close` ends them.
    pub fn start(mut self, observer: Arc<O>, preparer: Preparer<O>) -> Result<()> {
        self.attach(observer);
        let shared = Arc::clone(&self.shared);
        let failed = |error| Error::new(Kind::Internal, "log.start", "a thread could not be started").source(error);
        let prepare = exec::thread_with(Priority::Background, "wal-prepare", move || preparer.run()).map_err(failed)?;
        shared.threads.lock().push(prepare);
        let commit = exec::thread_with(Priority::Urgent, "wal-commit", move || self.run()).map_err(failed)?;
        shared.threads.lock().push(commit);
        Ok(())
    }

    /// For a simulation: who is told. To be called before the first step.
    pub fn attach(&mut self, observer: Arc<O>) {
        self.observer = Some(observer);
    }

    /// At most one group commit.
    pub fn step(&mut self) -> Step {
        let now = self.shared.options.clock.monotonic();
        match self.take(now) {
            Taken::Frames(frames, releases) => self.commit(frames, releases),
            Taken::Prove => self.prove(),
            Taken::Roll => self.roll(),
            Taken::Refused(frames) => self.refuse(frames),
            Taken::Room => self.look_for_room(now),
            Taken::Idle(until) => return Step::Idle(until),
            Taken::Closed => {
                self.finish();
                return Step::Closed;
            }
        }
        Step::Worked
    }

    fn run(mut self) {
        loop {
            match self.step() {
                Step::Worked => {}
                Step::Idle(until) => self.wait(until),
                Step::Closed => return,
            }
        }
    }

    /// Sleeps until something is submitted that needs a commit, or until a deadline.
    fn wait(&self, until: Option<Duration>) {
        let mut queue = self.shared.queue.lock();
        if queue.urgent > 0 || queue.nudged || queue.closed || queue.roll {
            return;
        }
        queue.sleeping = true;
        match until {
            Some(until) => drop(self.shared.wake.wait_for(&mut queue, until)),
            None => self.shared.wake.wait(&mut queue),
        }
        queue.sleeping = false;
    }

    /// Writes the trailer that says that the log was closed: at the end of the active segment, or of one that
    /// holds nothing else when the last one is sealed already.
    fn seal_log(&mut self) -> io::Result<()> {
        self.closing = true;
        if self.active.is_none() && self.rotate(true).is_err() {
            return Ok(());
        }
        if self.active.as_ref().is_some_and(|active| active.frames == 0) {
            self.lay_out(&[], &[]);
            self.write()?;
        }
        self.seal()
    }

    fn observer(&self) -> &O {
        self.observer.as_deref().expect("an observer is attached before the first step")
    }

    fn set_state(&self, state: State) {
        self.shared.queue.lock().state = state;
    }

    /// Seals the active segment, so that the next open need not scan it and knows that the log was closed,
    /// and gives the directory back.
    fn finish(&mut self) {
        let state = self.shared.queue.lock().state;
        if state != State::ReadOnly {
            // What fails here was durable before: the next open scans the segment instead.
            drop(self.seal_log());
        }
        self.active = None;
        self.set_state(State::Closed);
        let mut pool = self.shared.pool.lock();
        pool.closed = true;
        self.shared.wake_preparer.notify_all();
        drop(pool);
        // A file being made ready is finished before the directory is somebody else's.
        drop(self.shared.preparing.lock());
        self.shared.lock.lock().take();
    }
}
