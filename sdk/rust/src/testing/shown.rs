//! Records as the host shows them. In: a line of `walhost dlq export` or `walhost peek -o ndjson`.
//! Out: the record.

use crate::{Header, Record, Value};

/// The record of this line; none when it is not a record that the host has shown, but a value.
///
/// # Panics
///
/// When its Base64 is none: a fixture that was cut is no fixture.
pub(crate) fn record(line: &str) -> Option<Record> {
    let shown: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| shown.get(key).and_then(Value::as_str);
    let value = text("value_base64").filter(|_| text("dead_at").or(text("appended_at")).is_some())?;
    let decoded = |text: &str| base64(text).unwrap_or_else(|| panic!("no Base64 in the fixture: {text}"));
    let header = |header: &Value| {
        let part = |key: &str| header.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Header { name: part("name")?, value: part("value")?.into_bytes() })
    };
    Some(Record {
        id: text("record").or(text("id"))?.to_owned(),
        sequence: shown.get("sequence").and_then(Value::as_u64).unwrap_or(1),
        appended_at_ms: 0,
        attempt: 1,
        key: text("key").map(|key| key.as_bytes().to_vec()).or_else(|| text("key_base64").map(decoded)),
        headers: shown["headers"].as_array().into_iter().flatten().filter_map(header).collect(),
        value: decoded(value),
    })
}

/// Standard Base64 with its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - letters.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for letter in letters.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_and_anything_else_is_not() {
        assert_eq!(base64("").as_deref(), Some(b"".as_slice()));
        assert_eq!(base64("aA==").as_deref(), Some(b"h".as_slice()));
        assert_eq!(base64("aGk=").as_deref(), Some(b"hi".as_slice()));
        assert_eq!(base64("/+8A").as_deref(), Some(b"\xff\xef\0".as_slice()));
        assert_eq!((base64("aGk"), base64("a==="), base64("a?==")), (None, None, None));
    }

    #[test]
    fn a_dead_letter_of_an_export_is_its_record_and_json_like_it_is_a_value() {
        let line = r#"{"id":"d1","record":"r1","target":"t","dead_at":"2027-01-01T00:00:00Z","key":"k",
            "headers":[{"name":"a","value":"b"}],"value_base64":"aGk=","value_text":"hi"}"#;
        let record = record(line).expect("it is one");
        assert_eq!((record.id.as_str(), record.key_text(), record.header_text("a")), ("r1", Some("k"), Some("b")));
        assert_eq!(record.value, b"hi");
        assert_eq!(super::record(r#"{"value_base64":"aGk="}"#), None);
        assert_eq!(super::record("hi"), None);
    }
}
