//! Records of a file.
//!
//! In: NDJSON: values, or records as `dlq export` and `peek -o ndjson` write them. Out: records as a guest gets them.

use crate::cli::failure::Failure;
use base64::Engine;
use bytes::Bytes;
use serde_json::Value;
use walhost_core::record::CONTENT_TYPE;
use walhost_core::{Headers, Record, RecordId};

/// One record a line: a value as it is, or a record that the host has shown.
pub fn records(text: &str) -> Result<Vec<Record>, Failure> {
    text.lines().filter(|line| !line.trim().is_empty()).enumerate().map(|(place, line)| record(place, line)).collect()
}

/// Whether a line is a record as the host shows it: a dead letter of `dlq export`, a record of `peek`.
fn is_shown_record(json: &Value) -> bool {
    let is_text = |key: &str| json.get(key).is_some_and(Value::is_string);
    is_text("value_base64") && (is_text("dead_at") || is_text("appended_at"))
}

fn record(place: usize, line: &str) -> Result<Record, Failure> {
    let parsed: Option<Value> = serde_json::from_str(line).ok();
    let letter = parsed.as_ref().filter(|json| is_shown_record(json));
    let id = RecordId::new(&format!("test-{}", place + 1));
    let sequence = place as u64 + 1;
    let Some(letter) = letter else {
        let kind = if parsed.is_some() { "application/json" } else { "text/plain; charset=utf-8" };
        let headers = Headers::encode([(CONTENT_TYPE, kind.as_bytes())]);
        let value = Bytes::copy_from_slice(line.as_bytes());
        return Ok(Record { id, sequence, appended_at_ms: 0, attempt: 1, key: None, headers, value });
    };
    let text = |key: &str| letter.get(key).and_then(Value::as_str);
    let decoded = |key: &str| {
        let bytes = text(key).map(|text| base64::engine::general_purpose::STANDARD.decode(text)).transpose();
        bytes.map_err(|error| Failure::failed(format!("line {}: {key}: {error}", place + 1)))
    };
    let value = decoded("value_base64")?.unwrap_or_default();
    // A key that is no text is shown as Base64.
    let key = match text("key") {
        Some(key) => Some(key.as_bytes().to_vec()),
        None => decoded("key_base64")?,
    };
    let pairs: Vec<(&str, &[u8])> = letter
        .get("headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|header| Some((header.get("name")?.as_str()?, header.get("value")?.as_str()?.as_bytes())))
        .collect();
    Ok(Record {
        id: text("record").or_else(|| text("id")).map_or(id, RecordId::new),
        sequence: letter.get("sequence").and_then(Value::as_u64).unwrap_or(sequence),
        appended_at_ms: 0,
        attempt: 1,
        key: key.map(Bytes::from),
        headers: Headers::encode(pairs),
        value: value.into(),
    })
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

    #[test]
    fn a_key_that_is_no_text_and_the_sequence_come_along_and_what_is_no_base64_is_named() {
        let line = r#"{"id":"r1","appended_at":"x","key_base64":"/wA=","sequence":77,"value_base64":""}"#;
        let record = &records(line).unwrap()[0];
        assert_eq!((record.key.as_deref(), record.sequence), (Some(&[0xff, 0][..]), 77));
        let broken = line.replace("/wA=", "/w");
        assert!(format!("{:?}", records(&broken).unwrap_err()).contains("line 1: key_base64"));
    }
}
