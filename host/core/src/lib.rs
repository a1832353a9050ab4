//! The words and the ports of walhost: everything that the other crates agree on, and nothing that
//! knows a vendor, a runtime for Wasm or a byte on disk.
//!
//! In: nothing of ours. Out: the values that travel (`Record`, `RecordBatch`, `Lease`, `Settlement`,
//! `Verdict`), the ports (`Queue`, `Subscription`, `Inspect`, `Transform`, `Target`, `PluginLoader`)
//! and the four doors to the outside world (`Clock`, `Random`, `Disk`, `exec`).

pub mod record;
pub mod batch;
pub mod name;
pub mod error;
pub mod attempt;
pub mod queue;
pub mod inspect;
pub mod transform;
pub mod target;
pub mod plugin;
pub mod backend;
pub mod config;
pub mod limits;
pub mod time;
pub mod random;
pub mod exec;
pub mod disk;
pub mod schedule;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use attempt::{Attempt, Blame, Digest, Failure, Fault, VerdictKind};
pub use batch::{BatchBuilder, Idempotency, RecordBatch};
pub use error::{Error, Kind, Result, Retry};
pub use inspect::Inspect;
pub use name::{NamespaceName, PluginName, ShardName, TargetName};
pub use plugin::PluginLoader;
pub use queue::{Queue, Subscription};
pub use random::Random;
pub use record::{Headers, Record, RecordId};
pub use target::{Target, Verdict};
pub use time::Clock;
pub use transform::{Outcome, Transform};
