//! Namespaces: shown with their effective configuration, made, changed, deleted, paused.
//!
//! In: names, tables, If-Match. Out: `{"name","source","config",…}` with an ETag.

use super::Asked;
use crate::config::show::mask;
use crate::host::change::Expected;
use crate::host::{Host, Running};
use crate::http::error::{Code, Problem};
use crate::http::token::Need;
use crate::http::{Answer, json, show};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json as object};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use walhost_core::NamespaceName;

impl Asked<'_> {
    pub(super) fn namespaces(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let directory = self.host.directory.load();
        let mut all: Vec<&Arc<Running>> = directory.iter().collect();
        all.sort_by_key(|running| running.name().clone());
        Ok(json(StatusCode::OK, &show::list(all.into_iter().map(|running| summary(running)).collect())))
    }

    pub(super) async fn namespace(self, name: &str) -> Result<Answer, Problem> {
        self.allow("GET, PUT, DELETE")?;
        match *self.method() {
            Method::PUT => self.put_namespace(name).await,
            Method::DELETE => self.delete_namespace(name).await,
            _ => {
                self.need(Need::Read)?;
                shown(self.host, name, StatusCode::OK)
            }
        }
    }

    async fn put_namespace(self, name: &str) -> Result<Answer, Problem> {
        let caller = self.need(Need::Admin)?;
        let checked = NamespaceName::new(name).map_err(|error| Problem::new(Code::BadConfig, error.to_string()))?;
        let expected = expected(self.head)?;
        let host = Arc::clone(self.host);
        let table: Value = self.json().await?;
        let created = host.put_namespace(&checked, table, expected).await?;
        let revision = host.directory.load().kept(name)?.revision;
        host.audit(&caller.name, "namespace.put", name, object!({ "created": created, "revision": revision })).await?;
        shown(&host, name, if created { StatusCode::CREATED } else { StatusCode::OK })
    }

    async fn delete_namespace(self, name: &str) -> Result<Answer, Problem> {
        let caller = self.need(Need::Admin)?;
        let running = Arc::clone(self.host.directory.load().kept(name)?);
        let records = self.host.delete_namespace(running.name(), expected(self.head)?).await?;
        self.host.audit(&caller.name, "namespace.delete", name, object!({ "records": records })).await?;
        Ok(json(StatusCode::OK, &object!({ "name": name, "deleted": true, "records": records })))
    }

    pub(super) async fn pause_namespace(self, name: &str) -> Result<Answer, Problem> {
        self.allow("POST")?;
        let caller = self.need(Need::Operate)?;
        let ingest = self.query.flag("ingest")?;
        self.host.pause_namespace(name, ingest).await?;
        self.host.audit(&caller.name, "namespace.pause", name, object!({ "ingest": ingest })).await?;
        shown(self.host, name, StatusCode::OK)
    }

    pub(super) async fn resume_namespace(self, name: &str) -> Result<Answer, Problem> {
        self.allow("POST")?;
        let caller = self.need(Need::Operate)?;
        self.host.resume_namespace(name).await?;
        self.host.audit(&caller.name, "namespace.resume", name, object!({})).await?;
        shown(self.host, name, StatusCode::OK)
    }
}

/// What If-Match and If-None-Match say of the revision.
fn expected(head: &http::request::Parts) -> Result<Expected, Problem> {
    if let Some(tag) = head.headers.get(IF_MATCH) {
        return Ok(match tag.as_bytes() {
            b"*" => Expected::Something,
            tag => revision(tag).map_or(Expected::Never, Expected::Revision),
        });
    }
    match head.headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) {
        None => Ok(Expected::Any),
        Some(b"*") => Ok(Expected::Nothing),
        Some(_) => Err(Problem::header("if-none-match", "only * is understood")),
    }
}

fn revision(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?.trim();
    text.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn state(running: &Running) -> &'static str {
    match (running.removed, running.paused) {
        (true, _) => "removed",
        (false, true) => "paused",
        (false, false) => "active",
    }
}

fn summary(running: &Running) -> Value {
    let stats = running.queue().stats();
    let dead: u64 = stats.targets.values().map(|target| target.accounting.dead).sum();
    object!({
        "name": running.name(),
        "source": running.source.as_str(),
        "state": state(running),
        "ingest": if running.ingest_paused.load(Ordering::Relaxed) { "paused" } else { "open" },
        "queue": running.queue().capability().kind,
        "durability": running.durability(),
        "targets": running.targets.keys().collect::<Vec<_>>(),
        "backlog_records": stats.backlog_records,
        "backlog_bytes": stats.backlog_bytes,
        "dead": dead,
    })
}

fn shown(host: &Host, name: &str, status: StatusCode) -> Result<Answer, Problem> {
    let running = Arc::clone(host.directory.load().kept(name)?);
    let mut config = running.model.table.clone();
    mask(&mut config);
    let mut shown = summary(&running);
    shown["revision"] = running.revision.into();
    shown["ordering"] = if running.gate.ordered { "key" } else { "none" }.into();
    shown["config"] = config;
    shown["capability"] = show::capability(running.queue().capability());
    let targets: serde_json::Map<String, Value> = running
        .targets
        .values()
        .map(|target| (target.name.to_string(), super::targets::shown(host, &running, target)))
        .collect();
    shown["targets"] = targets.into();
    shown["left_over"] = host.left_over(&running).into_iter().map(|name| Value::String(name.to_string())).collect();
    let mut answer = json(status, &shown);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", running.revision)) {
        answer.headers_mut().insert(ETAG, tag);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_quoted_revision() {
        assert_eq!(revision(b"\"17\""), Some(17));
        for wrong in [b"17".as_slice(), b"W/\"17\"", b"\"x\"", b""] {
            assert_eq!(revision(wrong), None);
        }
    }
}
