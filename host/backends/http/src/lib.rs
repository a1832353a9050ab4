//! The target kind `http`: one request for each record, to a URL of the operator's.
//!
//! In: records. Out: verdicts. Delivered means: a 2xx answer whose body came to its end, or to
//! `limits::ANSWER_BYTES_MAX`, within the time for the whole exchange (I29).

pub mod config;
mod source;
mod sign;
mod headers;
mod verdict;
mod target;
pub mod limits;

pub use config::{Config, Scheme, Sign, Tombstone};
pub use source::{Secrets, Source};

use async_trait::async_trait;
use std::sync::Arc;
use walhost_core::backend::{Complaint, TargetBackend, TargetContext};
use walhost_core::{Clock, Error, Kind, Result, Target};
use walhost_net::{Allow, Client, ClientPolicy, TlsSettings, Url};

/// All targets of the kind: they share one client, and so its connections, unless they have TLS settings
/// of their own.
#[derive(Debug)]
pub struct Http {
    client: Client,
}

impl Http {
    /// Waits and tells the time by `clock`. The error is a sentence.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Http, String> {
        Client::new(ClientPolicy::default(), clock).map(|client| Http { client })
    }

    /// With a client of the caller's.
    pub fn with_client(client: Client) -> Http {
        Http { client }
    }
}

#[async_trait]
impl TargetBackend for Http {
    const KIND: &'static str = "http";
    type Config = Config;
    /// A request for each record: as many as go out at once by default.
    const BATCH_RECORDS: usize = 8;

    fn check_config(config: &Config) -> Vec<Complaint> {
        config.complaints()
    }

    /// Reads the secrets and the TLS files: one that cannot be read is `Invalid`, named by its place. A
    /// target that is restricted may name none of them: who may not read the host's secrets must not have
    /// them sent to a URL of his own.
    async fn open(&self, context: TargetContext, config: Config) -> Result<Arc<dyn Target>> {
        let invalid = |detail: String| Error::new(Kind::Invalid, "http.open", detail);
        if context.restricted && config.names_files_or_secrets() {
            return Err(Error::new(
                Kind::Denied,
                "http.open",
                "secrets and TLS files of the host may be named in its config file or by an admin only",
            ));
        }
        if let Some(complaint) = config.complaints().into_iter().next() {
            return Err(invalid(format!("{}: {}", complaint.key, complaint.what)));
        }
        let client = if config.tls == TlsSettings::default() {
            self.client.clone()
        } else {
            let policy = ClientPolicy { tls: config.tls.clone(), ..ClientPolicy::default() };
            Client::new(policy, context.clock.clone()).map_err(|error| invalid(format!("tls: {error}")))?
        };
        let url = Url::parse(&config.url).map_err(|error| invalid(format!("url: {error}")))?;
        let allow = if context.restricted { Allow::public() } else { Allow::any() };
        Ok(Arc::new(target::HttpTarget::new(context, config, client, url, allow).map_err(invalid)?))
    }
}

#[cfg(test)]
mod tests;
