//! The table of a figure: rows of cells, notes below it.
//!
//! In: cells. Out: a table on the terminal, a section of a markdown file, JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number, and how many decimals of it mean something.
    Number(f64, usize),
    /// Does not apply.
    None,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

/// A number with so many decimals; what is no number does not apply.
pub fn number(value: f64, decimals: usize) -> Cell {
    if value.is_finite() { Cell::Number(value, decimals) } else { Cell::None }
}

/// Microseconds, shown in milliseconds.
pub fn ms(us: f64) -> Cell {
    number(us / 1e3, 3)
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Number(value, decimals) => thousands(&format!("{value:.decimals$}")),
            Cell::None => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Number(value, _) => json!(value),
            Cell::None => Value::Null,
        }
    }
}

/// A comma between every three digits.
fn thousands(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, rest) = text.split_once('.').map_or((text, String::new()), |(a, b)| (a, format!(".{b}")));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}{rest}")
}

/// A figure's table.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Names its section: `ingest`.
    figure: String,
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

impl Sheet {
    /// A table without rows so far.
    pub fn new(figure: &str, title: &str, columns: &[&'static str]) -> Sheet {
        Sheet {
            figure: figure.to_owned(),
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "{}: a cell a column", self.figure);
        self.rows.push(cells);
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(self.columns.iter().copied());
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::text));
        }
        for column in 0..self.columns.len() {
            let numbers = self.rows.iter().all(|row| !matches!(row[column], Cell::Text(_)));
            if let Some(column) = table.column_mut(column).filter(|_| numbers) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// For a terminal.
    pub fn text(&self, machine: &str) -> String {
        let mut text = format!("{}\n{}\n\n{}\n", self.title, machine, self.table());
        for note in &self.notes {
            let _ = write!(text, "\n{note}");
        }
        text
    }

    /// For a program: an object a row, named as the columns are.
    pub fn json(&self, machine: &str) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let cells = self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.json()));
                Value::Object(cells.collect::<Map<_, _>>())
            })
            .collect();
        json!({ "figure": self.figure, "title": self.title, "machine": machine, "rows": rows, "notes": self.notes })
    }

    /// A markdown section between its markers.
    fn markdown(&self, machine: &str) -> String {
        let (begin, end) = self.markers();
        let rule = |column: usize| {
            let numbers = self.rows.iter().all(|row| !matches!(row[column], Cell::Text(_)));
            if numbers { "---:" } else { "---" }
        };
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("{begin}\n{}\n\n{}\n\n", self.title, machine);
        text.push_str(&line(self.columns.iter().map(|name| (*name).to_owned()).collect()));
        text.push_str(&line((0..self.columns.len()).map(|column| rule(column).to_owned()).collect()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| cell.text().replace('|', "\\|")).collect()));
        }
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        format!("{}\n{end}", text.trim_end())
    }

    fn markers(&self) -> (String, String) {
        (format!("<!-- bench {} -->", self.figure), format!("<!-- /bench {} -->", self.figure))
    }

    /// Replaces this figure's section, or adds it at the end.
    pub fn write(&self, file: &Path, machine: &str) -> anyhow::Result<()> {
        let old = if file.exists() { std::fs::read_to_string(file)? } else { String::new() };
        Ok(std::fs::write(file, self.put_into(&old, machine))?)
    }

    fn put_into(&self, old: &str, machine: &str) -> String {
        let (begin, end) = self.markers();
        let place = old.find(&begin).and_then(|from| Some((from, from + old[from..].find(&end)? + end.len())));
        match place {
            Some((from, to)) => format!("{}{}{}", &old[..from], self.markdown(machine), &old[to..]),
            None => format!("{}\n\n{}\n", old.trim_end(), self.markdown(machine)).trim_start().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(value: f64) -> Sheet {
        let mut sheet = Sheet::new("ingest", "Ingest", &["what", "records/s"]);
        sheet.row(vec!["walhost".into(), number(value, 0)]);
        sheet.note("One note.");
        sheet
    }

    #[test]
    fn a_section_is_added_and_then_replaced_where_it_stands() {
        let first = sheet(1_234.0).put_into("# Title\n", "A machine.");
        let more = format!("{first}\nafter\n");
        let second = sheet(5.0).put_into(&more, "A machine.");
        assert!(first.contains("| walhost | 1,234 |") && first.starts_with("# Title\n\n<!-- bench ingest -->"));
        assert!(second.contains("| walhost | 5 |") && !second.contains("1,234") && second.ends_with("\nafter\n"));
        assert_eq!(second.matches("<!-- bench ingest -->").count(), 1);
    }

    #[test]
    fn numbers_are_readable_and_json_keeps_them_whole() {
        assert_eq!(thousands("1234567.25"), "1,234,567.25");
        assert_eq!(thousands("-999"), "-999");
        assert_eq!(sheet(12.5).json("A machine.")["rows"][0]["records/s"], json!(12.5));
        assert_eq!(number(f64::NAN, 1), Cell::None);
    }
}
