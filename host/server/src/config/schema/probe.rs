//! Asks a `serde` type what it reads.
//!
//! In: a type. Out: JSON Schema of it. A type is deserialised from nothing, once for each part of it, and
//! what it asks for on the way is written down; so the schema cannot drift from what is read.

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde_json::{Map, Value, json};

/// How deep a type is followed: configurations are shallow.
const DEPTH_MAX: usize = 8;

/// What a type asked for.
#[derive(Clone, Debug, Default, PartialEq)]
enum Asked {
    #[default]
    Anything,
    Bool,
    Integer {
        least: Option<i64>,
    },
    Number,
    Text,
    List,
    Map,
    Keys(&'static [&'static str]),
    Words(&'static [&'static str]),
}

/// One step into a type.
#[derive(Clone, Copy)]
enum Step {
    Key(&'static str),
    Element,
    Value,
    Word(&'static str),
}

/// JSON Schema of what a type reads.
pub fn of<T: DeserializeOwned>() -> Value {
    below::<T>(&mut Vec::new())
}

fn below<T: DeserializeOwned>(path: &mut Vec<Step>) -> Value {
    let mut asked = Asked::default();
    // The result is an error nearly always; what was asked for on the way is what counts.
    drop(T::deserialize(Probe { path, asked: &mut asked }));
    if path.len() >= DEPTH_MAX {
        return json!(true);
    }
    let mut inside = |step| {
        path.push(step);
        let schema = below::<T>(path);
        path.pop();
        schema
    };
    match asked {
        Asked::Anything => json!(true),
        Asked::Bool => json!({ "type": "boolean" }),
        Asked::Integer { least: Some(least) } => json!({ "type": "integer", "minimum": least }),
        Asked::Integer { least: None } => json!({ "type": "integer" }),
        Asked::Number => json!({ "type": "number" }),
        Asked::Text => json!({ "type": "string" }),
        Asked::List => json!({ "type": "array", "items": inside(Step::Element) }),
        Asked::Map => json!({ "type": "object", "additionalProperties": inside(Step::Value) }),
        Asked::Keys(keys) => {
            let properties: Map<String, Value> =
                keys.iter().map(|key| ((*key).to_owned(), inside(Step::Key(key)))).collect();
            json!({ "type": "object", "properties": properties, "additionalProperties": false })
        }
        Asked::Words([]) => Value::Null,
        Asked::Words(words) => {
            let (mut plain, mut forms) = (Vec::new(), Vec::new());
            for word in words {
                match inside(Step::Word(word)) {
                    Value::Null => plain.push(*word),
                    inner => forms.push(json!({
                        "type": "object", "properties": { *word: inner }, "required": [word], "additionalProperties": false
                    })),
                }
            }
            if !plain.is_empty() {
                forms.push(json!({ "enum": plain }));
            }
            if forms.len() == 1 { forms.remove(0) } else { json!({ "anyOf": forms }) }
        }
    }
}

/// Deserialises nothing, along a path.
struct Probe<'p> {
    path: &'p [Step],
    asked: &'p mut Asked,
}

impl Probe<'_> {
    /// Writes down what is asked for, if this is where the path ends.
    fn note(&mut self, asked: Asked) {
        if self.path.is_empty() {
            *self.asked = asked;
        }
    }
}

