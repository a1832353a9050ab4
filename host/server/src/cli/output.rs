//! Answers as a person or a program reads them.
//!
//! In: JSON as the host gives it. Out: a table, one JSON document, or one a line, on stdout.

use super::arguments::Format;
use super::failure::Failure;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// How answers are printed.
pub struct Output {
    format: Format,
    colour: bool,
    quiet: bool,
}

/// A column of a table: its heading, and where its cells are in a row (a JSON pointer).
pub type Column = (&'static str, &'static str);

/// Longest cell, in characters: what is longer is cut in tables, never in JSON.
const CELL_CHARS_MAX: usize = 80;

impl Output {
    /// Colours only for a terminal, and unless `NO_COLOR` is set.
    pub fn new(format: Format, colour: bool, quiet: bool) -> Output {
        let colour = colour && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Output { format, colour, quiet }
    }

    /// Whether stderr may have colours.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Whether a machine reads along.
    pub fn is_json(&self) -> bool {
        self.format != Format::Table
    }

    /// A list answer, `{"items":[…]}`, or a list.
    pub fn list(&self, answer: &Value, columns: &[Column]) -> Result<(), Failure> {
        let none = Vec::new();
        let rows = answer.get("items").unwrap_or(answer).as_array().unwrap_or(&none);
        match self.format {
            Format::Json => self.json(answer),
            Format::Ndjson => rows.iter().try_for_each(|row| print(&format!("{row}\n"))),
            Format::Table => print(&table(rows, columns)),
        }
    }

    /// One thing.
    pub fn one(&self, answer: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(answer),
            Format::Ndjson => print(&format!("{answer}\n")),
            Format::Table => print(&lines(answer)),
        }
    }

    /// Text for a person, JSON for a program.
    pub fn text_or_json(&self, text: &str, json: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(json),
            Format::Ndjson => print(&format!("{json}\n")),
            Format::Table => print(text),
        }
    }

    fn json(&self, value: &Value) -> Result<(), Failure> {
        print(&format!("{value:#}\n"))
    }

    /// A remark on stderr, unless `-q`.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            // Nobody can be told that stderr is closed.
            drop(writeln!(anstream::stderr().lock(), "{text}"));
        }
    }
}

/// Writes to stdout. A reader that has gone away, as `head` does, ends the command quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("nobody reads the answer any more"))
        }
        result => Ok(result?),
    }
}

/// Rows under headings, columns apart by two blanks.
pub fn table(rows: &[Value], columns: &[Column]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(columns.iter().map(|(heading, _)| heading.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|(_, pointer)| cell(row.pointer(pointer).unwrap_or(&Value::Null))));
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_owned()).collect();
    format!("{}\n", text.join("\n"))
}

/// A value as a cell: digests short, nothing as `-`, control characters escaped (I44).
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.is_ascii() => hex[..12].to_owned(),
            _ => text.clone(),
        },
        Value::Array(values) if values.iter().all(Value::is_string) => {
            values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let escaped = escaped(&text);
    match escaped.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}

/// Without control characters: nothing that a record, a header or a plugin says moves the terminal's cursor.
pub fn escaped(text: &str) -> String {
    text.chars().flat_map(escape).collect()
}

fn escape(character: char) -> impl Iterator<Item = char> {
    let (escaped, plain) =
        if character.is_control() { (Some(character.escape_default()), None) } else { (None, Some(character)) };
    escaped.into_iter().flatten().chain(plain)
}

/// One thing, a line for each key; what is nested is indented.
fn lines(value: &Value) -> String {
    let mut text = String::new();
    indent(value, 0, &mut text);
    text
}

fn indent(value: &Value, depth: usize, text: &mut String) {
    let blank = "  ".repeat(depth);
    let Some(members) = value.as_object() else {
        text.push_str(&format!("{blank}{}\n", cell_whole(value)));
        return;
    };
    // A record's own JSON is shown too: its keys are anybody's text.
    let members: Vec<(String, &Value)> = members.iter().map(|(key, value)| (escaped(key), value)).collect();
    let width = members.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in members {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{blank}{key}\n"));
                indent(value, depth + 1, text);
            }
            Value::Array(values) if values.iter().any(Value::is_object) => {
                text.push_str(&format!("{blank}{key}\n"));
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        text.push_str(&format!("{blank}  --\n"));
                    }
                    indent(value, depth + 1, text);
                }
            }
            _ => text.push_str(&format!("{blank}{key:width$}  {}\n", cell_whole(value))),
        }
    }
}

/// As a cell, but whole: one thing is shown with everything.
fn cell_whole(value: &Value) -> String {
    match value {
        Value::String(text) => escaped(text),
        other => cell(other),
    }
}
