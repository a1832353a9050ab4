//! Delivery: takes leases from a subscription, runs them through the pipeline, and tells the queue how each
//! record ended. Ports only: no vendor, no Wasm.
//!
//! In: a [`Subscription`](walhost_core::Subscription), a [`Pipeline`], a [`Policy`]. Out: settlements to the
//! queue, reports to the [`Observer`], a [`TargetStatus`] to whoever asks.

pub mod policy;
pub mod pipeline;
pub mod worker;
mod batch;
mod plan;
mod halving;
mod retry;
mod breaker;
mod rate;
mod bounded;
pub mod status;
pub mod why;
pub mod observer;
pub mod limits;

pub use observer::{BatchReport, Ending, Observer, RecordReport};
pub use pipeline::Pipeline;
pub use policy::{BatchPolicy, BreakerPolicy, Jitter, OnExhausted, Policy, RetryPolicy};
pub use status::{BreakerState, BreakerStatus, LastError, PauseReason, SettleAlarm, TargetState, TargetStatus};
pub use why::{Holder, shown_state, why};
pub use worker::{Worker, WorkerSpec};
