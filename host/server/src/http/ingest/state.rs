//! What a producer may ask of a namespace and of its records, and take back.
//!
//! In: a namespace's name, a record's id. Out: public limits, a record's state, 409 when it is too late.

use super::Ingest;
use super::append::{JSON_CAP, UNPACKED};
use super::headers::parse_time;
use crate::host::Running;
use crate::http::connection::Control;
use crate::http::error::{Code, Problem};
use crate::http::token::{self, Need};
use crate::http::{Answer, json, show};
use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;
use std::sync::Arc;
use walhost_core::inspect::RecordState;
use walhost_core::{NamespaceName, RecordId, limits};

impl Ingest {
    /// `GET /v1/namespaces/{namespace}`.
    pub(super) fn namespace(&self, name: &str, head: &Parts) -> Result<Answer, Problem> {
        let running = self.running(name, head)?;
        let gate = &running.gate;
        let shown = serde_json::json!({
            "name": gate.name,
            "ordering": if gate.ordered { "key" } else { "none" },
            "durability": running.durability(),
            "ingest": if gate.paused.load(std::sync::atomic::Ordering::Relaxed) { "paused" } else { "open" },
            "targets": gate.targets,
            "limits": {
                "record_bytes": gate.record_bytes_max,
                "batch_bytes": gate.batch_bytes_max,
                "batch_records": limits::BATCH_RECORDS_MAX,
                "rate_per_second": gate.rate_per_second,
                "delay_ms": gate.delay_ms_max,
            },
        });
        Ok(json(StatusCode::OK, &shown))
    }

    /// `GET …/records/{id}`.
    pub(super) async fn record(&self, name: &str, id: &str, head: &Parts) -> Result<Answer, Problem> {
        let running = self.running(name, head)?;
        let state = running.gate.queue.find(&record_id(id)?).await?.ok_or_else(|| unknown(&running.gate.name, id))?;
        Ok(self.shown(&running, &state))
    }

    /// `DELETE …/records/{id}`: cancels it for every target that has not begun with it.
    pub(super) async fn cancel(&self, name: &str, id: &str, head: &Parts) -> Result<Answer, Problem> {
        let running = self.running(name, head)?;
        let state = running.gate.queue.cancel(&record_id(id)?).await?;
        Ok(self.shown(&running, &state))
    }

    /// `PATCH …/records/{id}` with `{"deliver_at":"…"}`.
    pub(super) async fn reschedule(
        &self,
        name: &str,
        id: &str,
        head: &Parts,
        body: Incoming,
        control: &Control,
    ) -> Result<Answer, Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Change {
            deliver_at: String,
        }
        let running = self.running(name, head)?;
        let id = record_id(id)?;
        let body = self.reading.take(body, UNPACKED, JSON_CAP, control).await?;
        let change: Change = serde_json::from_slice(&body.bytes).map_err(|error| {
            Problem::new(Code::MalformedJson, format!("{{\"deliver_at\":\"…\"}} is wanted: {error}"))
        })?;
        let due_ms = parse_time(&change.deliver_at).ok_or_else(|| {
            let detail = "deliver_at is an RFC 3339 time, as in 2026-11-24T15:00:00Z";
            Problem::new(Code::MalformedJson, detail)
        })?;
        let now_ms = self.host.clock.now_ms();
        if due_ms.saturating_sub(now_ms) > running.gate.delay_ms_max {
            let allowed = walhost_core::config::Duration(running.gate.delay_ms_max);
            let detail = format!("{} delays a record by at most {allowed}", running.gate.name);
            return Err(Problem::new(Code::DelayTooLong, detail));
        }
        let state = running.gate.queue.reschedule(&id, due_ms.max(now_ms)).await?;
        Ok(self.shown(&running, &state))
    }

    fn running(&self, name: &str, head: &Parts) -> Result<Arc<Running>, Problem> {
        let directory = self.host.directory.load();
        token::check(&directory.ingest_tokens, &head.headers, Need::Ingest(name), self.host.clock.now_ms())?;
        directory.running(name).cloned()
    }

    fn shown(&self, running: &Running, state: &RecordState) -> Answer {
        let now_ms = self.host.clock.now_ms();
        json(StatusCode::OK, &show::record_state(&running.gate.name, state, now_ms, |target| running.standing(target)))
    }
}

fn record_id(text: &str) -> Result<RecordId, Problem> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !plain || text.len() > limits::RECORD_ID_BYTES_MAX {
        return Err(Problem::new(Code::NotFound, "that is no record id"));
    }
    Ok(RecordId::new(text))
}

fn unknown(namespace: &NamespaceName, id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("{namespace} knows no record {id}, or its history has ended"))
}
