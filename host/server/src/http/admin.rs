//! The operators' door, routed by hand like ingest: paths of the contract end in `:pause` and the like, and
//! every refusal is a problem.
//!
//! In: `/admin/v1/…`, `/metrics`, `/problems/…` and health. Out: JSON in the contract's shapes.

mod dlq;
mod metrics;
mod namespaces;
mod openapi;
pub mod query;
mod slots;
mod system;
mod targets;

use super::connection::Control;
use super::error::{Code, Problem};
use super::ingest::body::{Cap, Reading};
use super::ingest::headers::Encoding;
use super::listener::Service;
use super::token::{self, Caller, Need};
use super::{Answer, health};
use crate::host::Host;
use crate::limits::ADMIN_JSON_BYTES_MAX;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Incoming;
use query::Query;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// What answers on the admin listener.
pub struct Admin {
    /// The host behind it.
    pub host: Arc<Host>,
    /// How bodies are read.
    pub reading: Reading,
}

/// One request, with its body still to come.
struct Asked<'a> {
    host: &'a Arc<Host>,
    reading: &'a Reading,
    head: &'a Parts,
    body: Incoming,
    control: &'a Control,
    query: Query,
}

impl Service for Admin {
    type Body = Full<Bytes>;

    async fn call(&self, request: Request<Incoming>, control: &Control) -> Answer {
        let (head, body) = request.into_parts();
        if let Some(answer) = health::answer(&self.host, &head) {
            return answer;
        }
        let query = Query::read(head.uri.query());
        let asked = Asked { host: &self.host, reading: &self.reading, head: &head, body, control, query };
        match asked.answer().await {
            Ok(answer) => answer,
            Err(problem) => {
                let request_id = self.host.request_id();
                if problem.code.status() >= 500 {
                    tracing::warn!(
                        request_id,
                        code = problem.code.as_str(),
                        path = head.uri.path(),
                        "{}",
                        problem.detail
                    );
                }
                problem.answer(&request_id)
            }
        }
    }
}

/// `catalog:pause` is `catalog` and `pause`.
fn action(segment: &str) -> (&str, Option<&str>) {
    match segment.rsplit_once(':') {
        Some((name, action)) => (name, Some(action)),
        None => (segment, None),
    }
}

impl Asked<'_> {
    async fn answer(self) -> Result<Answer, Problem> {
        let path = self.head.uri.path().to_owned();
        // Decoded after they are parted: an escaped slash is no end of a name.
        let segments: Vec<String> = path.split('/').skip(1).map(query::segment).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["metrics"] => self.metrics(),
            ["problems", code] => self.problem(code),
            ["openapi.json"] => self.openapi(),
            ["admin", "v1", rest @ ..] => self.versioned(rest).await,
            _ => Err(nothing_here()),
        }
    }

    async fn versioned(self, rest: &[&str]) -> Result<Answer, Problem> {
        match *rest {
            ["info"] => self.info(),
            ["config"] => self.config(),
            ["config:validate"] => self.config_validate().await,
            ["config:reload"] => self.config_reload().await,
            ["audit"] => self.audit().await,
            ["tasks"] => self.tasks(),
            ["tasks", id] => self.task(id).await,
            ["plugins"] => self.plugins().await,
            ["plugins", digest] => self.plugin(digest).await,
            ["namespaces"] => self.namespaces(),
            ["namespaces", segment] => match action(segment) {
                (name, None) => self.namespace(name).await,
                (name, Some("pause")) => self.pause_namespace(name).await,
                (name, Some("resume")) => self.resume_namespace(name).await,
                _ => Err(nothing_here()),
            },
            ["namespaces", name, ref below @ ..] => self.below_namespace(name, below).await,
            _ => Err(nothing_here()),
        }
    }

    async fn below_namespace(self, name: &str, below: &[&str]) -> Result<Answer, Problem> {
        match *below {
            ["targets"] => self.targets(name),
            ["targets", segment] => match action(segment) {
                (target, None) => self.target(name, target).await,
                (target, Some("pause")) => self.pause_target(name, target).await,
                (target, Some("resume")) => self.resume_target(name, target).await,
                (target, Some("check")) => self.check_target(name, target).await,
                _ => Err(nothing_here()),
            },
            ["slots"] => self.slots(name),
            ["slots", segment] => match action(segment) {
                (slot, None) => self.slot(name, slot).await,
                (slot, Some("rollback")) => self.roll_back(name, slot).await,
                _ => Err(nothing_here()),
            },
            ["slots", slot, "versions"] => self.versions(name, slot),
            ["records"] => self.peek(name).await,
            ["records", id] => self.record(name, id).await,
            ["dlq"] => self.dead_letters(name).await,
            ["dlq", "groups"] => self.dead_letter_groups(name).await,
            ["dlq", id] => self.dead_letter(name, id).await,
            ["dlq:redrive"] => self.redrive(name).await,
            ["dlq:purge"] => self.purge(name).await,
            _ => Err(nothing_here()),
        }
    }

    /// Only these methods are allowed here.
    fn allow(&self, allowed: &'static str) -> Result<(), Problem> {
        let method = self.head.method.as_str();
        let method = if method == "HEAD" { "GET" } else { method };
        if allowed.split(", ").any(|one| one == method) { Ok(()) } else { Err(Problem::method(allowed)) }
    }

    /// Only callers with this scope are allowed here.
    fn need(&self, need: Need<'_>) -> Result<Caller, Problem> {
        let directory = self.host.directory.load();
        if directory.admin_tokens.is_none() {
            token::no_foreign_page(&self.head.method, &self.head.headers)?;
        }
        token::check(&directory.admin_tokens, &self.head.headers, need, self.host.clock.now_ms())
    }

    fn method(&self) -> &Method {
        &self.head.method
    }

    /// The body as JSON. An empty body is an empty object.
    async fn json<T: DeserializeOwned>(self) -> Result<T, Problem> {
        let cap = Cap { code: Code::BatchTooLarge, bytes_max: ADMIN_JSON_BYTES_MAX as u64, of_records: false };
        let body = self.reading.take(self.body, Encoding::Identity, cap, self.control).await?;
        let bytes: &[u8] = if body.bytes.trim_ascii().is_empty() { b"{}" } else { &body.bytes };
        serde_json::from_slice(bytes).map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))
    }

    /// The body as it is.
    async fn bytes(self, bytes_max: usize) -> Result<Bytes, Problem> {
        let cap = Cap { code: Code::BatchTooLarge, bytes_max: bytes_max as u64, of_records: false };
        Ok(self.reading.take(self.body, Encoding::Identity, cap, self.control).await?.bytes)
    }
}

fn nothing_here() -> Problem {
    Problem::new(Code::NotFound, "there is nothing under this path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_what_follows_the_last_colon() {
        assert_eq!(action("catalog:pause"), ("catalog", Some("pause")));
        assert_eq!(action("catalog"), ("catalog", None));
    }
}
