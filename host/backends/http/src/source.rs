//! Values that stand in the config or are secrets kept elsewhere.
//!
//! In: `"text"` or `{ env = "X" }` or `{ file = "…" }`. Out: bytes, read when a target is opened. Secrets
//! are shown as the place where they are (I40).

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use walhost_core::config::Secret;

/// The value of a header: written down, or a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// As it stands in the config.
    Text(String),
    /// Read when the target is opened.
    Secret(Secret),
}

impl Source {
    /// Its bytes; the error names the place, never the value.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Source::Text(text) => Ok(text.as_bytes().to_vec()),
            Source::Secret(secret) => secret.read(),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Source::Text(text) => serializer.serialize_str(text),
            Source::Secret(secret) => secret.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Source;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, { env = \"X\" } or { file = \"…\" }")
            }
            fn visit_str<E>(self, text: &str) -> Result<Source, E> {
                Ok(Source::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                Secret::deserialize(MapAccessDeserializer::new(map)).map(Source::Secret)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// One secret, or several while they are rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets(pub Vec<Secret>);

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Secrets;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("{ env = \"X\" }, { file = \"…\" } or a list of these")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secrets, A::Error> {
                Secret::deserialize(MapAccessDeserializer::new(map)).map(|secret| Secrets(vec![secret]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Secrets, A::Error> {
                let mut secrets = Vec::new();
                while let Some(secret) = list.next_element()? {
                    secrets.push(secret);
                }
                Ok(Secrets(secrets))
            }
        }
        deserializer.deserialize_any(Read)
    }
}
