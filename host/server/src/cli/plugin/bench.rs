//! `walhost plugin bench`: what a component costs a record, with the host's own engine, limits and grants.
//!
//! In: a component; records, or a size of made ones; batch sizes. Out: for each batch size the time of a
//! record and of a call, beside the limits; exit code 1 when the plugin broke.

use super::guest::{Place, Said, Sandbox, limits};
use super::{fixture, read};
use crate::cli::Session;
use crate::cli::arguments::PluginBenchArguments;
use crate::cli::failure::Failure;
use crate::cli::output;
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::time::Duration;
use walhost_core::config::Size;
use walhost_core::plugin::PluginKind;
use walhost_core::record::{CONTENT_TYPE, TRACEPARENT};
use walhost_core::{Headers, Outcome, Record, RecordId, Verdict};
use walhost_plugin::limits::{MEMORY_BYTES_DEFAULT, SINK_DEADLINE_MS_DEFAULT, TRANSFORM_DEADLINE_MS_DEFAULT};

/// Longest call that is told apart, in nanoseconds: ten minutes, the longest deadline.
const CALL_NS_MAX: u64 = 600_000_000_000;
/// Part of the time (one over this) that goes by before anything is counted.
const WARM_UP_PART: u32 = 10;
/// Calls before anything is counted, at least.
const WARM_UP_CALLS: u32 = 3;

/// What one batch size has shown, in nanoseconds a call.
struct Row {
    batch: usize,
    calls: Histogram<u64>,
}

impl Row {
    fn us_per_record(&self) -> f64 {
        self.calls.value_at_quantile(0.5) as f64 / 1e3 / self.batch as f64
    }

    fn json(&self) -> Value {
        let us = |quantile| self.calls.value_at_quantile(quantile) as f64 / 1e3;
        json!({
            "batch": self.batch,
            "us_per_record": self.us_per_record(),
            "records_per_second": 1e6 / self.us_per_record(),
            "calls": self.calls.len(),
            "call_p50_us": us(0.5),
            "call_p99_us": us(0.99),
            "call_max_us": self.calls.max() as f64 / 1e3,
        })
    }
}

/// Measures the component.
pub async fn run(session: &Session, arguments: &PluginBenchArguments) -> Result<u8, Failure> {
    let most = walhost_core::limits::BATCH_RECORDS_MAX;
    if arguments.batch.iter().any(|batch| !(1..=most).contains(batch)) {
        return Err(Failure::usage(format!("--batch: 1 to {most}")));
    }
    let records = match &arguments.records {
        Some(file) => fixture::records(&String::from_utf8_lossy(&read(file)?))?,
        None => vec![made(usize::try_from(arguments.size.bytes()).unwrap_or(usize::MAX))?],
    };
    if records.is_empty() {
        return Err(Failure::failed("there is no record in the file"));
    }
    let component = read(&arguments.file)?;
    let sandbox = Sandbox::open(component.clone(), &arguments.guest, Place::Here).await?;
    let answers = answers(&sandbox, &records).await?;
    let mut rows = Vec::new();
    for batch in &arguments.batch {
        rows.push(measure(&sandbox, &records, *batch, arguments.duration.std()).await?);
    }
    let hop_us = hop_us(&sandbox, component, arguments, &records).await?;
    let memory_bytes = sandbox.calls().map_or(0, |calls| calls.memory_bytes_peak);
    let longest_ns = rows.iter().map(|row| row.calls.max()).max().unwrap_or(0);
    let value_bytes = records.iter().map(|record| record.value.len()).sum::<usize>() / records.len();
    let given = limits(&arguments.guest)?;
    let deadline_ms = given.deadline.map_or(
        match sandbox.info.kind {
            PluginKind::Transform => TRANSFORM_DEADLINE_MS_DEFAULT,
            PluginKind::Sink => SINK_DEADLINE_MS_DEFAULT,
        },
        |deadline| deadline.ms(),
    );
    let memory_bytes_max = given.memory.map_or(MEMORY_BYTES_DEFAULT, |memory| memory.bytes());
    let shown: Vec<Value> = rows.iter().map(Row::json).collect();
    let counts: Vec<String> = answers.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
    let text = format!(
        "{} {}, {} records of {value_bytes} bytes: {}\n\n{}\n\
         threads of their own  {hop_us:.0} µs a call more, on a quiet host\n\
         longest call          {:.3} ms of {deadline_ms} ms\n\
         memory                {} KiB of {}\n",
        sandbox.info.kind.as_str(),
        sandbox.info.digest.short(),
        records.len(),
        counts.join(", "),
        table(&rows),
        longest_ns as f64 / 1e6,
        memory_bytes / 1024,
        Size(memory_bytes_max),
    );
    let json = json!({
        "digest": sandbox.info.digest.to_string(),
        "kind": sandbox.info.kind.as_str(),
        "records": records.len(),
        "value_bytes": value_bytes,
        "answers": answers,
        "rows": shown,
        "hop_us": hop_us,
        "memory_bytes": memory_bytes,
        "limits": { "memory_bytes": memory_bytes_max, "deadline_ms": deadline_ms },
    });
    session.output.text_or_json(&text, &json)?;
    Ok(0)
}

