//! The request headers that say something of the records.
//!
//! In: an HTTP header map. Out: `Wants`, borrowed from it and checked, or the header that is wrong.

use crate::http::error::{Code, Problem};
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, TRACE_BYTES_MAX};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::str::FromStr;
use walhost_core::config::Duration;
use walhost_core::{TargetName, limits, record};

/// When the records are due, as the producer said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So many milliseconds from now on.
    After(u64),
    /// At this time, in milliseconds since the Unix epoch.
    At(u64),
}

/// How the body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Everything that the headers ask for.
#[derive(Debug)]
pub struct Wants<'a> {
    /// Of the body.
    pub content_type: Option<&'a HeaderValue>,
    /// Of the body.
    pub encoding: Encoding,
    /// The records' key.
    pub key: Option<&'a [u8]>,
    /// When they are due.
    pub due: Option<Due>,
    /// The random part of the delay, in milliseconds.
    pub jitter_ms: u64,
    /// Only this target.
    pub target: Option<TargetName>,
    /// The key's value is to be deleted.
    pub tombstone: bool,
    /// The producer's mark against duplicates.
    pub idempotency: Option<&'a [u8]>,
    /// Headers of the records, in order, names in lower case without their prefix.
    pub record_headers: Vec<(&'a str, &'a [u8])>,
    /// Kept with the record, passed on to targets.
    pub traceparent: Option<&'a [u8]>,
    /// Kept with the record, passed on to targets.
    pub tracestate: Option<&'a [u8]>,
}

/// Request headers that a walhost sends to its targets: where one host feeds another they come in again,
/// and say nothing.
const OUR_DELIVERY_HEADERS: [&str; 6] =
    ["wal-namespace", "wal-attempt", "wal-sequence", "wal-id", "wal-appended-at", "wal-due"];

/// Names that a record header may not have: HTTP's own framing, and those that walhost gives a meaning.
const RESERVED_NAMES: [&str; 22] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "via",
    "http2-settings",
    "content-range",
    "range",
];

impl<'a> Wants<'a> {
    /// Reads and checks the headers.
    pub fn read(headers: &'a HeaderMap) -> Result<Wants<'a>, Problem> {
        let mut wants = Wants {
            content_type: None,
            encoding: Encoding::Identity,
            key: None,
            due: None,
            jitter_ms: 0,
            target: None,
            tombstone: false,
            idempotency: None,
            record_headers: Vec::new(),
            traceparent: None,
            tracestate: None,
        };
        for (name, value) in headers {
            match name.as_str() {
                "content-type" => once(&mut wants.content_type, name, value)?,
                "content-encoding" => wants.encoding = encoding(value)?,
                "idempotency-key" => once(&mut wants.idempotency, name, unquote(value)?)?,
                "traceparent" if value.len() <= TRACE_BYTES_MAX => wants.traceparent = Some(value.as_bytes()),
                "tracestate" if value.len() <= TRACE_BYTES_MAX => wants.tracestate = Some(value.as_bytes()),
                text if text.starts_with("wal-") => wants.ours(name, &text[4..], value)?,
                _ => {}
            }
        }
        if wants.record_headers.len() > limits::HEADERS_MAX {
            let detail = format!("{} record headers, more than {}", wants.record_headers.len(), limits::HEADERS_MAX);
            return Err(Problem::header("wal-header-*", detail));
        }
        if wants.jitter_ms > 0 && wants.due.is_none() {
            wants.due = Some(Due::After(0));
        }
        Ok(wants)
    }

    fn ours(&mut self, name: &'a HeaderName, rest: &'a str, value: &'a HeaderValue) -> Result<(), Problem> {
        match rest {
            "key" => {
                if value.len() > limits::KEY_BYTES_MAX {
                    let detail = format!("{} bytes, more than {}", value.len(), limits::KEY_BYTES_MAX);
                    return Err(Problem::header("wal-key", detail));
                }
                once(&mut self.key, name, value.as_bytes())
            }
            "delay" => once(&mut self.due, name, Due::After(duration(name, value)?)),
            "deliver-at" => once(&mut self.due, name, Due::At(time(name, value)?)),
            "jitter" => {
                self.jitter_ms = duration(name, value)?;
                Ok(())
            }
            "target" => {
                let target = TargetName::from_str(text(name, value)?)
                    .map_err(|error| Problem::new(Code::UnknownTarget, error.to_string()))?;
                once(&mut self.target, name, target)
            }
            "tombstone" => {
                self.tombstone = match text(name, value)? {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Problem::header(name.as_str(), "true or false")),
                };
                Ok(())
            }
            _ => match rest.strip_prefix("header-") {
                Some(own) => self.record_header(name, own, value),
                None if OUR_DELIVERY_HEADERS.contains(&name.as_str()) => Ok(()),
                None => Err(Problem::header(name.as_str(), unknown(name.as_str()))),
            },
        }
    }

