//! The error of one reading: why, where, and which nodes it came through.
//!
//! In: what `serde` says. Out: a diagnostic in our words.

use super::{Address, closest, find, list, unknown_key};
use crate::config::diagnostics::Diagnostic;
use crate::config::node::{Node, Place};
use serde::de::{Error, Expected, Unexpected};
use std::fmt;

/// What `serde` objects to.
#[derive(Debug)]
pub enum Why {
    /// A key of a table is not there.
    Missing(&'static str),
    /// A value of another type than what is wanted.
    Type { found: String, wanted: String },
    /// A word that is none of some.
    Word { found: String, known: &'static [&'static str] },
    /// A key that is none of the table's (where `serde` saw it before us).
    Key { found: String, known: &'static [&'static str] },
    /// Anything else, in its own words.
    Other(String),
    /// What stood in for a missing key was refused: no news.
    StandIn(&'static str),
}

/// One fault.
#[derive(Debug)]
pub struct Fault {
    /// What it is.
    pub why: Why,
    /// Where; none until it has passed the first node.
    pub place: Option<Place>,
    /// The table that misses a key.
    pub table: Option<Address>,
    /// Nodes that can be left out to get past it, innermost first.
    pub culprits: Vec<Address>,
}

impl Fault {
    /// Without a place.
    pub fn new(why: Why) -> Fault {
        Fault { why, place: None, table: None, culprits: Vec::new() }
    }

    /// With the node it happened in, unless an inner one is known.
    pub fn at(mut self, node: &Node) -> Fault {
        if self.place.is_none() {
            self.place = Some(node.place.clone());
        }
        if matches!(self.why, Why::Missing(_) | Why::StandIn(_)) && self.table.is_none() {
            self.table = Some(node);
        }
        self
    }

    /// On its way out of a member or an element.
    pub fn through(mut self, node: &Node) -> Fault {
        self.culprits.push(node);
        self
    }

    /// In our words.
    pub fn diagnostic(&self, root: &Node) -> Diagnostic {
        let place = self.place.clone().unwrap_or_else(|| root.place.clone());
        match &self.why {
            Why::Missing(key) => {
                let place = self.table.and_then(|table| find(root, table)).map_or(place, |table| table.place.clone());
                missing(key, place)
            }
            Why::Type { found, wanted } => {
                Diagnostic::error("wrong-type", place, format!("{found} stands where {wanted} is wanted"))
            }
            Why::Word { found, known } => {
                let message = format!("`{}` is none of {}", found.escape_debug(), list(known));
                let diagnostic = Diagnostic::error("bad-value", place, message);
                match closest(found, known.iter().copied()) {
                    Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
                    None => diagnostic,
                }
            }
            Why::Key { found, known } => unknown_key(found, &place, known),
            Why::Other(message) => Diagnostic::error("bad-value", place, message.clone()),
            Why::StandIn(_) => Diagnostic::error("bad-value", place, "this table cannot be read"),
        }
    }
}

/// A key that is missing from a table, reported at the table's header.
pub fn missing(key: &str, place: Place) -> Diagnostic {
    Diagnostic::error("missing-key", place, format!("the key `{key}` is missing"))
        .help(format!("add `{key} = …` to this table"))
}

fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("the boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("the integer `{value}`"),
        Unexpected::Signed(value) => format!("the integer `{value}`"),
        Unexpected::Float(value) => format!("the number `{value}`"),
        Unexpected::Str(value) => {
            format!("the string \"{}\"", value.chars().take(80).collect::<String>().escape_debug())
        }
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        other => other.to_string(),
    }
}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::new(Why::Other(message.to_string()))
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::new(Why::Type { found: found(&unexpected), wanted: wanted(&expected.to_string()) })
    }
    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        let (found, wanted) = (found(&unexpected), wanted(&expected.to_string()));
        Fault::new(Why::Other(format!("{found} is out of range: {wanted} is wanted")))
    }
    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Fault {
        Fault::new(Why::Word { found: variant.to_owned(), known })
    }
    fn unknown_field(field: &str, known: &'static [&'static str]) -> Fault {
        Fault::new(Why::Key { found: field.to_owned(), known })
    }
    fn missing_field(field: &'static str) -> Fault {
        Fault::new(Why::Missing(field))
    }
}

/// Rust's names of types in a person's words.
fn wanted(expected: &str) -> String {
    let text = match expected {
        "a string" | "a borrowed string" | "a Cow str" | "path string" | "str" | "string" => "a string",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "a table",
        other if other.starts_with("struct ") || other.starts_with("internally tagged") => "a table",
        other => return other.to_owned(),
    };
    text.to_owned()
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.why, formatter)
    }
}
impl std::error::Error for Fault {}
