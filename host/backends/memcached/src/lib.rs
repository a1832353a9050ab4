//! The target kind `memcached`: a value under a key made from the record.
//!
//! In: records. Out: verdicts. Delivered means: the server has answered that the value is stored, or that
//! the key is deleted or was not there. Stored is not durable: a cache forgets (I29).

pub mod config;
mod template;
mod pointer;
mod protocol;
mod connection;
mod server;
mod verdict;
mod target;
pub mod limits;

pub use config::{Config, Operation};

use async_trait::async_trait;
use std::sync::Arc;
use walhost_core::backend::{Complaint, TargetBackend, TargetContext};
use walhost_core::{Clock, Error, Kind, Result, Target};
use walhost_net::{Allow, Dialer, SystemResolver};

/// All targets of the kind; each has connections of its own.
#[derive(Debug)]
pub struct Memcached {
    dialer: Dialer,
}

impl Memcached {
    /// Resolves with the machine's own resolver, waits by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Memcached {
        Memcached { dialer: Dialer::new(Arc::new(SystemResolver::default()), clock) }
    }
}

#[async_trait]
impl TargetBackend for Memcached {
    const KIND: &'static str = "memcached";
    type Config = Config;

    fn check_config(config: &Config) -> Vec<Complaint> {
        config.complaints()
    }

    async fn open(&self, context: TargetContext, config: Config) -> Result<Arc<dyn Target>> {
        if let Some(complaint) = config.complaints().into_iter().next() {
            let detail = format!("{}: {}", complaint.key, complaint.what);
            return Err(Error::new(Kind::Invalid, "memcached.open", detail));
        }
        let allow = if context.restricted { Allow::public() } else { Allow::any() };
        let made = target::MemcachedTarget::new(&context, &config, &self.dialer, &allow);
        made.map(|target| Arc::new(target) as Arc<dyn Target>)
            .map_err(|detail| Error::new(Kind::Invalid, "memcached.open", detail))
    }
}

#[cfg(test)]
mod tests;