    fn record_header(&mut self, name: &HeaderName, own: &'a str, value: &'a HeaderValue) -> Result<(), Problem> {
        if own.is_empty() {
            return Err(Problem::header(name.as_str(), "a name after wal-header- is missing"));
        }
        if RESERVED_NAMES.contains(&own) || own.starts_with("webhook-") || own.starts_with("wal-") {
            return Err(Problem::header(name.as_str(), format!("`{own}` belongs to HTTP or to walhost")));
        }
        if own.len() > limits::HEADER_NAME_BYTES_MAX || value.len() > limits::HEADER_VALUE_BYTES_MAX {
            let (names, values) = (limits::HEADER_NAME_BYTES_MAX, limits::HEADER_VALUE_BYTES_MAX);
            return Err(Problem::header(name.as_str(), format!("a name has at most {names} bytes, a value {values}")));
        }
        self.record_headers.push((own, value.as_bytes()));
        Ok(())
    }

    /// The headers that every record of this request gets, in the order of their keeping.
    pub fn kept(&self, content_type: Option<&'a [u8]>) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        let tombstone = self.tombstone.then_some((record::TOMBSTONE, b"true".as_slice()));
        content_type
            .map(|value| (record::CONTENT_TYPE, value))
            .into_iter()
            .chain(tombstone)
            .chain(self.traceparent.map(|value| (record::TRACEPARENT, value)))
            .chain(self.tracestate.map(|value| (record::TRACESTATE, value)))
            .chain(self.record_headers.iter().copied())
    }
}

fn once<T>(slot: &mut Option<T>, name: &HeaderName, value: T) -> Result<(), Problem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) if matches!(name.as_str(), "wal-delay" | "wal-deliver-at") => {
            Err(Problem::header(name.as_str(), "give either wal-delay or wal-deliver-at, and that once"))
        }
        Some(_) => Err(Problem::header(name.as_str(), "given twice")),
    }
}

fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Problem> {
    value.to_str().map_err(|_| Problem::header(name.as_str(), "only visible ASCII characters"))
}

fn duration(name: &HeaderName, value: &HeaderValue) -> Result<u64, Problem> {
    text(name, value)?.parse::<Duration>().map(Duration::ms).map_err(|error| Problem::header(name.as_str(), error))
}

fn time(name: &HeaderName, value: &HeaderValue) -> Result<u64, Problem> {
    let text = text(name, value)?;
    parse_time(text).ok_or_else(|| Problem::header(name.as_str(), "not an RFC 3339 time, as in 2026-11-24T15:00:00Z"))
}

/// An RFC 3339 time in milliseconds since the Unix epoch; times before it are 0.
pub fn parse_time(text: &str) -> Option<u64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

fn encoding(value: &HeaderValue) -> Result<Encoding, Problem> {
    match value.to_str().map(str::trim).map(str::to_ascii_lowercase).as_deref() {
        Ok("identity") => Ok(Encoding::Identity),
        Ok("gzip" | "x-gzip") => Ok(Encoding::Gzip),
        Ok("zstd") => Ok(Encoding::Zstd),
        _ => Err(Problem::new(Code::UnsupportedMediaType, "Content-Encoding takes gzip or zstd, one of them")),
    }
}

