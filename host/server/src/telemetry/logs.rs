//! Log lines on stderr, as text for a person or as JSON for a machine. Control characters are escaped, so
//! that no record, header or plugin can forge a line (I44).
//!
//! In: `tracing` events, a format and a filter. Out: one line each.

use std::io::{self, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets the process's logger. `filter` is like `info,walhost=debug`; what cannot be read falls back to
/// `info`. A second call changes nothing.
pub fn start(format: Format, filter: Option<&str>, colour: bool) {
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Escaping).with_target(false);
    let outcome = match format {
        Format::Text => builder.with_ansi(false).with_ansi(colour).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(outcome);
}

/// Writes to stderr, one whole line a call, with its control characters escaped.
#[derive(Clone, Copy, Debug)]
struct Escaping;

impl<'a> MakeWriter<'a> for Escaping {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line
    }
}

/// One line on its way.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let clean = line.strip_suffix(b"\n").unwrap_or(line).iter().all(|byte| !is_control(*byte));
        if clean {
            io::stderr().lock().write_all(line)?;
        } else {
            io::stderr().lock().write_all(&escape(line))?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Escapes every control character but the colours of our own formatter and the last line feed.
fn escape(line: &[u8]) -> Vec<u8> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, true),
        None => (line, false),
    };
    let mut out = Vec::with_capacity(line.len() + 16);
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if let Some(colour) = own_colour(*byte, after) {
            out.push(*byte);
            out.extend_from_slice(&after[..colour]);
            rest = &after[colour..];
        } else if is_control(*byte) {
            out.extend(byte.escape_ascii());
        } else {
            out.push(*byte);
        }
    }
    if end {
        out.push(b'\n');
    }
    out
}

/// Length of an SGR sequence of our formatter after its escape byte: `[`, digits, `m`. A guest's or a
/// record's text never gets here raw: the formatter quotes what it did not write itself.
fn own_colour(byte: u8, after: &[u8]) -> Option<usize> {
    if byte != 0x1b || after.first() != Some(&b'[') {
        return None;
    }
    let end = after.iter().position(|byte| *byte == b'm')?;
    (end <= 4 && after[1..end].iter().all(u8::is_ascii_digit)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i44_a_line_feed_inside_a_line_is_escaped() {
        assert_eq!(escape(b"a\nFORGED\n"), b"a\\nFORGED\n");
        assert_eq!(escape(b"a\r\x1b]0;title\x07\n"), b"a\\r\\x1b]0;title\\x07\n".as_slice());
    }

    #[test]
    fn the_formatters_own_colours_stay() {
        assert_eq!(escape(b"\x1b[32mINFO\x1b[0m x\n"), b"\x1b[32mINFO\x1b[0m x\n");
    }
}
