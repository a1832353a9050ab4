//! What the host says of itself: log lines on stderr, and metrics as Prometheus reads them.
//!
//! In: events of every room. Out: lines that cannot be forged, numbers with bounded labels.

pub mod exposition;
pub mod logs;
pub mod metrics;

pub use metrics::Metrics;
