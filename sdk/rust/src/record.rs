//! A record as a plugin sees it. In: what the host hands over. Out: its parts, parsed on request.

use crate::{Output, Reason};
use serde::de::DeserializeOwned;

/// Header that marks a tombstone: the key's value is to be deleted at the destination.
const TOMBSTONE: &str = "wal-tombstone";
/// Header that holds the content type of the value.
const CONTENT_TYPE: &str = "content-type";

/// A name and a value. Names are case-sensitive and may repeat; those that begin with `wal-` belong
/// to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, as the producer wrote it.
    pub name: String,
    /// The value: any bytes.
    pub value: Vec<u8>,
}

/// One record of a namespace, on its way to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Given once at ingest, the same on every attempt and after a redrive: what a destination
    /// deduplicates by.
    pub id: String,
    /// Grows with every record of a key, the same on every attempt: what a versioned destination
    /// compares. Microseconds of the append, made strictly increasing.
    pub sequence: u64,
    /// When the record was appended, in milliseconds since the Unix epoch.
    pub appended_at_ms: u64,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// The ordering and partition key, if the producer gave one.
    pub key: Option<Vec<u8>>,
    /// All headers, in order.
    pub headers: Vec<Header>,
    /// The value, byte for byte as it was posted.
    pub value: Vec<u8>,
}

impl Record {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value.as_slice())
    }

    /// The first header of this name, when it is UTF-8.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The content type of the value, when the producer named one.
    pub fn content_type(&self) -> Option<&str> {
        self.header_text(CONTENT_TYPE)
    }

    /// The key, when there is one and it is UTF-8.
    pub fn key_text(&self) -> Option<&str> {
        self.key.as_deref().and_then(|key| str::from_utf8(key).ok())
    }

    /// True when the record says that its key's value is to be deleted: an empty value under the
    /// header `wal-tombstone`.
    pub fn is_tombstone(&self) -> bool {
        self.value.is_empty() && self.header(TOMBSTONE).is_some()
    }

    /// The value as text. Anything but UTF-8 is the reason `not-utf8`.
    pub fn text(&self) -> Result<&str, Reason> {
        str::from_utf8(&self.value).map_err(|error| Reason::new("not-utf8", error.to_string()))
    }

    /// The value read as JSON into a type of yours, or into [`crate::Value`]. What is not JSON at all
    /// is the reason `not-json`; JSON of another shape is `bad-shape`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Reason> {
        serde_json::from_slice(&self.value).map_err(Reason::from)
    }

    /// An output with this record's key and headers and another value.
    pub fn output(&self, value: impl Into<Vec<u8>>) -> Output {
        Output { key: self.key.clone(), headers: self.headers.clone(), value: value.into() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing;
    use crate::{Value, json};

    fn with_headers(headers: &[(&str, &[u8])]) -> Record {
        let headers = headers.iter().map(|(name, value)| Header { name: (*name).into(), value: value.to_vec() });
        Record { headers: headers.collect(), ..testing::record("") }
    }

    #[test]
    fn the_first_header_of_a_name_is_found_and_case_counts() {
        let record = with_headers(&[("a", b"1"), ("a", b"2"), ("bin", b"\xff")]);
        assert_eq!(record.header("a"), Some(b"1".as_slice()));
        assert_eq!(record.header("A"), None);
        assert_eq!(record.header("bin"), Some(b"\xff".as_slice()));
        assert_eq!(record.header_text("bin"), None);
    }

    #[test]
    fn a_tombstone_needs_both_the_header_and_an_empty_value() {
        let tombstone = with_headers(&[("wal-tombstone", b"true")]);
        assert!(tombstone.is_tombstone());
        assert!(!Record { value: b"x".to_vec(), ..tombstone }.is_tombstone());
        assert!(!testing::record("").is_tombstone());
    }

    #[test]
    fn bytes_that_are_no_json_and_json_of_another_shape_have_two_codes() {
        assert_eq!(testing::record("{").json::<Value>().unwrap_err().code(), "not-json");
        assert_eq!(testing::record("").json::<Value>().unwrap_err().code(), "not-json");
        assert_eq!(testing::record("[1]").json::<u8>().unwrap_err().code(), "bad-shape");
        assert_eq!(testing::json(json!({"a": 1})).json::<Value>().unwrap(), json!({"a": 1}));
    }

    #[test]
    fn an_output_keeps_key_and_headers() {
        let record = Record { key: Some(b"k".to_vec()), ..with_headers(&[("a", b"1")]) };
        let output = record.output("new");
        assert_eq!((output.key, output.value), (Some(b"k".to_vec()), b"new".to_vec()));
        assert_eq!(output.headers, record.headers);
    }
}
