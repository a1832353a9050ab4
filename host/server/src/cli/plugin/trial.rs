//! `walhost plugin test`: a component on records, with the host's own engine, limits and grants.
//!
//! In: a component and records. Out: an outcome for each record, log lines, time and memory; exit code 1
//! when the plugin broke.

use super::{grants, pairs, read};
use crate::cli::Session;
use crate::cli::arguments::PluginTestArguments;
use crate::cli::failure::{FAILED, Failure};
use base64::Engine;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use walhost_core::attempt::{Failure as Why, Fault};
use walhost_core::disk::OsDisk;
use walhost_core::plugin::{PluginKind, PluginLimits, PluginSpec};
use walhost_core::record::CONTENT_TYPE;
use walhost_core::time::SystemClock;
use walhost_core::transform::Outcome;
use walhost_core::{
    Clock, Headers, NamespaceName, PluginLoader, Record, RecordId, Target, TargetName, Transform, Verdict,
};
use walhost_plugin::{LogLine, LogSink, PluginOptions, Plugins};

/// Keeps the guest's lines until they are printed.
#[derive(Default)]
struct Lines(Mutex<Vec<LogLine>>);

impl LogSink for Lines {
    fn line(&self, line: LogLine) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push(line);
        }
    }
}

/// What is tried.
enum Guest {
    Transform(Arc<dyn Transform>),
    Sink(Arc<dyn Target>),
}

impl Guest {
    /// One JSON value for each record, or the fault of all of them.
    async fn run(&self, records: &[Record]) -> Result<Vec<Value>, Fault> {
        match self {
            Guest::Transform(transform) => Ok(records
                .iter()
                .zip(transform.apply(records).await?)
                .map(|(record, outcome)| outcome_json(record, outcome))
                .collect()),
            Guest::Sink(target) => Ok(target.deliver(records).await?.iter().map(verdict_json).collect()),
        }
    }
}

/// Runs the component on all records.
pub async fn run(session: &Session, arguments: &PluginTestArguments) -> Result<u8, Failure> {
    let component = read(&arguments.file)?;
    let records = records(&String::from_utf8_lossy(&read(&arguments.records)?))?;
    let lines = Arc::new(Lines::default());
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut options = PluginOptions::small(directory.path().to_owned(), Arc::new(OsDisk), Arc::clone(&clock));
    options.log = Arc::clone(&lines) as Arc<dyn LogSink>;
    let plugins = Plugins::open(options)?;
    let refused = |error: walhost_core::Error| Failure::failed(error.detail().to_owned());
    let info = plugins.store(Bytes::from(component)).await.map_err(refused)?;
    let name = |text| (NamespaceName::new(text), TargetName::new(text));
    let (Ok(namespace), Ok(target)) = name("test") else { unreachable!("`test` is a name") };
    let spec = PluginSpec {
        digest: info.digest,
        namespace,
        target,
        settings: Value::Object(pairs(&arguments.settings)?),
        grants: grants(&arguments.allow, &arguments.cidr, &arguments.secrets)?,
        limits: limits(arguments)?,
    };
    let guest = match info.kind {
        PluginKind::Transform => plugins.transform(&spec).await.map(Guest::Transform),
        PluginKind::Sink => plugins.sink(&spec).await.map(Guest::Sink),
    };
    let guest = guest.map_err(|error| Failure::failed(format!("{}{}", said(&lines), error.detail())))?;
    let begun = clock.monotonic();
    let mut outcomes = Vec::with_capacity(records.len());
    let mut broke = 0;
    for batch in records.chunks(arguments.batch.max(1)) {
        match guest.run(batch).await {
            Ok(several) => outcomes.extend(several),
            Err(fault) if batch.len() == 1 => {
                broke += 1;
                outcomes.push(fault_json(&fault));
            }
            // One record at a time, so that the guilty one is found.
            Err(_) => {
                for record in batch {
                    match guest.run(std::slice::from_ref(record)).await {
                        Ok(several) => outcomes.extend(several),
                        Err(fault) => {
                            broke += 1;
                            outcomes.push(fault_json(&fault));
                        }
                    }
                }
            }
        }
    }
    let took = clock.monotonic().saturating_sub(begun);
    let calls = plugins.calls().first().map(|calls| calls.snapshot());
    let rows: Vec<Value> = outcomes
        .into_iter()
        .enumerate()
        .map(|(place, mut outcome)| {
            outcome["record"] = json!(place + 1);
            outcome
        })
        .collect();
    let log: Vec<Value> = lines
        .0
        .lock()
        .map(|lines| lines.iter().map(|line| json!({ "level": line.level.as_str(), "text": line.text })).collect())
        .unwrap_or_default();
    let summary = json!({
        "digest": info.digest.to_string(),
        "kind": info.kind.as_str(),
        "records": rows.len(),
        "broke": broke,
        "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "us_per_record": took.as_secs_f64() * 1e6 / rows.len().max(1) as f64,
        "calls": calls.as_ref().map(|calls| calls.endings.iter().map(|(_, count)| count).sum::<u64>()),
        "instances": calls.as_ref().map(|calls| calls.instances),
        "memory_bytes": calls.as_ref().map(|calls| calls.memory_bytes_peak),
        "log_lines_dropped": calls.as_ref().map(|calls| calls.lines_dropped),
    });
    let text = text(&rows, &log, &summary);
    session.output.text_or_json(&text, &json!({ "outcomes": rows, "log": log, "summary": summary }))?;
    Ok(if broke > 0 { FAILED } else { 0 })
}

