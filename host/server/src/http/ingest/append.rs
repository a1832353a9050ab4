//! `POST /v1/namespaces/{namespace}/records`: from a request to a receipt.
//!
//! In: head and body. Out: 202 once every record is durable at the level that the answer names.

use super::Ingest;
use super::batch::{self, Form, Rules};
use super::body::Cap;
use super::gate::Gate;
use super::headers::{Due, Encoding, Wants};
use crate::http::Answer;
use crate::http::connection::Control;
use crate::http::error::{Code, Problem};
use crate::http::token::{self, Need};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use std::sync::atomic::Ordering;
use walhost_core::queue::Appended;
use walhost_core::{RecordBatch, limits};

impl Ingest {
    pub(super) async fn append(
        &self,
        name: &str,
        head: &http::request::Parts,
        body: Incoming,
        control: &Control,
    ) -> Result<Answer, Problem> {
        let began = self.host.clock.monotonic();
        let host = &self.host;
        let directory = host.directory.load();
        token::check(&directory.ingest_tokens, &head.headers, Need::Ingest(name), host.clock.now_ms())?;
        let gate = match directory.gate(name) {
            Ok(gate) => std::sync::Arc::clone(gate),
            Err(problem) => {
                let known = directory.knows(name);
                host.metrics.refused(if known { name } else { "" }, problem.code.status());
                return Err(problem);
            }
        };
        drop(directory);
        match self.take(&gate, head, body, control).await {
            Ok((appended, records, bytes, form)) => {
                gate.metrics.accepted.add(1);
                gate.metrics.records.add(records);
                gate.metrics.bytes.add(bytes);
                gate.metrics.duration.observe(host.clock.monotonic().saturating_sub(began));
                let ids = form == Form::Lines && has_flag(head.uri.query(), "ids=true");
                Ok(receipt(&gate, &appended, form, ids))
            }
            Err(problem) => {
                host.metrics.refused(name, problem.code.status());
                Err(problem)
            }
        }
    }

    async fn take(
        &self,
        gate: &Gate,
        head: &http::request::Parts,
        body: Incoming,
        control: &Control,
    ) -> Result<(Appended, u64, u64, Form), Problem> {
        self.open(gate)?;
        let wants = Wants::read(&head.headers)?;
        let form = batch::form(&wants)?;
        if let Some(target) = &wants.target
            && !gate.targets.contains(target)
        {
            return Err(Problem::new(Code::UnknownTarget, format!("{} has no target `{target}`", gate.name)));
        }
        let due_ms = self.due(gate, &wants)?;
        // One record is paid for before its body is read; how many a batch has shows only then.
        self.pace(gate, u64::from(form == Form::Single))?;
        let taken = self.reading.take(body, wants.encoding, cap(gate, form), control).await?;
        let rules = Rules { record_bytes_max: gate.record_bytes_max, pointer: gate.pointer.as_ref() };
        let mut batch: RecordBatch = batch::build(&taken.bytes, form, &wants, rules)?;
        batch.due_ms = due_ms;
        batch.jitter_ms = wants.jitter_ms;
        let (records, bytes) = (batch.count() as u64, batch.bytes() as u64);
        if form == Form::Lines {
            self.pace(gate, records)?;
        }
        let appended = gate.queue.append(batch).await?;
        assert!(appended.deduplicated || appended.ids.len() as u64 == records, "a queue gives every record an id");
        Ok((appended, records, bytes, form))
    }

    /// Whether the namespace takes anything at all, before its body is read.
    fn open(&self, gate: &Gate) -> Result<(), Problem> {
        if self.host.drain.has_begun() {
            return Err(Problem::new(Code::Draining, "the host is shutting down"));
        }
        if gate.paused.load(Ordering::Relaxed) {
            return Err(Problem::new(Code::Paused, format!("ingest of {} is paused", gate.name)));
        }
        Ok(())
    }

