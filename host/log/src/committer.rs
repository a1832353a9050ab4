//! The one who writes: takes what waits, commits it in one synced write, tells the observer.
//!
//! In: the queue of drafts. Out: durable commits.

use crate::log::Opened;
use crate::observe::Observer;
use crate::preparer::Preparer;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::Result;

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

/// The commit thread's own state. Exactly one a log.
pub struct Committer<O: Observer>(PhantomData<fn(O)>);

impl<O: Observer> Committer<O> {
    /// Starts the commit thread and the preparing thread; `Log::close` ends them.
    pub fn start(self, observer: Arc<O>, preparer: Preparer<O>) -> Result<()> {
        unimplemented!("{:p}{:p}", observer, &preparer)
    }

    /// For a simulation: who is told. To be called before the first step.
    pub fn attach(&mut self, observer: Arc<O>) {
        unimplemented!("{:p}", observer)
    }

    /// At most one group commit.
    pub fn step(&mut self) -> Step {
        unimplemented!()
    }
}

fn _unused<O: Observer>(_: Opened<O>) {}
