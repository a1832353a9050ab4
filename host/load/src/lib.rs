//! The load generator: `walhost bench`, and the benchmarks that measure walhost beside others.
//!
//! In: an address, a protocol's speaker, a rate or none, a time. Out: what was acknowledged, how long each
//! request took, and what the generator itself cost.
//!
//! One thread and one epoll, requests built before they are sent, one outstanding on each connection,
//! answers hardly read: the generator shares its machine with what it measures and must not be what is
//! measured. The same engine speaks to every server, so that a comparison compares servers.
//!
//! With a rate the loop is open: each request has its time in a schedule and its latency counts from there,
//! so that a server that stalls cannot hide it by slowing the generator. Without one each connection sends
//! as soon as it has its answer: the most that the server takes.

pub mod drive;
pub mod speaker;
pub mod http;
pub mod receiver;
pub mod counts;
pub mod value;
pub mod schedule;
mod head;
mod poller;
mod timeline;

pub use counts::{Latency, Numbers, Outcome};
pub use drive::{Load, drive};
pub use receiver::Receiver;
pub use speaker::{Answer, Speaker};
pub use timeline::Timeline;
pub use value::Values;

/// Records that one run tells apart: a bit each for acknowledged and delivered.
pub const RECORDS_MAX: u64 = 1 << 30;
