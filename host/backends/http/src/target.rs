//! One target: sends the records of a batch, several at once, and says what became of each.
//!
//! In: a batch of records. Out: verdicts in order. Records of one key go one after another.

use crate::config::{Config, Tombstone};
use crate::headers::of_record;
use crate::limits;
use crate::sign::Signer;
use crate::source::Source;
use crate::verdict::classify;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::HashMap;
use std::time::Duration;
use walhost_core::attempt::Fault as PluginFault;
use walhost_core::backend::TargetContext;
use walhost_core::{Blame, Error, Failure, Kind, Record, Result, Target, Verdict};
use walhost_net::{Allow, Client, Fault, Request, Scheme, Url};

/// An `http` target, ready to send.
pub struct HttpTarget {
    context: TargetContext,
    client: Client,
    url: Url,
    allow: Allow,
    method: Method,
    timeout: Duration,
    headers: HeaderMap,
    signer: Option<Signer>,
    tombstone: Tombstone,
    parallel: usize,
    secrets: Vec<String>,
}

impl HttpTarget {
    /// Reads the secrets. The error is a sentence without them.
    pub fn new(
        context: TargetContext,
        config: Config,
        client: Client,
        url: Url,
        allow: Allow,
    ) -> Result<HttpTarget, String> {
        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        for (name, source) in &config.headers {
            let value = source.read().map_err(|error| format!("headers.{name}: {error}"))?;
            let shown = |what: &str| format!("headers.{name}: {what}");
            let read = HeaderName::from_bytes(name.as_bytes()).map_err(|_| shown("not the name of a header"))?;
            let mut made = HeaderValue::from_bytes(&value).map_err(|_| shown("the value has control characters"))?;
            if let Source::Secret(_) = source {
                made.set_sensitive(true);
                secrets.extend(spellings(&value));
            }
            headers.insert(read, made);
        }
        let signer = match &config.sign {
            None => None,
            Some(sign) => {
                let read: Result<Vec<_>, _> = sign.secret.0.iter().map(|secret| secret.read()).collect();
                let read = read.map_err(|error| format!("sign.secret: {error}"))?;
                secrets.extend(read.iter().flat_map(|secret| spellings(secret)));
                Some(Signer::new(&read).map_err(|error| format!("sign.secret: {error}"))?)
            }
        };
        Ok(HttpTarget {
            method: Method::from_bytes(config.method.as_bytes()).map_err(|_| "method: not a method".to_owned())?,
            timeout: config.timeout.std(),
            tombstone: config.tombstone,
            parallel: config.parallel.max(1) as usize,
            context,
            client,
            url,
            allow,
            headers,
            signer,
            secrets,
        })
    }

    async fn send(&self, record: &Record) -> Verdict {
        let now_ms = self.context.clock.now_ms();
        let request = match self.request(record, now_ms / 1_000) {
            Ok(request) => request,
            Err(name) => {
                let text = format!("the record's header {name} cannot be sent over HTTP");
                return Verdict::Reject { failure: Failure::new("bad-header", &text, Blame::Record) };
            }
        };
        let outcome = self.client.send_cut(request, &self.allow, self.timeout, limits::ANSWER_BYTES_MAX).await;
        classify(outcome, self.context.clock.now_ms(), &self.secrets)
    }

    fn request(&self, record: &Record, seconds: u64) -> Result<Request, String> {
        let mut headers = of_record(record, &self.context.namespace, seconds, &self.headers)?;
        let delete = self.tombstone == Tombstone::Delete && record.is_tombstone();
        let value = if delete { Bytes::new() } else { record.value.clone() };
        if let Some(signer) = &self.signer {
            let signature = signer.sign(record.id.as_str(), seconds, &value);
            let signature = HeaderValue::from_str(&signature).expect("base64, commas and spaces are header text");
            headers.insert(HeaderName::from_static("webhook-signature"), signature);
        }
        let method = if delete { Method::DELETE } else { self.method.clone() };
        Ok(Request { method, url: self.url.clone(), headers, value })
    }
}

/// How a secret may come back in an answer: whole, and without the word before it (`Bearer`).
fn spellings(secret: &[u8]) -> Vec<String> {
    let whole = String::from_utf8_lossy(secret).trim().to_owned();
    let last = whole.rsplit(' ').next().unwrap_or_default().to_owned();
    let mut spellings = vec![whole, last];
    spellings.retain(|text| text.len() >= 4);
    spellings.dedup();
    spellings
}

/// Places of the batch, those of one key together and in order.
fn lanes(records: &[Record]) -> Vec<Vec<usize>> {
    let mut lanes: Vec<Vec<usize>> = Vec::with_capacity(records.len());
    let mut of_key: HashMap<&[u8], usize> = HashMap::new();
    for (place, record) in records.iter().enumerate() {
        match record.key.as_deref() {
            Some(key) => {
                let lane = *of_key.entry(key).or_insert(lanes.len());
                if lane == lanes.len() {
                    lanes.push(Vec::new());
                }
                lanes[lane].push(place);
            }
            None => lanes.push(vec![place]),
        }
    }
    lanes
}

#[async_trait]
impl Target for HttpTarget {
    async fn deliver(&self, records: &[Record]) -> Result<Vec<Verdict>, PluginFault> {
        if let [record] = records {
            return Ok(vec![self.send(record).await]);
        }
        let sending = lanes(records).into_iter().map(|lane| async move {
            let mut verdicts = Vec::with_capacity(lane.len());
            for place in lane {
                verdicts.push((place, self.send(&records[place]).await));
            }
            verdicts
        });
        let mut verdicts: Vec<Option<Verdict>> = vec![None; records.len()];
        let mut sent = futures_util::stream::iter(sending).buffer_unordered(self.parallel);
        while let Some(lane) = sent.next().await {
            for (place, verdict) in lane {
                verdicts[place] = Some(verdict);
            }
        }
        Ok(verdicts.into_iter().map(|verdict| verdict.expect("every record is in one lane")).collect())
    }

    /// Connects, over TLS where the URL says so, and sends nothing.
    async fn check(&self) -> Result<String> {
        let origin = self.url.origin();
        match self.client.connect(&self.url, &self.allow).await {
            Ok(()) if origin.scheme == Scheme::Https => {
                Ok(format!("{origin} takes connections, and its certificate is trusted"))
            }
            Ok(()) => Ok(format!("{origin} takes connections")),
            Err(fault) => {
                let (kind, remedy) = match &fault {
                    Fault::Denied(_) => (Kind::Denied, "write the target in the config file, or have an admin make it"),
                    Fault::Dns(_) => (Kind::Unavailable, "check the host name in `url`"),
                    Fault::Tls(_) => (Kind::Unavailable, "check the certificate, and `tls`"),
                    _ => (Kind::Unavailable, "check `url`, and that the server is up"),
                };
                Err(Error::new(kind, "http.check", format!("{origin}: {fault}; {remedy}")))
            }
        }
    }
}
