//! The one room that knows our HTTP status codes: every refusal as RFC 9457 `application/problem+json`.
//!
//! In: a port's error, or what a door found wrong. Out: a response with status, stable code and, where the
//! contract asks for it, `Retry-After`, `Allow`, `limit` or `location`.

use crate::http::Answer;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::time::Duration;
use walhost_core::{Error, Kind, Retry};

mod explain;
pub use explain::explanation;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $text:literal $title:literal;)*) => {
        /// Every code that the host answers with; stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }
        impl Code {
            /// All of them, in the order of their status.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];
            /// The HTTP status.
            pub fn status(self) -> u16 { match self { $(Code::$variant => $status,)* } }
            /// As the problem's `code` says it.
            pub fn as_str(self) -> &'static str { match self { $(Code::$variant => $text,)* } }
            /// A short name for a person.
            pub fn title(self) -> &'static str { match self { $(Code::$variant => $title,)* } }
        }
    };
}

codes! {
    /// A body that has to be JSON is none, or not of the right shape.
    MalformedJson = 400 "malformed-json" "The body is not the JSON that is asked for";
    /// A CloudEvent that breaks its specification.
    MalformedCloudevent = 400 "malformed-cloudevent" "The body is no CloudEvent";
    /// A request header that cannot be understood or may not be set.
    BadHeader = 400 "bad-header" "A header cannot be used";
    /// A query parameter that cannot be understood.
    BadRequest = 400 "bad-request" "The request cannot be understood";
    /// No token, or none that is known.
    Unauthenticated = 401 "unauthenticated" "A token is needed";
    /// The token does not allow this.
    Forbidden = 403 "forbidden" "The token does not allow this";
    /// This host serves no such namespace.
    UnknownNamespace = 404 "unknown-namespace" "There is no such namespace";
    /// There is nothing here.
    NotFound = 404 "not-found" "There is no such thing";
    /// The path is there, the method is not.
    MethodNotAllowed = 405 "method-not-allowed" "The method is not allowed here";
    /// The body stopped coming.
    Timeout = 408 "timeout" "The request took too long";
    /// The first request with this key is not answered so far.
    IdempotencyInFlight = 409 "idempotency-in-flight" "The first request with this idempotency key has no answer yet";
    /// The record was settled before.
    TooLate = 409 "too-late" "It is too late for this record";
    /// Files are the truth on this shard.
    ConfigManaged = 409 "config-managed" "This shard is managed by its configuration files";
    /// Its state forbids it.
    Conflict = 409 "conflict" "The present state forbids this";
    /// Somebody else was faster.
    PreconditionFailed = 412 "precondition-failed" "It was changed by somebody else";
    /// One record is larger than its namespace allows.
    RecordTooLarge = 413 "record-too-large" "The record is too large";
    /// All records together are larger than the namespace allows.
    BatchTooLarge = 413 "batch-too-large" "The batch is too large";
    /// Nothing here reads this content type or encoding.
    UnsupportedMediaType = 415 "unsupported-media-type" "The content type cannot be read here";
    /// Another shard serves this namespace.
    WrongShard = 421 "wrong-shard" "Another shard serves this namespace";
    /// The idempotency key was used for something else.
    IdempotencyMismatch = 422 "idempotency-mismatch" "The idempotency key was used with other content";
    /// The delay is longer than the namespace or the queue allows.
    DelayTooLong = 422 "delay-too-long" "The delay is too long";
    /// The namespace has no such target.
    UnknownTarget = 422 "unknown-target" "The namespace has no such target";
    /// The component is refused.
    PluginRejected = 422 "plugin-rejected" "The plugin is refused";
    /// This queue cannot do that.
    UnsupportedByQueue = 422 "unsupported-by-queue" "The namespace's queue cannot do this";
    /// The configuration handed in is wrong.
    BadConfig = 422 "bad-config" "The configuration cannot be used";
    /// The namespace's own quota is used up.
    QuotaExceeded = 429 "quota-exceeded" "The namespace's quota is used up";
    /// A bug of ours.
    Internal = 500 "internal" "Something broke inside the host";
    /// The queue cannot be reached.
    QueueUnavailable = 503 "queue-unavailable" "The queue cannot be reached";
    /// It may or may not have been appended.
    OutcomeUnknown = 503 "outcome-unknown" "It is not known whether the records were appended";
    /// The disk is full.
    DiskFull = 503 "disk-full" "The disk is full";
    /// The host is shutting down.
    Draining = 503 "draining" "The host is shutting down";
    /// The namespace takes nothing for the time being.
    Paused = 503 "paused" "The namespace is paused";
    /// The host has no room at the moment.
    Overloaded = 503 "overloaded" "The host has no room at the moment";
}

/// What is wrong at one place of the request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// A line of an NDJSON body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// A JSON pointer, or the name of a header or parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What is wrong there.
    pub detail: String,
}

