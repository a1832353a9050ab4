//! What the tests of the whole host and the automation share: a little HTTP, and a host that never
//! outlives its handle.
//!
//! In: a binary and a config. Out: a running walhost, receivers that stand for targets, a client.

pub mod host;
pub mod http;
pub mod receiver;
