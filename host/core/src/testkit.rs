//! References and suites that every implementation of a port is tested with. Read `memory` first: it is
//! what the ports mean, in the fewest lines.
//!
//! In: an implementation behind a harness. Out: a panic that names each sentence that does not hold.

pub mod memory;
pub mod scripted;
pub mod checker;
pub mod drive;
pub mod queue_suite;
pub mod target_suite;

pub use checker::Checker;
pub use memory::MemoryQueue;
pub use scripted::{Scripted, ScriptedTransform};
