//! `walhost plugin test`: a component on records, with the host's own engine, limits and grants.
//!
//! In: a component and records. Out: an outcome for each record, log lines, time and memory; exit code 1
//! when the plugin broke.

use super::guest::{Place, Said, Sandbox};
use super::{fixture, read};
use crate::cli::Session;
use crate::cli::arguments::PluginTestArguments;
use crate::cli::failure::{FAILED, Failure};
use base64::Engine;
use serde_json::{Value, json};
use walhost_core::attempt::{Failure as Why, Fault};
use walhost_core::{Outcome, Record, Verdict};

/// One JSON value for each record, or the fault of all of them.
async fn outcomes(sandbox: &Sandbox, records: &[Record]) -> Result<Vec<Value>, Fault> {
    Ok(match sandbox.guest.run(records).await? {
        Said::Outcomes(outcomes) => {
            records.iter().zip(outcomes).map(|(record, outcome)| outcome_json(record, outcome)).collect()
        }
        Said::Verdicts(verdicts) => verdicts.iter().map(verdict_json).collect(),
    })
}

/// Runs the component on all records.
pub async fn run(session: &Session, arguments: &PluginTestArguments) -> Result<u8, Failure> {
    let records = fixture::records(&String::from_utf8_lossy(&read(&arguments.records)?))?;
    let sandbox = Sandbox::open(read(&arguments.file)?, &arguments.guest, Place::Here).await?;
    let begun = sandbox.clock.monotonic();
    let mut rows = Vec::with_capacity(records.len());
    let mut broke = 0;
    for batch in records.chunks(arguments.batch.max(1)) {
        match outcomes(&sandbox, batch).await {
            Ok(several) => rows.extend(several),
            Err(fault) if batch.len() == 1 => {
                broke += 1;
                rows.push(fault_json(&fault));
            }
            // One record at a time, so that the guilty one is found.
            Err(_) => {
                for record in batch {
                    match outcomes(&sandbox, std::slice::from_ref(record)).await {
                        Ok(several) => rows.extend(several),
                        Err(fault) => {
                            broke += 1;
                            rows.push(fault_json(&fault));
                        }
                    }
                }
            }
        }
    }
    let took = sandbox.clock.monotonic().saturating_sub(begun);
    let calls = sandbox.calls();
    let rows: Vec<Value> = rows
        .into_iter()
        .enumerate()
        .map(|(place, mut outcome)| {
            outcome["record"] = json!(place + 1);
            outcome
        })
        .collect();
    let log: Vec<Value> =
        sandbox.lines().iter().map(|line| json!({ "level": line.level.as_str(), "text": line.text })).collect();
    let summary = json!({
        "digest": sandbox.info.digest.to_string(),
        "kind": sandbox.info.kind.as_str(),
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
