//! The headers of a delivery (contract.md, section 5).
//!
//! In: a record, the namespace, what the config adds. Out: HTTP headers, or the name of the one that HTTP
//! cannot carry.
//!
//! `wal-key` is the key as it is when it is visible ASCII without a percent sign (spaces inside are fine),
//! else percent-encoded: decoding percent signs always gives the key back.

use crate::config::is_ours;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write as _;
use walhost_core::record::TOMBSTONE;
use walhost_core::{NamespaceName, Record};
use walhost_net::client::is_framing;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WAL_NAMESPACE: HeaderName = HeaderName::from_static("wal-namespace");
const WAL_KEY: HeaderName = HeaderName::from_static("wal-key");
const WAL_ATTEMPT: HeaderName = HeaderName::from_static("wal-attempt");
const WAL_SEQUENCE: HeaderName = HeaderName::from_static("wal-sequence");

/// The headers of one delivery, all but the signature. `configured` wins over the record's own; names of
/// HTTP's framing and of the host are left out of the record's own. The error is the name of a header that
/// HTTP cannot carry.
pub fn of_record(
    record: &Record,
    namespace: &NamespaceName,
    seconds: u64,
    configured: &HeaderMap,
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in record.headers.iter() {
        let cannot = || name.escape_debug().to_string();
        let read = HeaderName::from_bytes(name.as_bytes()).map_err(|_| cannot())?;
        if is_framing(&read) || (is_ours(read.as_str()) && read.as_str() != TOMBSTONE) {
            continue;
        }
        headers.append(read, HeaderValue::from_bytes(value).map_err(|_| cannot())?);
    }
    for (name, value) in configured {
        headers.insert(name, value.clone());
    }
    let text = |text: &str, name: &HeaderName| HeaderValue::from_str(text).map_err(|_| name.to_string());
    headers.insert(WEBHOOK_ID, text(record.id.as_str(), &WEBHOOK_ID)?);
    headers.insert(WEBHOOK_TIMESTAMP, seconds.into());
    headers.insert(WAL_NAMESPACE, text(namespace.as_str(), &WAL_NAMESPACE)?);
    headers.insert(WAL_ATTEMPT, record.attempt.into());
    headers.insert(WAL_SEQUENCE, record.sequence.into());
    if let Some(key) = &record.key {
        headers.insert(WAL_KEY, text(&key_text(key), &WAL_KEY)?);
    }
    Ok(headers)
}

/// A key as header text.
pub fn key_text(key: &[u8]) -> String {
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && *byte != b'%';
    let edges = key.first() == Some(&b' ') || key.last() == Some(&b' ');
    match std::str::from_utf8(key) {
        Ok(text) if key.iter().all(plain) && !edges => text.to_owned(),
        _ => percent_encoded(key),
    }
}

fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            _ => write!(text, "%{byte:02X}").expect("a String takes every text"),
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_where_they_can_be_and_percent_encoded_elsewhere() {
        for (key, text) in [
            (&b"movie:1/2"[..], "movie:1/2"),
            (b"a b", "a b"),
            (b" a", "%20a"),
            (b"50%", "50%25"),
            ("ü\n".as_bytes(), "%C3%BC%0A"),
            (&[0xff, 0], "%FF%00"),
            (b"", ""),
        ] {
            assert_eq!(key_text(key), text);
            assert!(HeaderValue::from_str(&key_text(key)).is_ok());
        }
    }
}
