//! The configuration, from text to model and to diagnostics.
#![allow(clippy::unwrap_used)]

mod bad;
mod good;
mod kinds;