/// A record with a key and two headers whose value is JSON of this size.
fn made(size: usize) -> Result<Record, Failure> {
    if size > walhost_core::limits::RECORD_BYTES_HARD_MAX {
        return Err(Failure::usage(format!(
            "--size: at most {}",
            Size(walhost_core::limits::RECORD_BYTES_HARD_MAX as u64)
        )));
    }
    let mut value = br#"{"id":4711,"email":"somebody@example.net","name":"Somebody","items":["#.to_vec();
    for place in 0.. {
        let element = format!(r#"{{"sku":"A-{place}","count":{},"price":12.50}},"#, place % 7 + 1);
        // The two brackets take the place of a comma and one byte more.
        if value.len() + element.len() + 1 > size {
            break;
        }
        value.extend_from_slice(element.as_bytes());
    }
    value.pop_if(|last| *last == b',');
    value.extend_from_slice(b"]}");
    // Blanks are JSON too.
    value.resize(size.max(value.len()), b' ');
    let headers = [
        (CONTENT_TYPE, b"application/json".as_slice()),
        (TRACEPARENT, b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    Ok(Record {
        id: RecordId::new("bench-1"),
        sequence: 1,
        appended_at_ms: 0,
        attempt: 1,
        key: Some(Bytes::from_static(b"customer-4711")),
        headers: Headers::encode(headers),
        value: value.into(),
    })
}

/// How many of the records were answered how, one call for each.
async fn answers(sandbox: &Sandbox, records: &[Record]) -> Result<Map<String, Value>, Failure> {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for record in records {
        let answer = match call(sandbox, std::slice::from_ref(record)).await? {
            Said::Outcomes(outcomes) => outcomes.first().map(outcome),
            Said::Verdicts(verdicts) => verdicts.first().map(verdict),
        };
        *counts.entry(answer.unwrap_or("nothing")).or_default() += 1;
    }
    Ok(counts.into_iter().map(|(answer, count)| (answer.to_owned(), count.into())).collect())
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Emit(_) => "emit",
        Outcome::Filter => "filter",
        Outcome::Retry(..) => "retry",
        Outcome::Reject(_) => "reject",
    }
}

fn verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry { .. } => "retry",
        Verdict::Throttle { .. } => "throttle",
        Verdict::Pause { .. } => "pause",
        Verdict::Reject { .. } => "reject",
    }
}

async fn call(sandbox: &Sandbox, batch: &[Record]) -> Result<Said, Failure> {
    sandbox
        .guest
        .run(batch)
        .await
        .map_err(|fault| Failure::failed(format!("it broke: {}: {}", fault.code, fault.message)))
}

/// Calls it again and again with batches of this size.
async fn measure(sandbox: &Sandbox, records: &[Record], batch: usize, time: Duration) -> Result<Row, Failure> {
    let mut calls =
        Histogram::new_with_bounds(1, CALL_NS_MAX, 3).map_err(|error| Failure::failed(error.to_string()))?;
    let mut places = records.iter().cycle();
    let now = || sandbox.clock.monotonic();
    let (begun, mut warm_up) = (now(), 0);
    let end = begun + time;
    loop {
        let taken: Vec<Record> = places.by_ref().take(batch).cloned().collect();
        let started = now();
        drop(call(sandbox, &taken).await?);
        let ended = now();
        if warm_up < WARM_UP_CALLS || started < begun + time / WARM_UP_PART {
            warm_up += 1;
        } else {
            calls.saturating_record(u64::try_from((ended - started).as_nanos()).unwrap_or(u64::MAX));
        }
        if ended >= end && !calls.is_empty() {
            return Ok(Row { batch, calls });
        }
    }
}

/// What it costs a call that guests have threads of their own: the difference of the medians of small calls.
async fn hop_us(
    here: &Sandbox,
    component: Vec<u8>,
    arguments: &PluginBenchArguments,
    records: &[Record],
) -> Result<f64, Failure> {
    let there = Sandbox::open(component, &arguments.guest, Place::Threads).await?;
    let time = arguments.duration.std() / 4;
    let (here, there) = (measure(here, records, 1, time).await?, measure(&there, records, 1, time).await?);
    Ok((there.us_per_record() - here.us_per_record()).max(0.0))
}

fn table(rows: &[Row]) -> String {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let shown = row.json();
            let number = |key: &str, digits: usize| format!("{:.digits$}", shown[key].as_f64().unwrap_or(0.0));
            json!({
                "batch": row.batch,
                "record": number("us_per_record", 2),
                "rate": number("records_per_second", 0),
                "half": number("call_p50_us", 1),
                "most": number("call_p99_us", 1),
                "worst": number("call_max_us", 1),
            })
        })
        .collect();
    let columns = [
        ("batch", "/batch"),
        ("µs a record", "/record"),
        ("records/s", "/rate"),
        ("call p50 µs", "/half"),
        ("p99 µs", "/most"),
        ("max µs", "/worst"),
    ];
    output::table(&rows, &columns)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn made_values_are_json_of_the_size_that_was_asked_for() {
        for size in [1, 71, 72, 128, 1024, 16_384] {
            let record = made(size).unwrap();
            assert!(serde_json::from_slice::<Value>(&record.value).is_ok(), "{size}");
            assert_eq!(record.value.len(), size.max(71), "{size}");
            assert_eq!((record.headers.iter().count(), record.key.is_some()), (2, true));
        }
        assert!(made(usize::MAX).is_err());
    }
}
