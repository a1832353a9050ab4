//! The kinds of frames that the embedded queue keeps in the log, and how their bodies are laid out.
//! FORMAT.md describes every byte.
//!
//! In: batches, facts, dead letters. Out: bodies, and back. Bodies come from disk: nothing is asserted.

pub(crate) mod again;
pub(crate) mod append;
pub(crate) mod attempt;
pub(crate) mod dead;
pub(crate) mod describe;
pub(crate) mod fact;

/// One append request without anything special: its head says all that a restart needs.
pub(crate) const APPEND: u8 = 1;
/// One append request with a target or an idempotency key.
pub(crate) const APPEND_WITH: u8 = 2;
/// Facts: settlements, cancels, subscriptions and the like.
pub(crate) const FACTS: u8 = 3;
/// Dead letters with their records; the head's first offset is the number of the first one.
pub(crate) const DEAD: u8 = 4;
/// Records that are appended again for one target: moves, and redrives of dead letters. It ends what they were
/// before; the head's first sequence says what they wait for.
pub(crate) const AGAIN: u8 = 5;

/// One append request with a due time, and perhaps the others: its head says that it has one, and which.
pub(crate) const APPEND_DELAYED: u8 = 6;

/// No target in particular.
pub(crate) const ALL_TARGETS: u16 = u16::MAX;
