//! The sandbox: the only crate that names wasmtime.
//!
//! In: component bytes, settings, grants, limits. Out: `core::Transform` and `core::Target`
//! implementations that cannot hurt the host, whatever the guest does; or a refusal that teaches.
//!
//! The way of a component: [`header`] (is it a component at all) → [`world`] (which version, what is
//! missing, in words) → [`grants`] (what it asks for against what it was given) → [`compile`] (bounded, in
//! a child process) → [`store`] (content-addressed, durable) → [`load`] (linked, tried, initialised) →
//! [`pool`] and [`instance`] (warm instances; a call consumes its instance) → [`api`] (one module per WIT
//! version: records in, outcomes out) → [`transform`] and [`sink`] (the ports).

pub mod limits;
pub mod options;
pub mod inspect;
pub mod header;
pub mod world;
pub mod grants;
pub mod compile;
mod deserialize;
pub mod store;
mod engine;
mod compute;
mod load;
mod pool;
mod instance;
mod limiter;
mod fault;
mod host;
mod wasi;
mod api;
mod validate;
mod transform;
mod sink;
pub mod metrics;
#[cfg(test)]
mod tests;

pub use compile::{COMPILE_ARGUMENT, compile_child_main};
pub use inspect::{Inspection, inspect};
pub use load::{Plugins, versions};
pub use metrics::{Calls, CallsSnapshot};
pub use options::{CompileIn, LogLevel, LogLine, LogSink, PluginOptions};
