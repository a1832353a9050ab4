//! The key of a record at the cache, made from a template.
//!
//! In: `movie:{/id}` and a record. Out: a key that memcached takes, or why there is none.

use crate::{limits, pointer};
use walhost_core::attempt::clean;
use walhost_core::{Blame, Failure, Record};

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Pointer(String),
    Key,
    Id,
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads a template. The error is a sentence.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                literal.push(character);
                rest = after;
            } else if character == '{' {
                let (inner, after) = rest[1..].split_once('}').ok_or("a `{` is not closed: write {{ for a brace")?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal).into_bytes()));
                }
                parts.push(part(inner)?);
                rest = after;
            } else if character == '}' {
                return Err("a `}` closes nothing: write }} for a brace".into());
            } else if character.is_whitespace() || character.is_control() {
                return Err(format!("the character `{}` cannot be in a key", character.escape_default()));
            } else {
                literal.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into_bytes()));
        }
        if !parts.iter().any(|part| !matches!(part, Part::Text(_))) {
            return Err("every record would have the same key: put {/pointer}, {key} or {id} in it".into());
        }
        if parts.len() > limits::TEMPLATE_PARTS_MAX {
            return Err(format!("more than {} parts", limits::TEMPLATE_PARTS_MAX));
        }
        Ok(Template { parts })
    }

    /// The key of a record. The failure is `key-missing` or `bad-key`, and the record's.
    pub fn render(&self, record: &Record) -> Result<Vec<u8>, Failure> {
        let missing = |what: &str| Failure::new("key-missing", what, Blame::Record);
        let mut key = Vec::with_capacity(64);
        for part in &self.parts {
            match part {
                Part::Text(text) => key.extend_from_slice(text),
                Part::Id => key.extend_from_slice(record.id.as_str().as_bytes()),
                Part::Key => key.extend_from_slice(own_key(record).ok_or_else(|| missing("the record has no key"))?),
                Part::Pointer(_) if record.is_tombstone() => {
                    let stands = self.parts.iter().filter(|part| matches!(part, Part::Pointer(_))).count() == 1;
                    let own = own_key(record).filter(|_| stands);
                    key.extend_from_slice(own.ok_or_else(|| {
                        missing("a tombstone has no value to point into, and its key cannot stand for it")
                    })?);
                }
                Part::Pointer(at) => {
                    let found = pointer::find(&record.value, at).and_then(pointer::as_key);
                    key.extend_from_slice(&found.ok_or_else(|| {
                        missing(&format!("the value is not JSON, or has no string, number or boolean at {at}"))
                    })?);
                }
            }
        }
        check(key)
    }
}

fn own_key(record: &Record) -> Option<&[u8]> {
    record.key.as_deref().filter(|key| !key.is_empty())
}

fn part(inner: &str) -> Result<Part, String> {
    match inner {
        "key" => Ok(Part::Key),
        "id" => Ok(Part::Id),
        pointer if pointer.starts_with('/') => Ok(Part::Pointer(pointer.to_owned())),
        other => Err(format!("`{{{}}}` is not {{/pointer}}, {{key}} or {{id}}", clean(other, 64))),
    }
}

/// memcached takes 1 to 250 bytes without spaces and control characters.
fn check(key: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let bad = |what: String| Err(Failure::new("bad-key", &what, Blame::Record));
    if key.len() > limits::KEY_BYTES_MAX {
        return bad(format!("the key has {} bytes: memcached takes {}", key.len(), limits::KEY_BYTES_MAX));
    }
    if key.is_empty() {
        return bad("the key is empty".into());
    }
    if key.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return bad(format!(
            "the key `{}` has spaces or control characters",
            clean(&String::from_utf8_lossy(&key), 120)
        ));
    }
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use walhost_core::{Headers, RecordId};

    fn record(key: Option<&str>, value: &str, tombstone: bool) -> Record {
        let headers =
            if tombstone { Headers::encode([("wal-tombstone", b"true".as_slice())]) } else { Headers::default() };
        Record {
            id: RecordId::new("r-1"),
            sequence: 1,
            appended_at_ms: 1,
            attempt: 1,
            key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            headers,
            value: Bytes::copy_from_slice(value.as_bytes()),
        }
    }

    fn render(template: &str, record: &Record) -> Result<String, String> {
        let rendered = Template::parse(template).unwrap().render(record);
        rendered.map(|key| String::from_utf8(key).unwrap()).map_err(|failure| failure.code)
    }

    #[test]
    fn keys_are_made_of_text_pointers_key_and_id() {
        let full = record(Some("k"), r#"{"id":7,"a":{"b":"ü"}}"#, false);
        assert_eq!(render("movie:{/id}", &full).unwrap(), "movie:7");
        assert_eq!(render("{{{key}}}:{id}:{/a/b}", &full).unwrap(), "{k}:r-1:ü");
        assert_eq!(render("m:{/id}", &record(Some("9"), "", true)).unwrap(), "m:9");
        assert_eq!(render("m:{/id}:{/x}", &record(Some("9"), "", true)).unwrap_err(), "key-missing");
        assert_eq!(render("m:{/id}", &record(None, "", true)).unwrap_err(), "key-missing");
        assert_eq!(render("{key}", &record(None, "{}", false)).unwrap_err(), "key-missing");
        assert_eq!(render("{/id}", &record(None, "{}", false)).unwrap_err(), "key-missing");
        assert_eq!(render("{/id}", &record(None, "x", false)).unwrap_err(), "key-missing");
    }

    #[test]
    fn keys_that_memcached_refuses_are_refused_here_at_the_border() {
        let of = |key: &str| render("{key}", &record(Some(key), "", false));
        assert!(of(&"k".repeat(250)).is_ok());
        assert_eq!(of(&"k".repeat(251)).unwrap_err(), "bad-key");
        for key in ["a b", "a\r\nflush_all", "a\tb", "a\u{7f}", "a\0"] {
            assert_eq!(of(key).unwrap_err(), "bad-key", "{key:?}");
        }
    }

    #[test]
    fn bad_templates_are_refused_with_a_sentence() {
        for text in ["", "same", "{", "a{key", "}", "a}b", "{}", "{name}", "{ /id}", "a b{key}", "\n{key}"] {
            assert!(!Template::parse(text).unwrap_err().is_empty(), "{text}");
        }
        assert!(Template::parse(&"{id}".repeat(17)).is_err());
    }
}
