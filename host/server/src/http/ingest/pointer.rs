//! The key of a record by a JSON pointer (RFC 6901), found without building the value.
//!
//! In: a value's bytes. Out: a string's bytes, or the JSON text of a number or boolean; else no key.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// A parsed pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads `/a/b/0`; none when it is no pointer. The empty pointer is the whole value.
    pub fn parse(text: &str) -> Option<Pointer> {
        if text.is_empty() {
            return Some(Pointer(Vec::new()));
        }
        let steps = text.strip_prefix('/')?.split('/');
        steps.map(unescape).collect::<Option<Vec<_>>>().map(Pointer)
    }

    /// The key in this value; none when there is no value of a fitting kind at the pointer. An error: the
    /// value is no JSON.
    pub fn key(&self, value: &[u8]) -> Result<Option<Vec<u8>>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(value);
        let found = Step(&self.0).deserialize(&mut reader)?;
        reader.end()?;
        let Some(text) = found.map(RawValue::get) else { return Ok(None) };
        Ok(match text.as_bytes().first() {
            Some(b'"') => Some(serde_json::from_str::<String>(text)?.into_bytes()).filter(|key| !key.is_empty()),
            Some(b't' | b'f' | b'-' | b'0'..=b'9') => Some(text.as_bytes().to_vec()),
            _ => None,
        })
    }
}

fn unescape(step: &str) -> Option<String> {
    let mut out = String::with_capacity(step.len());
    let mut rest = step.chars();
    while let Some(character) = rest.next() {
        match character {
            '~' => out.push(match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            other => out.push(other),
        }
    }
    Some(out)
}

/// The steps that are left.
struct Step<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return <&RawValue as serde::Deserialize>::deserialize(reader).map(Some);
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (first, rest) = self.0.split_first().expect("no step left is handled before");
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(Wanted(first))? {
            if wanted {
                found = map.next_value_seed(Step(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (first, rest) = self.0.split_first().expect("no step left is handled before");
        let place = (first == "0" || !first.starts_with('0')).then(|| first.parse::<usize>().ok()).flatten();
        let mut found = None;
        let mut at = 0;
        loop {
            if Some(at) == place {
                match list.next_element_seed(Step(rest))? {
                    Some(value) => found = value,
                    None => return Ok(found),
                }
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Compares a key without copying it.
struct Wanted<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Wanted<'_> {
    type Value = bool;
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(pointer: &str, value: &str) -> Option<String> {
        Pointer::parse(pointer)
            .unwrap()
            .key(value.as_bytes())
            .ok()
            .flatten()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn strings_numbers_and_booleans_are_keys_as_they_are_written() {
        assert_eq!(key("/id", r#"{"x":[{"id":0}],"id":"a\u00e9"}"#).as_deref(), Some("aé"));
        assert_eq!(key("/id", r#"{"id": 1.50}"#).as_deref(), Some("1.50"));
        assert_eq!(key("/a/1/b~1c", r#"{"a":[0,{"b/c":true}]}"#).as_deref(), Some("true"));
        assert_eq!(key("", "17").as_deref(), Some("17"));
    }

    #[test]
    fn anything_else_is_no_key() {
        for value in [
            r#"{"id":null}"#,
            r#"{"id":{}}"#,
            r#"{"id":[1]}"#,
            r#"{"id":""}"#,
            "{}",
            "[]",
            "7",
            "not json",
            r#"{"id":1} x"#,
            "",
        ] {
            assert_eq!(key("/id", value), None, "{value}");
        }
        assert_eq!(key("/0x", "[1]"), None);
        assert_eq!(key("/01", "[1,2]"), None);
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        assert!(Pointer::parse("id").is_none() && Pointer::parse("/a~2").is_none() && Pointer::parse("/~").is_none());
    }
}
