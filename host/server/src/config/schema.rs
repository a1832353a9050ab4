//! JSON Schema of the configuration, made from the very types that read it.
//!
//! In: a `serde` type, or all kinds of this build. Out: JSON Schema 2020-12, for editors and for machines
//! that write configurations.

mod probe;
mod whole;

pub use probe::of;
pub use whole::whole;
