//! The whole host: real HTTP, real Wasm, the real process.
//!
//! In: the built binary and components. Out: what a producer, an operator and an author would see.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::type_complexity)]

mod cli;
mod crash;
mod faults;
mod dead_letters;
mod hostile;
mod ingest;
mod problems;
mod records;
mod stage;
mod swap;

/// The guests of the sandbox's own tests.
#[path = "../../host/plugin/src/tests/guest.rs"]
mod guest;
