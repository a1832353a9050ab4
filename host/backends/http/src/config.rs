//! What a person writes in the table of an `http` target.
//!
//! In: the table, beside the keys that every target has (`type`, `transform`, `retry`, `rate`, …). Out:
//! `Config`, and every complaint about it at once.

use crate::limits;
use crate::source::{Secrets, Source};
use http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use walhost_core::backend::Complaint;
use walhost_core::config::{Duration, Secret};
use walhost_net::client::is_framing;
use walhost_net::{Scheme as UrlScheme, TlsSettings, Url};

/// The table of an `http` target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where each record is sent: `https://partner.example/hooks`.
    pub url: String,
    /// `POST`, `PUT` or `PATCH`. Default: `POST`.
    #[serde(default = "method")]
    pub method: String,
    /// Time for one whole exchange, from connecting to the last byte of the answer. Default: `20s`.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// Headers of every request: a text, `{ env = "X" }` or `{ file = "…" }`. They win over the record's
    /// own. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Source>,
    /// Whom to trust and who we are: `{ ca, cert, key }`, PEM files. Default: the public authorities.
    #[serde(default)]
    pub tls: TlsSettings,
    /// How requests are signed. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Sign>,
    /// How a tombstone is sent: `delete` (method DELETE, no body) or `post` (like a record with an empty
    /// body). Default: `post`.
    #[serde(default)]
    pub tombstone: Tombstone,
    /// Requests of one batch in flight at once; records of one key go one after another. Default: 8.
    #[serde(default = "parallel")]
    pub parallel: u32,
}

fn method() -> String {
    "POST".into()
}
fn timeout() -> Duration {
    Duration(20_000)
}
fn parallel() -> u32 {
    8
}

/// How requests are signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The only one: `standard-webhooks`.
    pub scheme: Scheme,
    /// `{ env = "X" }` or `{ file = "…" }`: `whsec_` and 24 to 64 bytes in base64. A list of these signs
    /// with each, while they are rotated.
    pub secret: Secrets,
}

/// Known ways to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// <https://www.standardwebhooks.com>, version 1: HMAC-SHA256.
    StandardWebhooks,
}

/// How a tombstone is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tombstone {
    /// With the method DELETE and no body.
    Delete,
    /// Like any record: its body is empty, its header `wal-tombstone` says why.
    #[default]
    Post,
}

impl Config {
    /// Makes relative paths absolute, from the directory of the config file they stand in.
    pub fn resolve(&mut self, directory: &Path) {
        self.tls.resolve(directory);
        for source in self.headers.values_mut() {
            if let Source::Secret(secret) = source {
                secret.resolve(directory);
            }
        }
        for secret in self.sign.iter_mut().flat_map(|sign| &mut sign.secret.0) {
            Secret::resolve(secret, directory);
        }
    }

    /// True when it names something that only the host can read.
    pub fn names_files_or_secrets(&self) -> bool {
        self.tls != TlsSettings::default()
            || self.sign.is_some()
            || self.headers.values().any(|source| matches!(source, Source::Secret(_)))
    }

    /// Everything that is wrong although each value could be read.
    pub fn complaints(&self) -> Vec<Complaint> {
        let mut complaints = self.tls.complaints("tls");
        match Url::parse(&self.url) {
            Err(what) => complaints.push(complaint("url", what, "write it as in https://partner.example/hooks")),
            Ok(url) if url.origin().scheme == UrlScheme::Http && self.tls != TlsSettings::default() => {
                complaints.push(complaint(
                    "tls",
                    "the URL begins with http://".into(),
                    "write https://, or leave `tls` out",
                ));
            }
            Ok(_) => {}
        }
        if !["POST", "PUT", "PATCH"].contains(&self.method.as_str()) {
            let what = format!("`{}` is not a method for records", self.method.escape_debug());
            complaints.push(complaint("method", what, "write POST, PUT or PATCH"));
        }
        if self.timeout.ms() == 0 || self.timeout.ms() > limits::TIMEOUT_MS_MAX {
            complaints.push(complaint(
                "timeout",
                format!("`{}` is no time for an exchange", self.timeout),
                "write 1ms to 10m",
            ));
        }
        if self.parallel == 0 || self.parallel > limits::PARALLEL_MAX {
            complaints.push(complaint("parallel", format!("{} requests at once", self.parallel), "write 1 to 256"));
        }
        if self.headers.len() > limits::HEADERS_MAX {
            complaints.push(complaint("headers", format!("{} headers", self.headers.len()), "write at most 32"));
        }
        complaints.extend(self.headers.iter().filter_map(|(name, source)| header_complaint(name, source)));
        if let Some(sign) = &self.sign
            && !(1..=limits::SECRETS_MAX).contains(&sign.secret.0.len())
        {
            let what = format!("{} secrets to sign with", sign.secret.0.len());
            complaints.push(complaint("sign.secret", what, "write one, or a list of up to 8"));
        }
        complaints
    }
}

fn complaint(key: &str, what: String, help: &str) -> Complaint {
    Complaint { key: key.to_owned(), what, help: help.to_owned() }
}

fn header_complaint(name: &str, source: &Source) -> Option<Complaint> {
    let key = format!("headers.{}", name.escape_debug());
    let Ok(read) = HeaderName::from_bytes(name.as_bytes()) else {
        return Some(complaint(&key, "this is not the name of a header".into(), "write letters, digits and -"));
    };
    if is_framing(&read) || is_ours(read.as_str()) {
        return Some(complaint(&key, format!("{read} is written by the host"), "leave it out"));
    }
    match source {
        Source::Text(text) if HeaderValue::from_str(text).is_err() => {
            Some(complaint(&key, "the value has control characters".into(), "write it in one line"))
        }
        _ => None,
    }
}

/// Names that the host writes itself.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("webhook-") || name.starts_with("wal-")
}
