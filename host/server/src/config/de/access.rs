//! `serde`'s view of a tree: what is asked for decides how a node is read.
//!
//! In: a node and what earlier readings learned. Out: visits; faults with their places.

use super::fault::{Fault, Why};
use super::{Round, STAND_INS, unknown_key};
use crate::config::node::{Kind, Member, Node};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// One node, to be read.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// What is read.
    pub node: &'a Node,
    /// What is known.
    pub round: &'a Round,
}

impl<'a> Reader<'a> {
    fn below(self, node: &'a Node) -> Reader<'a> {
        Reader { node, round: self.round }
    }

    fn skips(self, node: &Node) -> bool {
        self.round.skipped.iter().any(|address| std::ptr::eq(node, *address))
    }

    fn table(self, known: Option<&'static [&'static str]>) -> Table<'a> {
        let mut members = Vec::new();
        for member in self.node.members() {
            match known {
                Some(known) if !known.contains(&member.key.as_str()) => {
                    self.round.report(unknown_key(&member.key, &member.key_place, known));
                }
                _ if self.skips(&member.node) => {}
                _ => members.push(member),
            }
        }
        members.reverse();
        let stand_ins = self
            .round
            .stand_ins
            .iter()
            .filter(|(table, ..)| std::ptr::eq(self.node, *table))
            .map(|(_, key, number)| (*key, *number))
            .collect();
        Table { reader: self, members, value: None, stand_in: None, stand_ins }
    }

    fn visit<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        known: Option<&'static [&'static str]>,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Integer(value) if *value >= 0 => visitor.visit_u64(value.unsigned_abs()),
            Kind::Integer(value) => visitor.visit_i64(*value),
            Kind::Huge(value) => visitor.visit_u64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(text) | Kind::Datetime(text) => visitor.visit_str(text),
            Kind::List(nodes) => visitor.visit_seq(Elements { reader: self, rest: nodes.iter() }),
            Kind::Table(_) => visitor.visit_map(self.table(known)),
        };
        result.map_err(|fault| fault.at(self.node))
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, None)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self).map_err(|fault: Fault| fault.at(self.node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.node.kind {
            Kind::Table(_) => self.visit(visitor, Some(fields)),
            _ => Err(Fault::new(Why::Type { found: self.node.kind.name().to_owned(), wanted: "a table".to_owned() })
                .at(self.node)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.kind {
            _ if name == "Secret" && self.node.members().len() != 1 => Err(Fault::new(Why::Other(
                "a secret is a place, not a value: write { env = \"NAME\" } or { file = \"path\" }".to_owned(),
            ))),
            Kind::Text(text) => visitor.visit_enum(StrDeserializer::<Fault>::new(text)),
            Kind::Table(members) if members.len() == 1 => {
                visitor.visit_enum(Variant { reader: self, member: &members[0] })
            }
            other => {
                let wanted = format!("one of {}", super::list(variants));
                Err(Fault::new(Why::Type { found: other.name().to_owned(), wanted }))
            }
        };
        result.map_err(|fault| fault.at(self.node))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.kind {
            Kind::Float(number) if !number.is_finite() => {
                Err(Fault::new(Why::Other("this is not a finite number".to_owned())).at(self.node))
            }
            _ => self.visit(visitor, None),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

/// The elements of an array.
struct Elements<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let reader = self.reader;
        let Some(node) = self.rest.find(|node| !reader.skips(node)) else { return Ok(None) };
        seed.deserialize(reader.below(node)).map(Some).map_err(|fault| fault.at(node).through(node))
    }
}

/// The keys of a table that are to be seen, last first, and those that are stood in for.
struct Table<'a> {
    reader: Reader<'a>,
    members: Vec<&'a Member>,
    value: Option<&'a Member>,
    stand_in: Option<(&'static str, usize)>,
    stand_ins: Vec<(&'static str, usize)>,
}

impl<'de> MapAccess<'de> for Table<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if let Some(member) = self.members.pop() {
            self.value = Some(member);
            let key: StrDeserializer<'_, Fault> = member.key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some).map_err(|mut fault| {
                fault.place.get_or_insert(member.key_place.clone());
                fault.through(&member.node)
            });
        }
        self.value = None;
        self.stand_in = self.stand_ins.pop();
        let Some((key, _)) = self.stand_in else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        match (self.value, self.stand_in) {
            (Some(member), _) => seed
                .deserialize(self.reader.below(&member.node))
                .map_err(|fault| fault.at(&member.node).through(&member.node)),
            (None, Some((key, number))) => seed
                .deserialize(StandIn(STAND_INS[number]))
                .map_err(|_| Fault::new(Why::StandIn(key)).at(self.reader.node)),
            (None, None) => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// `{ variant = … }`.
struct Variant<'a> {
    reader: Reader<'a>,
    member: &'a Member,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Fault;
    type Variant = Variant<'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Variant<'a>), Fault> {
        let key: StrDeserializer<'_, Fault> = self.member.key.as_str().into_deserializer();
        let value = seed.deserialize(key).map_err(|mut fault| {
            if let Why::Word { found, known } = fault.why {
                fault.why = Why::Key { found, known };
            }
            fault.place = Some(self.member.key_place.clone());
            fault
        })?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(de::Error::custom(format!("`{}` takes no value: write it as a string", self.member.key.escape_debug())))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.reader.below(&self.member.node)).map_err(|fault| fault.at(&self.member.node))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.reader.below(&self.member.node).deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.reader.below(&self.member.node).deserialize_struct("", fields, visitor)
    }
}

/// What stands in for a missing key: nothing, of whatever type is asked for.
struct StandIn(&'static str);

impl<'de> Deserializer<'de> for StandIn {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.0)
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(false)
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(1)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_none()
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(de::value::SeqDeserializer::<_, Fault>::new(std::iter::empty::<u8>()))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(StrDeserializer::<Fault>::new(variants.first().unwrap_or(&"")))
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(de::value::MapDeserializer::<_, Fault>::new(std::iter::empty::<(&str, &str)>()))
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 u8 u16 u32 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}