fn text(rows: &[Value], log: &[Value], summary: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    for row in rows {
        text.push_str(&format!("{:>5}  {}", row["record"], word(row, "outcome")));
        if row.get("code").is_some() {
            text.push_str(&format!("  {}: {}", word(row, "code"), word(row, "message")));
        }
        for output in row.get("outputs").and_then(Value::as_array).into_iter().flatten() {
            let key = output.get("key").and_then(Value::as_str).map(|key| format!("key={key} ")).unwrap_or_default();
            text.push_str(&format!("\n         {key}{}", word(output, "value")));
        }
        text.push('\n');
    }
    for line in log {
        text.push_str(&format!("  log  {:5}  {}\n", word(line, "level"), word(line, "text")));
    }
    let number = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or(0);
    text.push_str(&format!(
        "\n{} records, {} broke, {} calls, {:.1} µs a record, {} KiB of memory\n",
        number("records"),
        number("broke"),
        number("calls"),
        summary["us_per_record"].as_f64().unwrap_or(0.0),
        number("memory_bytes") / 1024,
    ));
    text
}

/// The guest's lines, for the refusal of a plugin that could not begin.
fn said(lines: &Lines) -> String {
    lines
        .0
        .lock()
        .map(|lines| lines.iter().map(|line| format!("  log  {}  {}\n", line.level.as_str(), line.text)).collect())
        .unwrap_or_default()
}

fn limits(arguments: &PluginTestArguments) -> Result<PluginLimits, Failure> {
    let wrong = |error: String| Failure::usage(error);
    Ok(PluginLimits {
        memory: arguments.memory.as_deref().map(str::parse).transpose().map_err(wrong)?,
        deadline: arguments.deadline.as_deref().map(str::parse).transpose().map_err(wrong)?,
        ..PluginLimits::default()
    })
}

/// One record a line: a value as it is, or a dead letter of `dlq export`.
fn records(text: &str) -> Result<Vec<Record>, Failure> {
    text.lines().filter(|line| !line.trim().is_empty()).enumerate().map(|(place, line)| record(place, line)).collect()
}

fn record(place: usize, line: &str) -> Result<Record, Failure> {
    let parsed: Option<Value> = serde_json::from_str(line).ok();
    let letter = parsed.as_ref().filter(|json| json.get("value_base64").is_some() && json.get("dead_at").is_some());
    let id = RecordId::new(&format!("test-{}", place + 1));
    let sequence = place as u64 + 1;
    let Some(letter) = letter else {
        let kind = if parsed.is_some() { "application/json" } else { "text/plain; charset=utf-8" };
        let headers = Headers::encode([(CONTENT_TYPE, kind.as_bytes())]);
        let value = Bytes::copy_from_slice(line.as_bytes());
        return Ok(Record { id, sequence, appended_at_ms: 0, attempt: 1, key: None, headers, value });
    };
    let text = |key: &str| letter.get(key).and_then(Value::as_str);
    let value = base64::engine::general_purpose::STANDARD
        .decode(text("value_base64").unwrap_or_default())
        .map_err(|error| Failure::failed(format!("line {}: value_base64: {error}", place + 1)))?;
    let pairs: Vec<(&str, &[u8])> = letter
        .get("headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|header| Some((header.get("name")?.as_str()?, header.get("value")?.as_str()?.as_bytes())))
        .collect();
    Ok(Record {
        id: text("record").map_or(id, RecordId::new),
        sequence,
        appended_at_ms: 0,
        attempt: 1,
        key: text("key").map(|key| Bytes::copy_from_slice(key.as_bytes())),
        headers: Headers::encode(pairs),
        value: value.into(),
    })
}

fn shown(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(value)).into(),
    }
}

fn outcome_json(record: &Record, outcome: Outcome) -> Value {
    match outcome {
        Outcome::Pass => json!({ "outcome": "pass", "outputs": [{ "value": shown(&record.value) }] }),
        Outcome::Filter => json!({ "outcome": "filter" }),
        Outcome::Retry(why, after) => refusal("retry", &why, after),
        Outcome::Reject(why) => refusal("reject", &why, None),
        Outcome::Emit(outputs) => {
            let outputs: Vec<Value> = outputs
                .iter()
                .map(|output| {
                    let headers: Vec<Value> =
                        output.headers.iter().map(|(name, value)| json!({ "name": name, "value": shown(value) })).collect();
                    json!({ "key": output.key.as_ref().map(|key| shown(key)), "headers": headers, "value": shown(&output.value) })
                })
                .collect();
            json!({ "outcome": "emit", "outputs": outputs })
        }
    }
}

fn verdict_json(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Delivered => json!({ "outcome": "delivered" }),
        Verdict::Retry { failure, after } => refusal("retry", failure, *after),
        Verdict::Throttle { failure, after } => refusal("throttle", failure, *after),
        Verdict::Pause { failure } => refusal("pause", failure, None),
        Verdict::Reject { failure } => refusal("reject", failure, None),
    }
}

fn refusal(outcome: &str, why: &Why, after: Option<std::time::Duration>) -> Value {
    let after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    json!({ "outcome": outcome, "code": why.code, "message": why.message, "after_ms": after_ms })
}

fn fault_json(fault: &Fault) -> Value {
    json!({ "outcome": "broke", "code": fault.code, "message": fault.message })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_value_or_an_exported_dead_letter() {
        let text = "{\"a\":1}\n\nnot json\n{\"record\":\"r1\",\"dead_at\":\"x\",\"key\":\"k\",\"headers\":[{\"name\":\"a\",\"value\":\"b\"}],\"value_base64\":\"aGk=\"}\n";
        let records = records(text).unwrap();
        assert_eq!(records.len(), 3);
        assert_eq!(records[0].content_type(), Some("application/json"));
        assert_eq!(&records[1].value[..], b"not json");
        assert_eq!(
            (records[2].id.as_str(), &records[2].value[..], records[2].headers.text("a")),
            ("r1", &b"hi"[..], Some("b"))
        );
    }
}
