//! What is known of one try to deliver a record: verdict, code, whose failure it is, plugin digest.
//!
//! In: what a target or a plugin answered. Out: `Failure` (on its way through delivery), `Attempt` (kept
//! durably with the record), `Fault` (a plugin broke while it had a batch).

use std::fmt;
use std::time::Duration;

/// SHA-256 of a plugin's component; its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads `sha256:` and 64 hexadecimal digits; the prefix may be missing.
    pub fn parse(text: &str) -> Option<Digest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0_u8; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).ok()?;
        }
        Some(Digest(bytes))
    }

    /// The first twelve hexadecimal digits, for tables.
    pub fn short(&self) -> String {
        self.to_string()["sha256:".len()..][..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Whose failure it is (contract.md, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// It says nothing of the record: it moves the breaker and spends no attempt.
    Target,
    /// It may be the record's: it spends an attempt.
    Record,
}

/// Why a record was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Short, stable, kebab-case: `http-400`, `connect`, `timeout`, `plugin-trap`, or the plugin's own.
    /// Dead letters are grouped by it. At most `limits::CODE_BYTES_MAX` bytes.
    pub code: String,
    /// For a person; control characters are escaped, at most `limits::MESSAGE_BYTES_MAX` bytes.
    pub message: String,
    /// Whose it is.
    pub blame: Blame,
}

impl Failure {
    /// Cuts code and message to their limits and escapes control characters (I44).
    pub fn new(code: &str, message: &str, blame: Blame) -> Failure {
        Failure {
            code: clean(code, crate::limits::CODE_BYTES_MAX),
            message: clean(message, crate::limits::MESSAGE_BYTES_MAX),
            blame,
        }
    }
}

/// Escapes control characters and cuts at a character's border, at `bytes_max` bytes.
pub fn clean(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let before = out.len();
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
        if out.len() > bytes_max {
            out.truncate(before);
            break;
        }
    }
    out
}

/// Code of an attempt that a stop of the host has ended, and of a record that was given up for it (I15).
pub const HOST_CRASH: &str = "host-crash";

/// What a target said, without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    /// Confirmed by the destination.
    Delivered,
    /// Try again later.
    Retry,
    /// The destination asks to slow down, or cannot be reached.
    Throttle,
    /// Never try again.
    Reject,
}

impl VerdictKind {
    /// As JSON, metrics and tables say it.
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictKind::Delivered => "delivered",
            VerdictKind::Retry => "retry",
            VerdictKind::Throttle => "throttle",
            VerdictKind::Reject => "reject",
        }
    }
}

/// One try to deliver, as the queue keeps it with the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// From 1; it goes on after a redrive.
    pub number: u32,
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What was said.
    pub verdict: VerdictKind,
    /// Empty when delivered.
    pub code: String,
    /// Empty when delivered.
    pub message: String,
    /// The plugin that ran: the one that failed, else the transform, else the sink; none without plugins.
    pub digest: Option<Digest>,
}

/// Which budget a dead letter had used up; none when it was rejected outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exhausted {
    /// `max_attempts`.
    Attempts,
    /// `max_age`.
    Age,
}

impl Exhausted {
    /// As JSON says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Exhausted::Attempts => "attempts",
            Exhausted::Age => "age",
        }
    }
}

/// A plugin broke (trap, deadline, memory, wrong count) while it had a batch: says nothing about which
/// record is guilty. Delivery tries the batch again in halves until the guilty record is alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `plugin-trap`, `plugin-deadline`, `plugin-memory`, `plugin-output`, …
    pub code: String,
    /// For a person: "memory limit 64 MiB", or the trap's words.
    pub message: String,
    /// The plugin that broke.
    pub digest: Option<Digest>,
    /// How long the call had run.
    pub took: Duration,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_back_and_bad_ones_are_none() {
        let digest = Digest([0xab; 32]);
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(digest.short(), "abababababab");
        assert!(Digest::parse("sha256:zz").is_none());
        assert!(Digest::parse(&"é".repeat(32)).is_none());
    }

    #[test]
    fn i44_control_characters_are_escaped_and_length_is_bounded() {
        let failure = Failure::new("http-400", "a\nb\u{1b}[31m", Blame::Record);
        assert_eq!(failure.message, "a\\nb\\u{1b}[31m");
        assert_eq!(clean("éé", 3), "é");
    }
}
