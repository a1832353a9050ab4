//! The log's bytes on disk: frames of bytes in segments, committed in groups, found again after a crash.
//! Knows no record, no runtime; all its files go through `core::disk`. FORMAT.md describes every byte.
//!
//! In: drafts. Out: durable frames, replay, named damage.

pub mod frame;
pub mod log;
pub mod observe;
pub mod replay;
pub mod committer;
pub mod preparer;
pub mod snapshot;
pub mod inspect;
pub mod options;
pub mod stats;
pub mod limits;

mod format;
mod segment;
mod scan;
mod shared;
mod recover;
#[cfg(any(test, feature = "harness"))]
pub mod harness;

pub use committer::{Committer, Step};
pub use frame::{BodySum, FrameDraft, FrameHead, KIND_RESERVED_FROM, Place, Urgency};
pub use log::{Log, Opened, SegmentInfo};
pub use observe::{Failure, FailureKind, Observer, Refused, State};
#[cfg(any(test, feature = "planted"))]
pub use options::Planted;
pub use options::{Options, Progress};
pub use preparer::Preparer;
pub use replay::{Damage, DamageKind, Replay};
pub use stats::{Histogram, Stats};

#[cfg(test)]
mod tests;
