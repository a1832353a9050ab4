//! What a person writes in the table of a `memcached` target.
//!
//! In: the table, beside the keys that every target has. Out: `Config`, and every complaint at once.

use crate::limits;
use crate::template::Template;
use serde::{Deserialize, Serialize};
use std::fmt;
use walhost_core::backend::Complaint;
use walhost_core::config::Duration;
use walhost_net::Host;
use walhost_net::url::parse_port;

/// The table of a `memcached` target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Servers, as `host:port`; without a port: 11211. Keys are spread over them by rendezvous hashing: a
    /// server that is added or removed moves only its own share of the keys.
    pub servers: Vec<String>,
    /// The key: text with `{/json/pointer}` into the record's value, `{key}` and `{id}` of the record;
    /// `{{` and `}}` are braces. Of a tombstone, which has no value, the only pointer stands for the
    /// record's key. Default: `{key}`.
    #[serde(default = "key")]
    pub key: String,
    /// How long a value is kept, in whole seconds. Default: until it is evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// A number kept with the value, for clients. Default: 0.
    #[serde(default)]
    pub flags: u32,
    /// Time for one exchange of a batch with one server, connecting included. Default: `2s`.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// `set` stores, `add` stores where nothing is, `delete` deletes. Tombstones always delete. Default:
    /// `set`.
    #[serde(default)]
    pub operation: Operation,
    /// A JSON pointer to the part of the record's value that is stored: the bytes of a string, else the
    /// JSON text. Default: the whole value, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

fn key() -> String {
    "{key}".into()
}
fn timeout() -> Duration {
    Duration(2_000)
}

/// What is done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Stores, whatever was there.
    #[default]
    Set,
    /// Stores where nothing is; where something is, the record is delivered too: it may be its own trace.
    Add,
    /// Deletes the key.
    Delete,
}

/// A server's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or address.
    pub host: Host,
    /// 1 to 65,535.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// Reads `host`, `host:port`, `[::1]:port`. The error is a sentence.
    pub fn parse(text: &str) -> Result<Address, String> {
        let after_bracket = text.rfind(']').map_or(0, |place| place + 1);
        let (host, port) = match text[after_bracket..].find(':') {
            None => (text, limits::PORT),
            Some(colon) => (&text[..after_bracket + colon], parse_port(&text[after_bracket + colon + 1..])?),
        };
        Ok(Address { host: Host::parse(host)?, port })
    }
}

impl Config {
    /// Everything that is wrong although each value could be read.
    pub fn complaints(&self) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        let mut complain = |key: &str, what: String, help: &str| {
            complaints.push(Complaint { key: key.to_owned(), what, help: help.to_owned() });
        };
        if self.servers.is_empty() || self.servers.len() > limits::SERVERS_MAX {
            complain(
                "servers",
                format!("{} servers", self.servers.len()),
                "write 1 to 128, as in [\"127.0.0.1:11211\"]",
            );
        }
        let mut seen = Vec::new();
        for server in &self.servers {
            match Address::parse(server) {
                Err(what) => complain("servers", what, "write it as in 127.0.0.1:11211"),
                Ok(address) if seen.contains(&address) => {
                    complain("servers", format!("{address} stands there twice"), "leave one out")
                }
                Ok(address) => seen.push(address),
            }
        }
        if let Err(what) = Template::parse(&self.key) {
            complain("key", what, "write it as in movie:{/id}");
        }
        if let Some(ttl) = self.ttl
            && (ttl.ms() == 0 || ttl.ms() % 1_000 != 0 || ttl.ms() > limits::TTL_MS_MAX)
        {
            complain(
                "ttl",
                format!("`{ttl}` is no lifetime for memcached"),
                "write whole seconds from 1s to 3650d, or leave it out",
            );
        }
        if self.timeout.ms() == 0 || self.timeout.ms() > limits::TIMEOUT_MS_MAX {
            complain("timeout", format!("`{}` is no time for an exchange", self.timeout), "write 1ms to 1m");
        }
        if let Some(pointer) = &self.value {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                complain(
                    "value",
                    format!("`{}` is not a JSON pointer", pointer.escape_debug()),
                    "begin it with /, as in /movie",
                );
            }
            if self.operation == Operation::Delete {
                complain("value", "`delete` stores no value".into(), "leave `value` out");
            }
        }
        complaints
    }
}
