//! The walhost plugin SDK. In: an author's type with one function per record. Out: a Wasm component.
//!
//! A transform turns one record into none, one or several on its way to a target:
//!
//! ```
//! use serde::Deserialize;
//! use walhost_sdk::{Outcome, Reason, Record, Transform};
//!
//! #[derive(Deserialize)]
//! struct Settings {
//!     minimum: f64,
//! }
//!
//! struct Big(Settings);
//!
//! impl Transform for Big {
//!     type Settings = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, String> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn apply(&self, record: &Record) -> Result<Outcome, Reason> {
//!         let value: walhost_sdk::Value = record.json()?;
//!         let amount = value["amount"].as_f64().ok_or_else(|| Reason::new("no-amount", "`amount` is no number"))?;
//!         Ok(if amount < self.0.minimum { Outcome::Filter } else { Outcome::Pass })
//!     }
//! }
//!
//! walhost_sdk::export_transform!(Big);
//!
//! // The same function runs natively, in an ordinary unit test.
//! use walhost_sdk::testing;
//! let big = testing::transform::<Big>(walhost_sdk::json!({"minimum": 10})).expect("good settings");
//! assert_eq!(big.apply(&testing::json(walhost_sdk::json!({"amount": 3}))), Ok(Outcome::Filter));
//! assert_eq!(big.apply(&testing::record("?")).expect_err("not JSON").code(), "not-json");
//! ```
//!
//! A [`Sink`] delivers records to a destination of its own through [`http`]. What the host knows of
//! the call is in [`context`]; lines for its log go through [`log`].
//!
//! An `Err` rejects the record with the reason's code: dead letters are grouped by it. A panic
//! becomes a log line with its message and place, then a fault: the host tries the batch again in
//! halves until the guilty record is alone.

mod answer;
pub mod context;
mod host;
pub mod http;
mod limits;
pub mod log;
#[cfg(any(test, all(target_arch = "wasm32", not(target_feature = "atomics"), feature = "memory")))]
#[allow(unsafe_code)]
mod memory;
mod record;
mod sink;
mod transform;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(test)]
mod templates;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

/// The allocator of every component that is built with this crate.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics"), feature = "memory"))]
#[global_allocator]
static MEMORY: memory::Memory<std::alloc::System> = memory::Memory::new(std::alloc::System);

#[cfg(test)]
extern crate self as walhost_sdk;

pub use answer::{Later, Outcome, Output, Reason, Verdict};
pub use context::{NoSettings, secret};
pub use record::{Header, Record};
pub use serde_json::{self, Value, json};
pub use sink::Sink;
pub use transform::Transform;
