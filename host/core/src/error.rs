//! The error of every port: what happened, whether trying again helps, and two sentences, one for the
//! producer and one for the log.
//!
//! In: a vendor's fault, classified once by the adapter that saw it. Out: `Error`; above the adapter
//! nobody reads its sentences.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The result of every port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened. `server/http/error` gives each one its status and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller's input is wrong.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// The target named is none of the namespace's.
    UnknownTarget,
    /// It is in a state that forbids this, or was changed by somebody else.
    Conflict,
    /// The record was settled before: it cannot be cancelled or rescheduled any more.
    TooLate,
    /// Larger than a limit allows.
    TooLarge,
    /// The delay is longer than the namespace allows.
    DelayTooLong,
    /// The queue cannot do this (contract.md, section 8).
    Unsupported,
    /// The idempotency key was used with other content.
    IdempotencyMismatch,
    /// The first request with this idempotency key has no answer so far.
    IdempotencyInFlight,
    /// The namespace's own quota is used up.
    QuotaExceeded,
    /// The host has no room at the moment.
    Overloaded,
    /// The queue or the destination cannot be reached.
    Unavailable,
    /// It may or may not have happened: a sync failed, or a time-out after sending.
    OutcomeUnknown,
    /// The disk is full.
    DiskFull,
    /// Forbidden: not granted, or an address that may not be dialled.
    Denied,
    /// A component that is refused.
    PluginRejected,
    /// Bytes on disk do not mean what they must.
    Corrupt,
    /// The host or the queue is closing.
    Closed,
    /// A bug of ours or a fault of the machine.
    Internal,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same will be refused again.
    Never,
    /// Later, at the caller's own pace.
    Backoff,
    /// No sooner than this.
    After(Duration),
}

/// An error with everything that its reader may need.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    retry: Retry,
    operation: &'static str,
    detail: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// `operation` says what was tried (`queue.append`); `detail` is a sentence that a producer may see.
    pub fn new(kind: Kind, operation: &'static str, detail: impl Into<Cow<'static, str>>) -> Error {
        let retry = match kind {
            Kind::Overloaded | Kind::Unavailable | Kind::DiskFull | Kind::QuotaExceeded | Kind::IdempotencyInFlight => {
                Retry::Backoff
            }
            Kind::OutcomeUnknown | Kind::Closed => Retry::Backoff,
            _ => Retry::Never,
        };
        Error { kind, retry, operation, detail: detail.into(), context: Vec::new(), source: None }
    }

    /// Says otherwise whether trying again can help.
    pub fn retry(mut self, retry: Retry) -> Error {
        self.retry = retry;
        self
    }

    /// Adds a fact for the log only; never a secret, never a value.
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Error {
        self.context.push((name, value.to_string()));
        self
    }

    /// Keeps the fault that this one came from, for the log only.
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether trying again can help.
    pub fn retryable(&self) -> Retry {
        self.retry
    }

    /// The sentence that a producer may see.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What was tried.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

/// What the log must say: operation, sentence, facts, and the whole chain of sources.
impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.operation, self.detail)?;
        for (name, value) in &self.context {
            write!(formatter, ", {name}={value}")?;
        }
        let mut source = self.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(cause) = source {
            write!(formatter, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producer_sees_the_sentence_and_the_log_sees_the_chain() {
        let error = Error::new(Kind::Unavailable, "queue.append", "the queue cannot be reached")
            .with("broker", "127.0.0.1:1")
            .source(std::io::Error::other("refused"));
        assert_eq!(error.detail(), "the queue cannot be reached");
        assert_eq!(error.to_string(), "queue.append: the queue cannot be reached, broker=127.0.0.1:1: refused");
        assert_eq!(error.retryable(), Retry::Backoff);
        assert_eq!(Error::new(Kind::Invalid, "x", "y").retryable(), Retry::Never);
    }
}
