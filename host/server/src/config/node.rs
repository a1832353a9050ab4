//! A configuration as a tree that knows where each part of it was written.
//!
//! In: TOML text (through `toml::de::DeTable`, which keeps places) or a JSON value. Out: `Node`s that are
//! read by `de`, taken apart by `read` and `namespace`, and turned into JSON again.

use serde_json::Value as Json;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Which of the files of one reading.
pub type FileId = usize;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of a file.
    Text(FileId, Range<usize>),
    /// In a JSON document: a JSON pointer.
    Pointer(String),
}

/// One key of a table.
#[derive(Clone, Debug)]
pub struct Member {
    /// The key.
    pub key: String,
    /// Where the key is written.
    pub key_place: Place,
    /// What it is.
    pub node: Node,
}

/// A part of a configuration.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is written: of a table its header or its braces.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// JSON's null; TOML has none.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Huge(u64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A date, a time or both, as it is written.
    Datetime(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and what they are, in the order of the file.
    Table(Vec<Member>),
}

impl Kind {
    /// For messages: what a person calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Integer(_) | Kind::Huge(_) => "an integer",
            Kind::Float(_) => "a float",
            Kind::Text(_) => "a string",
            Kind::Datetime(_) => "a datetime",
            Kind::List(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The root of a file. What is not TOML comes back as messages with their bytes; the tree then holds
    /// what could be understood.
    pub fn from_toml(file: FileId, text: &str) -> (Node, Vec<(String, Range<usize>)>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut troubles: Vec<_> = errors
            .into_iter()
            .map(|error| (error.message().to_owned(), error.span().unwrap_or(text.len()..text.len())))
            .collect();
        let root = from_table(file, table.get_ref(), 0..0, &mut troubles);
        (root, troubles)
    }

    /// The root of a JSON document.
    pub fn from_json(json: &Json) -> Node {
        at_pointer(json, String::new())
    }

    /// As JSON. Dates become text.
    pub fn to_json(&self) -> Json {
        match &self.kind {
            Kind::Null => Json::Null,
            Kind::Bool(value) => Json::from(*value),
            Kind::Integer(value) => Json::from(*value),
            Kind::Huge(value) => Json::from(*value),
            Kind::Float(value) => Json::from(*value),
            Kind::Text(text) | Kind::Datetime(text) => Json::from(text.as_str()),
            Kind::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Kind::Table(members) => {
                Json::Object(members.iter().map(|member| (member.key.clone(), member.node.to_json())).collect())
            }
        }
    }

    /// The keys of a table; none of anything else.
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Table(members) => members,
            _ => &[],
        }
    }

    /// A key of a table.
    pub fn get(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.key == key)
    }

    /// What a dotted key leads to; numbers count elements of arrays, from 0.
    pub fn at(&self, key: &str) -> Option<&Node> {
        key.split('.').filter(|part| !part.is_empty()).try_fold(self, |node, part| match &node.kind {
            Kind::List(nodes) => nodes.get(part.parse::<usize>().ok()?),
            _ => node.get(part).map(|member| &member.node),
        })
    }

    /// Where a dotted key is written, or the innermost table on the way to it that is.
    pub fn near(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            match (self.at(key), key.rsplit_once('.')) {
                (Some(node), _) => return node.place.clone(),
                (None, Some((table, _))) => key = table,
                (None, None) => return self.place.clone(),
            }
        }
    }

    /// The same table without some keys.
    pub fn without(&self, keys: &[&str]) -> Node {
        let members = self.members().iter().filter(|member| !keys.contains(&member.key.as_str())).cloned().collect();
        Node { place: self.place.clone(), kind: Kind::Table(members) }
    }

    /// The same table with only some keys.
    pub fn only(&self, keys: &[&str]) -> Node {
        let members = self.members().iter().filter(|member| keys.contains(&member.key.as_str())).cloned().collect();
        Node { place: self.place.clone(), kind: Kind::Table(members) }
    }

    /// Both tables' keys; where both have one, it is this one's.
    pub fn over(&self, below: &Node) -> Node {
        let mut members = self.members().to_vec();
        members.extend(below.members().iter().filter(|member| self.get(&member.key).is_none()).cloned());
        Node { place: self.place.clone(), kind: Kind::Table(members) }
    }

    /// Makes the paths absolute that are known as paths wherever they stand: `{ file = "…" }`, and `ca`,
    /// `cert` and `key` of a table `tls`. A plugin's settings and the tests are nobody's paths.
    pub fn resolve_paths(&mut self, directory: &Path) {
        match &mut self.kind {
            Kind::List(nodes) => nodes.iter_mut().for_each(|node| node.resolve_paths(directory)),
            Kind::Table(members) => {
                let alone = members.len() == 1;
                for member in members {
                    match member.key.as_str() {
                        "settings" | "tests" => {}
                        "file" if alone => member.node.resolve_path(directory),
                        "tls" => {
                            if let Kind::Table(files) = &mut member.node.kind {
                                files
                                    .iter_mut()
                                    .filter(|file| matches!(file.key.as_str(), "ca" | "cert" | "key"))
                                    .for_each(|file| file.node.resolve_path(directory));
                            }
                            member.node.resolve_paths(directory);
                        }
                        _ => member.node.resolve_paths(directory),
                    }
                }
            }
            _ => {}
        }
    }

    /// Makes one path absolute.
    pub fn resolve_path(&mut self, directory: &Path) {
        if let Kind::Text(text) = &mut self.kind
            && Path::new(text).is_relative()
            && let Some(absolute) = directory.join(&*text).to_str()
        {
            *text = absolute.to_owned();
        }
    }
}

type Troubles = Vec<(String, Range<usize>)>;

fn from_table(file: FileId, table: &DeTable<'_>, span: Range<usize>, troubles: &mut Troubles) -> Node {
    let members = table
        .iter()
        .map(|(key, value)| Member {
            key: key.get_ref().to_string(),
            key_place: Place::Text(file, key.span()),
            node: from_value(file, value, troubles),
        })
        .collect();
    Node { place: Place::Text(file, span), kind: Kind::Table(members) }
}

fn from_value(file: FileId, value: &Spanned<DeValue<'_>>, troubles: &mut Troubles) -> Node {
    let span = value.span();
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Integer(number),
            Err(_) => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Kind::Huge(number),
                Err(_) => {
                    troubles.push((format!("the number {number} is too large"), span.clone()));
                    Kind::Huge(u64::MAX)
                }
            },
        },
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Datetime(time) => Kind::Datetime(time.to_string()),
        DeValue::Array(values) => Kind::List(values.iter().map(|value| from_value(file, value, troubles)).collect()),
        DeValue::Table(table) => return from_table(file, table, span, troubles),
    };
    Node { place: Place::Text(file, span), kind }
}

fn at_pointer(json: &Json, pointer: String) -> Node {
    let kind = match json {
        Json::Null => Kind::Null,
        Json::Bool(value) => Kind::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Kind::Integer(number),
            (None, Some(number)) => Kind::Huge(number),
            (None, None) => Kind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Kind::Text(text.clone()),
        Json::Array(values) => Kind::List(
            values.iter().enumerate().map(|(place, value)| at_pointer(value, format!("{pointer}/{place}"))).collect(),
        ),
        Json::Object(values) => Kind::Table(
            values
                .iter()
                .map(|(key, value)| {
                    let below = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    Member {
                        key: key.clone(),
                        key_place: Place::Pointer(below.clone()),
                        node: at_pointer(value, below),
                    }
                })
                .collect(),
        ),
    };
    Node { place: Place::Pointer(pointer), kind }
}
