//! The embedded queue: every namespace is a view on one shared log.
//!
//! In: batches, settlements, questions, through the ports of core. Out: frames in `walhost-log`, records
//! back from it. FORMAT.md describes the frames' bodies.

pub mod backend;
pub mod limits;
mod alone;
mod cache;
mod cleaner;
mod codec;
mod commit;
mod dead_letters;
mod extents;
mod frame;
mod history;
mod idempotency;
mod identity;
mod inspect;
mod keep;
mod lease;
mod letters;
mod moves;
mod progress;
mod queue;
mod replay;
mod runs;
mod shared;
mod snapshot;
mod spread;
mod suspects;
mod survey;
mod subscription;
mod view;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(any(test, feature = "planted"))]
pub use backend::Planted;
pub use backend::{Embedded, EmbeddedConfig, EmbeddedOptions, OpenReport, Orphan, Space, Steps};
pub use cleaner::Cleaned;
pub use frame::describe::describe;
pub use idempotency::examine::RunReport;
pub use survey::{NamespaceReport, Survey, TargetReport};
