//! The composition root: the only crate that knows all the others.
//!
//! In: a configuration. Out: a host that takes records over HTTP and delivers them, and the `walhost`
//! command that works it.

pub mod builtin;
pub mod serve;
mod opening;
pub mod host;
pub mod http;
pub mod catalogue;
pub mod telemetry;
pub mod config;
pub mod cli;
pub mod bench;
pub mod drain;
pub mod limits;