fn unquote(value: &HeaderValue) -> Result<&[u8], Problem> {
    let bytes = value.as_bytes();
    let bare = match bytes {
        [b'"', inner @ .., b'"'] => inner,
        [b'"', ..] => return Err(Problem::header("idempotency-key", "its closing quote is missing")),
        other => other,
    };
    if bare.is_empty() || bare.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(Problem::header("idempotency-key", format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")));
    }
    Ok(bare)
}

/// A misspelt `wal-delay` must not deliver at once: unknown names are refused, with the nearest known one.
fn unknown(name: &str) -> String {
    const KNOWN: [&str; 7] =
        ["wal-key", "wal-delay", "wal-deliver-at", "wal-jitter", "wal-target", "wal-tombstone", "wal-header-<name>"];
    let near = KNOWN
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, known)) => format!("there is no such header; did you mean {known}?"),
        None => format!("there is no such header; there are {}", KNOWN.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_str(name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        let headers = map(pairs);
        let problem = Wants::read(&headers).unwrap_err();
        format!("{} {}", problem.code.as_str(), problem.detail)
    }

    #[test]
    fn every_header_of_the_contract_is_read() {
        let headers = map(&[
            ("Wal-Key", "k 1"),
            ("Wal-Delay", "30s"),
            ("Wal-Jitter", "10m"),
            ("Wal-Header-Colour", "red"),
            ("Wal-Target", "cache"),
            ("Wal-Tombstone", "true"),
            ("Idempotency-Key", "\"abc\""),
            ("Content-Encoding", "gzip"),
            ("Content-Type", "text/plain"),
            ("traceparent", "00-1"),
            ("wal-attempt", "3"),
        ]);
        let wants = Wants::read(&headers).unwrap();
        assert_eq!(
            (wants.key, wants.due, wants.jitter_ms),
            (Some(b"k 1".as_slice()), Some(Due::After(30_000)), 600_000)
        );
        assert_eq!(wants.record_headers, [("colour", b"red".as_slice())]);
        assert_eq!(wants.idempotency, Some(b"abc".as_slice()));
        assert_eq!(wants.encoding, Encoding::Gzip);
        assert_eq!(wants.target.as_ref().map(TargetName::as_str), Some("cache"));
        let names: Vec<_> = wants.kept(Some(b"text/plain")).map(|(name, _)| name).collect();
        assert_eq!(names, ["content-type", "wal-tombstone", "traceparent", "colour"]);
    }

    #[test]
    fn a_key_for_idempotency_may_be_bare_and_has_255_bytes_at_most() {
        assert_eq!(Wants::read(&map(&[("Idempotency-Key", "abc")])).unwrap().idempotency, Some(b"abc".as_slice()));
        assert!(Wants::read(&map(&[("Idempotency-Key", &"x".repeat(255))])).is_ok());
        assert!(refused(&[("Idempotency-Key", &"x".repeat(256))]).starts_with("bad-header"));
        assert!(refused(&[("Idempotency-Key", "\"open")]).contains("quote"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        assert!(refused(&[("Wal-Dealy", "30s")]).contains("did you mean wal-delay?"));
        assert!(refused(&[("Wal-Delay", "30 s")]).contains("200ms"));
        assert!(refused(&[("Wal-Delay", "1s"), ("Wal-Deliver-At", "2026-01-01T00:00:00Z")]).contains("either"));
        assert!(refused(&[("Wal-Deliver-At", "tomorrow")]).contains("RFC 3339"));
        assert!(refused(&[("Wal-Key", "a"), ("Wal-Key", "b")]).contains("twice"));
        assert!(refused(&[("Wal-Tombstone", "yes")]).contains("true or false"));
        assert!(refused(&[("Content-Encoding", "br")]).starts_with("unsupported-media-type"));
        for name in ["Content-Type", "Host", "Webhook-Id", "Wal-Key", "Traceparent", "Transfer-Encoding"] {
            assert!(refused(&[(&format!("Wal-Header-{name}"), "x")]).contains("belongs to"), "{name}");
        }
    }
}
