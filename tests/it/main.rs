//! The whole host: real HTTP, real Wasm, the real process.
//!
//! In: the built binary and components. Out: what a producer, an operator and an author would see.
#![allow(clippy::unwrap_used)]

mod stage;
mod ingest;
mod records;
mod problems;
mod dead_letters;
mod crash;
mod swap;
mod cli;
