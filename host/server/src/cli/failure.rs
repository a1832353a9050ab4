//! Why a command did not do what it was told.
//!
//! In: sentences, problem+json. Out: lines on stderr and an exit code.

use super::output::escaped;
use serde_json::Value;
use std::io::Write;

/// Failed.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The host cannot be reached.
pub const UNREACHABLE: u8 = 69;
/// The configuration is wrong.
pub const BAD_CONFIG: u8 = 78;

/// What went wrong.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// For a person, perhaps several lines.
    pub message: String,
}

impl Failure {
    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure { code: FAILED, message: message.into() }
    }

    /// Exit code 2.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: USAGE, message: message.into() }
    }

    /// Exit code 69.
    pub fn unreachable(message: impl Into<String>) -> Failure {
        Failure { code: UNREACHABLE, message: message.into() }
    }

    /// Exit code 78.
    pub fn bad_config(message: impl Into<String>) -> Failure {
        Failure { code: BAD_CONFIG, message: message.into() }
    }

    /// From an answer that is a problem: its detail, its code, and each of its parts.
    pub fn problem(status: u16, body: &[u8]) -> Failure {
        let Ok(problem) = serde_json::from_slice::<Value>(body) else {
            return Failure::failed(format!(
                "the host answered {status}: {}",
                escaped(String::from_utf8_lossy(body).trim())
            ));
        };
        let text = |key: &str| problem.get(key).and_then(Value::as_str).map(escaped);
        let or = |text: Option<String>, other: &str| text.unwrap_or_else(|| other.to_owned());
        let detail = or(text("detail").or_else(|| text("title")), "the host refused");
        let mut message = format!("{detail} [{}]", or(text("code"), "unknown"));
        for part in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let place = match (part.get("pointer").and_then(Value::as_str), part.get("line").and_then(Value::as_u64)) {
                (Some(pointer), _) => escaped(pointer),
                (None, Some(line)) => format!("line {line}"),
                (None, None) => String::new(),
            };
            let detail = escaped(part.get("detail").and_then(Value::as_str).unwrap_or(""));
            message.push_str(&format!("\n  {place}: {detail}"));
        }
        if let Some(id) = text("request_id") {
            message.push_str(&format!("\n  request {id}"));
        }
        Failure::failed(message)
    }

    /// On stderr.
    pub fn report(&self) {
        let mut stderr = anstream::stderr().lock();
        // Nobody can be told that stderr is closed.
        drop(writeln!(stderr, "walhost: {}", self.message.trim_end()));
    }

    /// The first line only, on stderr.
    pub fn report_briefly(&self) {
        let first = self.message.lines().next().unwrap_or("");
        drop(writeln!(anstream::stderr().lock(), "walhost: {first}"));
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::failed(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::failed(format!("{error:#}"))
    }
}

impl From<walhost_core::Error> for Failure {
    fn from(error: walhost_core::Error) -> Failure {
        Failure::failed(error.to_string())
    }
}
