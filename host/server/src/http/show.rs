//! What the host knows, in the JSON shapes of the contract: times in RFC 3339, durations as numbers with
//! their unit in the name, lists with `items` and `next`.
//!
//! In: values of the ports. Out: `serde_json::Value`.

use crate::host::Standing;
use serde_json::{Map, Value, json};
use walhost_core::attempt::Attempt;
use walhost_core::inspect::{DeadLetter, DeadLetterDetail, DeadLetterGroup, Page, Peeked, RecordState};
use walhost_core::queue::Capability;
use walhost_core::{NamespaceName, Record, TargetName};
use walhost_delivery::{shown_state, why};

/// Milliseconds since the Unix epoch as RFC 3339 in UTC.
pub fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// The same of a time that may be missing.
pub fn time_or_null(ms: Option<u64>) -> Value {
    ms.map_or(Value::Null, |ms| Value::String(time(ms)))
}

/// A page of a list.
pub fn page<T>(page: Page<T>, one: impl FnMut(&T) -> Value) -> Value {
    json!({ "items": page.items.iter().map(one).collect::<Vec<_>>(), "next": page.next })
}

/// A whole list.
pub fn list(items: Vec<Value>) -> Value {
    json!({ "items": items, "next": null })
}

/// A record's state, with a sentence of what it waits for, for each target.
pub fn record_state(
    namespace: &NamespaceName,
    state: &RecordState,
    now_ms: u64,
    standing: impl Fn(&TargetName) -> Standing,
) -> Value {
    let mut targets = Map::new();
    for (name, target) in &state.targets {
        let standing = standing(name);
        let shown = shown_state(target, standing.holder()).as_str();
        let shown = json!({
            "state": shown,
            "attempts": target.attempts.iter().map(attempt).collect::<Vec<_>>(),
            "next_attempt_at": time_or_null(target.due_ms.filter(|due| *due > now_ms || shown == "scheduled" || shown == "retrying")),
            "why": why(target, standing.holder(), &time),
        });
        targets.insert(name.to_string(), shown);
    }
    let mut shown = json!({
        "id": state.id.as_str(),
        "namespace": namespace,
        "key": Value::Null,
        "appended_at": time(state.appended_at_ms),
        "targets": targets,
    });
    put_key(&mut shown, state.key.as_deref());
    shown
}

/// One try to deliver.
pub fn attempt(attempt: &Attempt) -> Value {
    json!({
        "attempt": attempt.number,
        "at": time(attempt.at_ms),
        "verdict": attempt.verdict.as_str(),
        "code": none_if_empty(&attempt.code),
        "message": none_if_empty(&attempt.message),
        "digest": attempt.digest.map(|digest| digest.to_string()),
    })
}

fn none_if_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// `key` as text where it is text, beside `key_base64` where it is not.
fn put_key(shown: &mut Value, key: Option<&[u8]>) {
    let Some(key) = key.filter(|key| !key.is_empty()) else { return };
    match std::str::from_utf8(key) {
        Ok(text) => shown["key"] = text.into(),
        Err(_) => shown["key_base64"] = base64(key).into(),
    }
}

/// Standard Base64.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Key, headers and value of a record, added to what is shown of it: the value as Base64, and as text or
/// JSON where it is one.
fn put_record(shown: &mut Value, record: &Record) {
    shown["key"] = Value::Null;
    put_key(shown, record.key.as_deref());
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": String::from_utf8_lossy(value) }))
        .collect();
    shown["headers"] = headers.into();
    shown["value_base64"] = base64(&record.value).into();
    if let Ok(value) = serde_json::from_slice::<Value>(&record.value) {
        shown["value_json"] = value;
    } else if let Ok(text) = std::str::from_utf8(&record.value) {
        shown["value_text"] = text.into();
    }
}

/// A record at rest.
pub fn peeked(peeked: &Peeked) -> Value {
    let record = &peeked.record;
    let mut shown = json!({
        "id": record.id.as_str(),
        "offset": peeked.offset,
        "sequence": record.sequence,
        "appended_at": time(record.appended_at_ms),
    });
    put_record(&mut shown, record);
    shown
}

/// A dead letter as a list shows it.
pub fn dead_letter(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id.0,
        "record": letter.record.as_str(),
        "target": letter.target,
        "code": letter.last.code,
        "message": letter.last.message,
        "exhausted": letter.exhausted.map(|exhausted| exhausted.as_str()),
        "digest": letter.last.digest.map(|digest| digest.to_string()),
        "attempts": letter.last.number,
        "appended_at": time(letter.appended_at_ms),
        "dead_at": time(letter.dead_at_ms),
    })
}

/// A dead letter with its record and its history.
pub fn dead_letter_detail(detail: &DeadLetterDetail) -> Value {
    let mut shown = dead_letter(&detail.letter);
    put_record(&mut shown, &detail.record);
    shown["sequence"] = detail.record.sequence.into();
    shown["history"] = detail.attempts.iter().map(attempt).collect();
    shown
}

/// Dead letters that failed alike.
pub fn dead_letter_group(group: &DeadLetterGroup) -> Value {
    json!({
        "code": group.code,
        "target": group.target,
        "digest": group.digest.map(|digest| digest.to_string()),
        "count": group.count,
        "oldest_at": time(group.oldest_at_ms),
        "newest_at": time(group.newest_at_ms),
    })
}

/// What a queue can do.
pub fn capability(capability: &Capability) -> Value {
    json!({
        "kind": capability.kind,
        "durability": capability.durability,
        "durable": capability.durable,
        "ordered": capability.ordered,
        "batch_atomic": capability.batch_atomic,
        "attempts_durable": capability.attempts_durable,
        "accounting_durable": capability.accounting_durable,
        "idempotency": capability.idempotency,
        "find": capability.find,
        "cancel": capability.cancel,
        "peek": capability.peek,
        "delay_ms_max": capability.delay_ms_max,
        "record_bytes_max": capability.record_bytes_max,
        "batch_bytes_max": capability.batch_bytes_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_764_000_000_123), "2025-11-24T16:00:00.123Z");
        assert!(time(u64::MAX).starts_with("9999-"));
    }

    #[test]
    fn a_key_that_is_no_text_is_shown_in_base64() {
        let mut shown = json!({ "key": null });
        put_key(&mut shown, Some(&[0xff, 0]));
        assert_eq!(shown, json!({ "key": null, "key_base64": "/wA=" }));
        put_key(&mut shown, Some(b"k"));
        assert_eq!(shown["key"], "k");
    }
}
