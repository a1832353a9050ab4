//! The host's composition root: what is configured, served, shown and commanded.
//!
//! In: a configuration and HTTP requests. Out: a running host; the `walhost` program.

pub mod config;
