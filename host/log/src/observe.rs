//! What the log tells its caller of frames that were handed in.
//!
//! In: the outcome of a group commit. Out: `Observer`, `Failure`, `Refused`, `State`.

use crate::frame::Place;
use std::fmt;

/// Told once a group commit, on the commit thread. It must not block and must not call back into
/// `Log::close`; it may submit.
pub trait Observer: Send + Sync + 'static {
    /// The caller's own, one a frame.
    type Context: Send + 'static;

    /// These frames are durable; in log order.
    fn committed(&self, frames: Vec<(Self::Context, Place)>);

    /// None of these frames is acknowledged, and no more is known of them than `failure` says.
    fn failed(&self, frames: Vec<Self::Context>, failure: &Failure);
}

/// Why a group was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// True when a durable fence says that these frames do not count, or when they were never written:
    /// they will not come back. False: they may be there after a restart.
    pub void: bool,
    /// For the log only.
    pub detail: String,
}

/// What happened to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A write or a sync failed (I4).
    Sync,
    /// There is no room (I10); service resumes by itself.
    DiskFull,
    /// The log is read-only since an earlier failure.
    ReadOnly,
    /// The log was closed before the group was written.
    Closed,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FailureKind::Sync => "the sync failed",
            FailureKind::DiskFull => "the disk is full",
            FailureKind::ReadOnly => "the log is read-only",
            FailureKind::Closed => "the log is closed",
        };
        write!(formatter, "{what}: {}", self.detail)
    }
}

/// Why a draft was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many bytes wait as are allowed to.
    Full,
    /// There is no room on the disk for urgent frames; lazy ones may still go.
    DiskFull,
    /// The log is read-only since a sync failed twice.
    ReadOnly,
    /// The log is closed.
    Closed,
    /// The frame is larger than a segment can hold, or its kind is one of the log's own.
    Invalid,
}

/// How the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes frames.
    Ok,
    /// It takes lazy frames only, until space returns.
    DiskFull,
    /// It takes no frames until it is opened again; reads go on.
    ReadOnly,
    /// It was closed.
    Closed,
}