    fn pace(&self, gate: &Gate, records: u64) -> Result<(), Problem> {
        let Some(pace) = &gate.pace else { return Ok(()) };
        pace.take(records, self.host.clock.monotonic()).map_err(|wait| {
            let detail = format!("{} takes {} records a second", gate.name, gate.rate_per_second.unwrap_or(0));
            let mut problem = Problem::new(Code::QuotaExceeded, detail);
            problem.retry_after = Some(wait);
            problem
        })
    }

    /// When the records are due; none: now.
    fn due(&self, gate: &Gate, wants: &Wants<'_>) -> Result<Option<u64>, Problem> {
        let Some(due) = wants.due else { return Ok(None) };
        let now_ms = self.host.clock.now_ms();
        let due_ms = match due {
            Due::After(ms) => now_ms.saturating_add(ms),
            Due::At(ms) => ms,
        };
        let longest = due_ms.saturating_sub(now_ms).saturating_add(wants.jitter_ms);
        if longest > gate.delay_ms_max {
            let allowed = walhost_core::config::Duration(gate.delay_ms_max);
            let detail = format!("{} delays a record by at most {allowed}, jitter included", gate.name);
            return Err(Problem::new(Code::DelayTooLong, detail));
        }
        Ok((due_ms > now_ms || wants.jitter_ms > 0).then_some(due_ms.max(now_ms)))
    }
}

fn cap(gate: &Gate, form: Form) -> Cap {
    let hard = limits::BATCH_BYTES_HARD_MAX as u64;
    match form {
        Form::Single => Cap { code: Code::RecordTooLarge, bytes_max: gate.record_bytes_max, of_records: true },
        Form::Lines => Cap { code: Code::BatchTooLarge, bytes_max: gate.batch_bytes_max.min(hard), of_records: true },
    }
}

/// True when the query has exactly this part.
pub(super) fn has_flag(query: Option<&str>, flag: &str) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == flag))
}

/// The receipt, written by hand: ids, offsets and levels need no escaping.
fn receipt(gate: &Gate, appended: &Appended, form: Form, with_ids: bool) -> Answer {
    let mut body = BytesMut::with_capacity(160 + if with_ids { appended.ids.len() * 40 } else { 0 });
    let deduplicated = if appended.deduplicated { "true" } else { "false" };
    let tail = |body: &mut BytesMut| {
        for part in [",\"durability\":\"", appended.durability, "\",\"deduplicated\":", deduplicated] {
            body.put_slice(part.as_bytes());
        }
    };
    let mut location = None;
    match (form, appended.ids.first()) {
        (Form::Single, Some(id)) => {
            for part in ["{\"id\":\"", id.as_str(), "\",\"offset\":\"", &appended.first, "\""] {
                body.put_slice(part.as_bytes());
            }
            tail(&mut body);
            let mut path = BytesMut::with_capacity(100);
            for part in ["/v1/namespaces/", gate.name.as_str(), "/records/", id.as_str()] {
                path.put_slice(part.as_bytes());
            }
            location = HeaderValue::from_maybe_shared(path.freeze()).ok();
        }
        _ => {
            let count = appended.ids.len().to_string();
            for part in
                ["{\"count\":", &count, ",\"first\":\"", &appended.first, "\",\"last\":\"", &appended.last, "\""]
            {
                body.put_slice(part.as_bytes());
            }
            tail(&mut body);
            if with_ids {
                body.put_slice(b",\"ids\":[");
                for (place, id) in appended.ids.iter().enumerate() {
                    body.put_slice(if place == 0 { b"\"" } else { b",\"" });
                    body.put_slice(id.as_str().as_bytes());
                    body.put_slice(b"\"");
                }
                body.put_slice(b"]");
            }
        }
    }
    body.put_slice(b"}");
    let mut answer = Answer::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::ACCEPTED;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(location) = location {
        headers.insert(header::LOCATION, location);
    }
    answer
}

/// What a body of JSON, not of records, is packed and bounded as.
pub(super) const JSON_CAP: Cap = Cap { code: Code::BatchTooLarge, bytes_max: 64 * 1024, of_records: false };
/// As it is.
pub(super) const UNPACKED: Encoding = Encoding::Identity;
