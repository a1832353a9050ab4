//! Why an exchange did not come to its end, and how far it got.
//!
//! In: what a resolver, a socket, TLS or HTTP said. Out: one of eight faults, each with its stable code
//! and with whose failure it is (contract.md, section 7).

use std::fmt;
use walhost_core::attempt::clean;
use walhost_core::limits::MESSAGE_BYTES_MAX;
use walhost_core::{Blame, Failure};

/// How an exchange failed. The text is for a person: it names host and port, never headers, values or the
/// path; control characters are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The address, the method or a header is not allowed. Nothing was sent.
    Denied(String),
    /// The name could not be resolved. Nothing was sent.
    Dns(String),
    /// Refused, unreachable, or closed before the request was sent. Nothing was sent.
    Connect(String),
    /// TLS could not be agreed on. Nothing was sent that the other side has read.
    Tls(String),
    /// No connection, TLS included, within the connect timeout. Nothing was sent.
    ConnectTimeout(String),
    /// The whole exchange took too long; the request may have been received.
    Timeout(String),
    /// The connection was torn, or the answer is not HTTP; the request may have been received.
    Broken(String),
    /// The answer is larger than the caller allows; the request was received.
    TooLarge(String),
}

impl Fault {
    /// Stable, kebab-case: `denied`, `dns`, `connect`, `tls`, `connect-timeout`, `timeout`, `broken`,
    /// `too-large`.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Denied(_) => "denied",
            Fault::Dns(_) => "dns",
            Fault::Connect(_) => "connect",
            Fault::Tls(_) => "tls",
            Fault::ConnectTimeout(_) => "connect-timeout",
            Fault::Timeout(_) => "timeout",
            Fault::Broken(_) => "broken",
            Fault::TooLarge(_) => "too-large",
        }
    }

    /// Whose failure it is: the target's as long as nothing was sent.
    pub fn blame(&self) -> Blame {
        if self.may_have_been_received() { Blame::Record } else { Blame::Target }
    }

    /// True when the other side may have seen the request.
    pub fn may_have_been_received(&self) -> bool {
        matches!(self, Fault::Timeout(_) | Fault::Broken(_) | Fault::TooLarge(_))
    }

    /// The sentence for a person.
    pub fn text(&self) -> &str {
        match self {
            Fault::Denied(text)
            | Fault::Dns(text)
            | Fault::Connect(text)
            | Fault::Tls(text)
            | Fault::ConnectTimeout(text)
            | Fault::Timeout(text)
            | Fault::Broken(text)
            | Fault::TooLarge(text) => text,
        }
    }

    /// As delivery keeps it with a record.
    pub fn failure(&self) -> Failure {
        Failure::new(self.code(), self.text(), self.blame())
    }

    /// The same fault, its text cut and escaped (I44).
    pub(crate) fn cleaned(self) -> Fault {
        let cut = |text: String| clean(&text, MESSAGE_BYTES_MAX);
        match self {
            Fault::Denied(text) => Fault::Denied(cut(text)),
            Fault::Dns(text) => Fault::Dns(cut(text)),
            Fault::Connect(text) => Fault::Connect(cut(text)),
            Fault::Tls(text) => Fault::Tls(cut(text)),
            Fault::ConnectTimeout(text) => Fault::ConnectTimeout(cut(text)),
            Fault::Timeout(text) => Fault::Timeout(cut(text)),
            Fault::Broken(text) => Fault::Broken(cut(text)),
            Fault::TooLarge(text) => Fault::TooLarge(cut(text)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code(), self.text())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_the_targets_as_long_as_nothing_was_sent() {
        for fault in [Fault::Denied, Fault::Dns, Fault::Connect, Fault::Tls, Fault::ConnectTimeout] {
            assert_eq!(fault(String::new()).blame(), Blame::Target);
        }
        for fault in [Fault::Timeout, Fault::Broken, Fault::TooLarge] {
            assert_eq!(fault(String::new()).blame(), Blame::Record);
        }
        let forged = Fault::Broken("a\nb".into()).cleaned();
        assert_eq!(forged.to_string(), r"broken: a\nb");
    }
}