macro_rules! scalars {
    ($($method:ident => $asked:expr, $visit:ident($value:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            self.note($asked);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.note(Asked::Anything);
        visitor.visit_unit()
    }

    scalars! {
        deserialize_bool => Asked::Bool, visit_bool(false);
        deserialize_u8 => Asked::Integer { least: Some(0) }, visit_u64(1);
        deserialize_u16 => Asked::Integer { least: Some(0) }, visit_u64(1);
        deserialize_u32 => Asked::Integer { least: Some(0) }, visit_u64(1);
        deserialize_u64 => Asked::Integer { least: Some(0) }, visit_u64(1);
        deserialize_i8 => Asked::Integer { least: None }, visit_i64(1);
        deserialize_i16 => Asked::Integer { least: None }, visit_i64(1);
        deserialize_i32 => Asked::Integer { least: None }, visit_i64(1);
        deserialize_i64 => Asked::Integer { least: None }, visit_i64(1);
        deserialize_f32 => Asked::Number, visit_f64(1.0);
        deserialize_f64 => Asked::Number, visit_f64(1.0);
        deserialize_str => Asked::Text, visit_str("");
        deserialize_string => Asked::Text, visit_str("");
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.note(Asked::List);
        match self.path.split_first() {
            Some((Step::Element, rest)) => {
                visitor.visit_seq(One { probe: Some(Probe { path: rest, asked: self.asked }) })
            }
            _ => visitor.visit_seq(SeqDeserializer::<_, Error>::new(std::iter::empty::<u8>())),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        self.note(Asked::Map);
        match self.path.split_first() {
            Some((Step::Value, rest)) => {
                visitor.visit_map(Single { key: "name", probe: Some(Probe { path: rest, asked: self.asked }) })
            }
            _ => visitor.visit_map(MapDeserializer::<_, Error>::new(std::iter::empty::<(&str, &str)>())),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(Asked::Keys(fields));
        match self.path.split_first() {
            Some((Step::Key(key), rest)) => {
                visitor.visit_map(Single { key, probe: Some(Probe { path: rest, asked: self.asked }) })
            }
            _ => visitor.visit_map(MapDeserializer::<_, Error>::new(std::iter::empty::<(&str, &str)>())),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(Asked::Words(variants));
        match self.path.split_first() {
            Some((Step::Word(word), rest)) => {
                visitor.visit_enum(Variant { word, probe: Probe { path: rest, asked: self.asked } })
            }
            _ => visitor.visit_unit(),
        }
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

struct One<'p> {
    probe: Option<Probe<'p>>,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.probe.take().map(|probe| seed.deserialize(probe)).transpose()
    }
}

struct Single<'p> {
    key: &'static str,
    probe: Option<Probe<'p>>,
}

impl<'de> MapAccess<'de> for Single<'_> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.probe.is_none() {
            return Ok(None);
        }
        seed.deserialize(self.key.into_deserializer()).map(Some)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let probe = self.probe.take().ok_or_else(|| serde::de::Error::custom("asked twice"))?;
        seed.deserialize(probe)
    }
}

/// A word of an enum: one without a value leaves `Words` of nothing behind, which `below` reads as plain.
struct Variant<'p> {
    word: &'static str,
    probe: Probe<'p>,
}

impl<'de, 'p> EnumAccess<'de> for Variant<'p> {
    type Error = Error;
    type Variant = Probe<'p>;
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Probe<'p>), Error> {
        Ok((seed.deserialize(self.word.into_deserializer())?, self.probe))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = Error;
    fn unit_variant(mut self) -> Result<(), Error> {
        self.note(Asked::Words(&[]));
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use walhost_core::config::{Duration, Secret};

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        One,
        TwoThree,
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        wait: Duration,
        word: Word,
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        list: Vec<Inner>,
        map: BTreeMap<String, Secret>,
        count: Option<u32>,
        free: serde_json::Value,
    }

    #[test]
    fn a_type_says_what_it_reads_at_every_depth() {
        let schema = of::<Outer>();
        let list = &schema["properties"]["list"];
        assert_eq!(list["type"], "array");
        assert_eq!(list["items"]["properties"]["wait"]["type"], "string");
        assert_eq!(list["items"]["properties"]["word"], json!({ "enum": ["one", "two-three"] }));
        assert_eq!(schema["properties"]["count"], json!({ "type": "integer", "minimum": 0 }));
        assert_eq!(schema["properties"]["free"], json!(true));
        let forms = schema["properties"]["map"]["additionalProperties"]["anyOf"].as_array().map(Vec::len);
        assert_eq!(forms, Some(2), "{schema:#}");
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
