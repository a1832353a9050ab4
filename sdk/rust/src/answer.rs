//! What a plugin answers for one record. In: an author's decision. Out: `Outcome` or `Verdict`.

use crate::Header;
use crate::limits::REASON_CODE_BYTES_MAX;
use serde::Serialize;
use std::time::Duration;

/// Why a record was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Reason {
    /// A short, stable code in kebab-case, by which dead letters are grouped, and a message for a
    /// person. Whatever is not a lower-case letter, a digit or a hyphen becomes a hyphen; keep ids,
    /// numbers and prose out of the code.
    pub fn new(code: impl AsRef<str>, message: impl Into<String>) -> Self {
        Self { code: kebab(code.as_ref()), message: message.into() }
    }

    /// The code, in kebab-case.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// `Mapper_Parsing Exception` becomes `mapper-parsing-exception`; nothing at all becomes `unnamed`.
fn kebab(text: &str) -> String {
    let mut code = String::with_capacity(text.len().min(REASON_CODE_BYTES_MAX));
    for letter in text.chars() {
        if code.len() == REASON_CODE_BYTES_MAX {
            break;
        }
        match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => code.push(letter),
            _ if code.is_empty() || code.ends_with('-') => {}
            _ => code.push('-'),
        }
    }
    code.truncate(code.trim_end_matches('-').len());
    if code.is_empty() { "unnamed".into() } else { code }
}

/// `?` on a serde_json error rejects the record: `not-json` when the bytes are no JSON, `bad-shape`
/// when they are JSON of another shape than asked for.
impl From<serde_json::Error> for Reason {
    fn from(error: serde_json::Error) -> Self {
        let code = if error.is_data() { "bad-shape" } else { "not-json" };
        Self::new(code, error.to_string())
    }
}

/// Try again, and no sooner than.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    pub(crate) after_ms: Option<u64>,
    pub(crate) reason: Reason,
}

impl Later {
    /// When the namespace's own backoff says so.
    pub fn backoff(reason: Reason) -> Self {
        Self { after_ms: None, reason }
    }

    /// No sooner than this.
    pub fn after(wait: Duration, reason: Reason) -> Self {
        Self { after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)), reason }
    }

    /// The least wait in milliseconds; none: the namespace's backoff.
    pub fn after_ms(&self) -> Option<u64> {
        self.after_ms
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// A reason alone leaves the wait to the namespace's backoff.
impl From<Reason> for Later {
    fn from(reason: Reason) -> Self {
        Self::backoff(reason)
    }
}

/// One record that a transform emits. [`crate::Record::output`] makes one with the key and headers
/// of the record that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The ordering and partition key.
    pub key: Option<Vec<u8>>,
    /// All headers, in order.
    pub headers: Vec<Header>,
    /// The value.
    pub value: Vec<u8>,
}

impl Output {
    /// An output of this value, without key and headers.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: value.into(), ..Self::default() }
    }

    /// An output whose value is this, written as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, Reason> {
        Ok(Self::new(serde_json::to_vec(value)?).header("content-type", "application/json"))
    }

    /// With this key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }
}

/// What a transform decides for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Deliver it unchanged: nothing is copied back.
    Pass,
    /// Deliver these in its place, in this order.
    Emit(Vec<Output>),
    /// Do not deliver it: it is done, counted as filtered.
    Filter,
    /// Try again later.
    Retry(Later),
    /// Never try again: it becomes a dead letter. An `Err` means the same.
    Reject(Reason),
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self::Emit(vec![output])
    }
}

impl From<Result<Outcome, Reason>> for Outcome {
    fn from(answer: Result<Outcome, Reason>) -> Self {
        answer.unwrap_or_else(Self::Reject)
    }
}

/// What a sink says of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has confirmed it.
    Delivered,
    /// Try this record again later: spends an attempt.
    Retry(Later),
    /// The destination asks to slow down, or cannot be reached: nothing is sent to this target for
    /// that long, and no attempt is spent.
    Throttle(Later),
    /// Never try again: it becomes a dead letter. An `Err` means the same.
    Reject(Reason),
}

impl From<Result<Verdict, Reason>> for Verdict {
    fn from(answer: Result<Verdict, Reason>) -> Self {
        answer.unwrap_or_else(Self::Reject)
    }
}

impl Verdict {
    /// The reason, unless it was delivered.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Delivered => None,
            Self::Retry(later) | Self::Throttle(later) => Some(&later.reason),
            Self::Reject(reason) => Some(reason),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_code_becomes_short_kebab_case() {
        assert_eq!(Reason::new("mapper_parsing_exception", "").code(), "mapper-parsing-exception");
        assert_eq!(Reason::new(" Not  JSON! ", "").code(), "not-json");
        assert_eq!(Reason::new("–", "").code(), "unnamed");
        assert_eq!(Reason::new("x".repeat(500), "").code().len(), REASON_CODE_BYTES_MAX);
    }

    #[test]
    fn an_err_is_a_reject() {
        let reason = Reason::new("no-title", "there is none");
        assert_eq!(Outcome::from(Err(reason.clone())), Outcome::Reject(reason.clone()));
        assert_eq!(Verdict::from(Err(reason.clone())), Verdict::Reject(reason));
        assert_eq!(Verdict::from(Ok(Verdict::Delivered)), Verdict::Delivered);
    }

    #[test]
    fn a_wait_too_long_for_milliseconds_saturates() {
        let later = Later::after(Duration::MAX, Reason::new("x", ""));
        assert_eq!(later.after_ms(), Some(u64::MAX));
        assert_eq!(Later::from(Reason::new("x", "")).after_ms(), None);
    }
}