/// A refusal. Small, since it is the error of every function behind the doors.
#[derive(Clone, Debug)]
pub struct Problem(Box<Refusal>);

impl std::ops::Deref for Problem {
    type Target = Refusal;
    fn deref(&self) -> &Refusal {
        &self.0
    }
}
impl std::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Refusal {
        &mut self.0
    }
}

/// What a refusal says.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Which.
    pub code: Code,
    /// A sentence for this very case.
    pub detail: String,
    /// Each place that is wrong.
    pub errors: Vec<Place>,
    /// The bound that was passed, in bytes.
    pub limit: Option<u64>,
    /// Where to go instead.
    pub location: Option<String>,
    /// What the path does allow.
    pub allow: Option<&'static str>,
    /// No sooner than this.
    pub retry_after: Option<Duration>,
}

/// How long a client is asked to wait when nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl Problem {
    /// A refusal with its sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem(Box::new(Refusal {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            limit: None,
            location: None,
            allow: None,
            retry_after: None,
        }))
    }

    /// Names the bound that was passed.
    pub fn limit(mut self, limit: u64) -> Problem {
        self.limit = Some(limit);
        self
    }

    /// Names a place that is wrong.
    pub fn at(mut self, place: Place) -> Problem {
        self.errors.push(place);
        self
    }

    /// A header that cannot be used.
    pub fn header(name: &str, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem::new(Code::BadHeader, format!("{name}: {detail}")).at(Place {
            pointer: Some(name.to_owned()),
            detail,
            line: None,
        })
    }

    /// A path that exists, with another method.
    pub fn method(allow: &'static str) -> Problem {
        let mut problem = Problem::new(Code::MethodNotAllowed, format!("this path allows {allow}"));
        problem.allow = Some(allow);
        problem
    }

    /// As an HTTP answer. `request_id` stands in the answer and in the log.
    pub fn answer(&self, request_id: &str) -> Answer {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "<[Place]>::is_empty")]
            errors: &'a [Place],
            #[serde(skip_serializing_if = "Option::is_none")]
            limit: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            location: Option<&'a str>,
        }
        let body = Body {
            r#type: format!("/problems/{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id,
            errors: &self.errors,
            limit: self.limit,
            location: self.location.as_deref(),
        };
        let bytes = serde_json::to_vec(&body).expect("strings and numbers have a JSON form");
        let mut answer = Answer::new(Bytes::from(bytes).into());
        *answer.status_mut() = StatusCode::from_u16(self.code.status()).expect("the table holds real statuses");
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.code.status(), 429 | 503) {
            let wait = self.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(place) = self.location.as_deref().and_then(|url| HeaderValue::from_str(url).ok()) {
            headers.insert(header::LOCATION, place);
        }
        answer
    }
}

/// A port's error, classified by its kind; its sentences are not read.
impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let code = match error.kind() {
            Kind::Invalid => Code::BadRequest,
            Kind::NotFound => Code::NotFound,
            Kind::UnknownTarget => Code::UnknownTarget,
            Kind::Conflict => Code::Conflict,
            Kind::TooLate => Code::TooLate,
            Kind::TooLarge => Code::BatchTooLarge,
            Kind::DelayTooLong => Code::DelayTooLong,
            Kind::Unsupported => Code::UnsupportedByQueue,
            Kind::IdempotencyMismatch => Code::IdempotencyMismatch,
            Kind::IdempotencyInFlight => Code::IdempotencyInFlight,
            Kind::QuotaExceeded => Code::QuotaExceeded,
            Kind::Overloaded => Code::Overloaded,
            Kind::Unavailable => Code::QueueUnavailable,
            Kind::OutcomeUnknown => Code::OutcomeUnknown,
            Kind::DiskFull => Code::DiskFull,
            Kind::Denied => Code::Forbidden,
            Kind::PluginRejected => Code::PluginRejected,
            Kind::Closed => Code::Draining,
            Kind::Corrupt | Kind::Internal => Code::Internal,
        };
        if code.status() >= 500 {
            tracing::warn!(code = code.as_str(), "{error}");
        }
        let mut problem = Problem::new(code, error.detail());
        if let Retry::After(wait) = error.retryable() {
            problem.retry_after = Some(wait);
        }
        problem
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_says_when() {
        for code in Code::ALL {
            let answer = Problem::new(*code, "x").answer("r");
            let wants = matches!(code.status(), 429 | 503);
            assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), wants, "{}", code.as_str());
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let error = Error::new(Kind::QuotaExceeded, "x", "y").retry(Retry::After(Duration::from_millis(1_001)));
        assert_eq!(Problem::from(error).answer("r").headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn every_code_is_explained() {
        for code in Code::ALL {
            assert!(explanation(code.as_str()).is_some_and(|text| text.len() > 40), "{}", code.as_str());
        }
        assert!(explanation("no-such-code").is_none());
    }
}
