//! The running host: what every door stands before. Assembled by `serve`, changed only by its own modules.
//!
//! In: opened backends, the catalogue, the configuration. Out: namespaces that run, found by name without a
//! lock.

pub mod change;
pub mod directory;
pub mod open;
pub mod pause;
pub mod plugin;
pub mod running;
pub mod selftest;
pub mod slot;
pub mod task;
pub mod trial;
pub mod watch;

pub use directory::Directory;
pub use running::{Running, RunningTarget, Standing};

use crate::builtin::Backends;
use crate::catalogue::Catalogue;
use crate::catalogue::audit::{Audit, Change};
use crate::config::{Kinds, Model};
use crate::drain::Drain;
use crate::http::budget::Budget;
use crate::http::error::Problem;
use crate::telemetry::Metrics;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use walhost_core::{Clock, Error, Kind, Random, ShardName, exec};
use walhost_embedded::Embedded;
use walhost_plugin::Plugins;

/// Everything that the doors and the workers share.
pub struct Host {
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// The host's dice.
    pub random: Arc<Random>,
    /// Namespaces by name, for ingest.
    pub directory: ArcSwap<Directory>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The end.
    pub drain: Drain,
    /// Bytes in flight at ingest.
    pub budget: Arc<Budget>,
    /// The backends of this build, opened.
    pub backends: Backends,
    /// The embedded log, for its own numbers.
    pub embedded: Arc<Embedded>,
    /// The sandbox.
    pub plugins: Arc<Plugins>,
    /// What is remembered.
    pub catalogue: Catalogue,
    /// Who changed what.
    pub audit: Arc<Audit>,
    /// Kinds of this build, for reading configuration.
    pub kinds: Kinds,
    /// The configuration of the files, as it was last read.
    pub model: ArcSwap<Model>,
    /// Where it was read from.
    pub config_path: Option<PathBuf>,
    /// The shard that the command line names; it wins over the files.
    pub shard: Option<ShardName>,
    /// Whether the last reading succeeded.
    pub reload_succeeded: AtomicBool,
    /// When the process began, in monotonic time.
    pub started_at: std::time::Duration,
    /// When the process began, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// Where the listeners are bound.
    pub addresses: Addresses,
    /// Redrives and the like.
    pub tasks: task::Tasks,
    /// What workers ask of the host.
    pub requests: mpsc::Sender<trial::Request>,
    /// One structural change at a time.
    pub control: tokio::sync::Mutex<()>,
    /// Every namespace runs.
    pub started: AtomicBool,
}

/// Where the listeners are bound.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For producers.
    pub ingest: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
}

impl Host {
    /// A name for one request, in its answer and in the log.
    pub fn request_id(&self) -> String {
        format!("{:016x}", self.random.next_u64())
    }

    /// True once every namespace runs.
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Whether the embedded log takes appends; else why not.
    pub fn log_writable(&self) -> Result<(), String> {
        match self.embedded.state() {
            walhost_log::State::Ok => Ok(()),
            walhost_log::State::DiskFull => Err("the disk is full: ingest resumes when there is space".to_owned()),
            walhost_log::State::ReadOnly => {
                Err("the log is read-only after a failed sync: restart the host".to_owned())
            }
            walhost_log::State::Closed => Err("the log is closed".to_owned()),
        }
    }

    /// Records a change in the audit log, durably.
    pub async fn audit(
        &self,
        who: &str,
        action: &str,
        subject: &str,
        detail: serde_json::Value,
    ) -> Result<(), Problem> {
        let (audit, at_ms) = (Arc::clone(&self.audit), self.clock.now_ms());
        let (who, action, subject) = (who.to_owned(), action.to_owned(), subject.to_owned());
        exec::blocking(move || audit.append(&Change { at_ms, who: &who, action: &action, subject: &subject, detail }))
            .await
            .map_err(|error| {
                Error::new(Kind::Internal, "audit.append", "the audit log could not be written").source(error)
            })??;
        Ok(())
    }

    /// Refuses a runtime change where the files are the truth.
    pub fn may_change(&self) -> Result<(), Problem> {
        if self.model.load().shard.config_managed {
            let detail = "this shard's files are the truth: change them and reload";
            return Err(Problem::new(crate::http::error::Code::ConfigManaged, detail));
        }
        Ok(())
    }
}
