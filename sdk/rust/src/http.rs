//! HTTP through the host. In: requests. Out: responses, or why there is none.
//!
//! The host dials, with its pool, its allowlist and its time limits; only a granted origin can be
//! reached. Granted headers (credentials) are added by the host and never seen here. Only the world
//! of sinks has this import: a transform that calls it is refused at load.

mod verdict;

pub use verdict::verdict;

use crate::{Reason, host};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// Headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Time for the whole exchange, in milliseconds; none: the grant's.
    pub timeout_ms: Option<u32>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let (method, url) = (method.into(), url.into());
        Self { method, url, headers: Vec::new(), body: Vec::new(), timeout_ms: None }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// With one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With this body, written as JSON, and its content type.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Reason> {
        let body = serde_json::to_vec(body)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// With at most this time for the whole exchange; the grant's own limit holds all the same.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer of this status and body, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// With one more header, for tests.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// The body read as JSON. What is not JSON at all is the reason `not-json`; JSON of another shape
    /// is `bad-shape`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Reason> {
        serde_json::from_slice(&self.body).map_err(Reason::from)
    }

    /// How long the server asks to be left alone: `Retry-After` in seconds. A date in it is not
    /// understood, for a plugin has no clock of the server's; the namespace's backoff holds then.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = str::from_utf8(self.header("retry-after")?).ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not granted. Trying again cannot help until the grant changes.
    Denied(String),
    /// Never sent.
    Connect(String),
    /// May have been received.
    Timeout(String),
    /// May have been received.
    Broken(String),
    /// The answer is larger than the grant allows. The request was received.
    TooLarge(String),
}

impl Failure {
    /// The code and text, as a reason: `http-denied`, `connect`, `timeout`, `broken` or
    /// `answer-too-large`.
    pub fn reason(&self) -> Reason {
        let (code, text) = match self {
            Self::Denied(text) => ("http-denied", text),
            Self::Connect(text) => ("connect", text),
            Self::Timeout(text) => ("timeout", text),
            Self::Broken(text) => ("broken", text),
            Self::TooLarge(text) => ("answer-too-large", text),
        };
        Reason::new(code, text.as_str())
    }
}

/// Sends one request and waits for its answer.
pub fn send(request: Request) -> Result<Response, Failure> {
    host::send(request)
}

/// Sends all, at most `parallel` at once (0: the grant's limit), and answers in the order of the
/// requests.
pub fn send_all(requests: Vec<Request>, parallel: u32) -> Vec<Result<Response, Failure>> {
    host::send_all(requests, parallel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;
    use crate::{Value, json};

    #[test]
    fn a_scripted_answer_comes_back_and_the_request_is_recorded() {
        let host = Host::new().answer(Response::new(200, r#"{"ok":true}"#));
        let request = Request::post("http://x.test/a").timeout(Duration::from_secs(2));
        let request = request.json(&json!({"a": 1})).expect("JSON");
        let answer = send(request).expect("scripted");
        assert_eq!(answer.json::<Value>(), Ok(json!({"ok": true})));
        let sent = &host.requests()[0];
        assert_eq!((sent.method.as_str(), sent.timeout_ms), ("POST", Some(2000)));
        assert_eq!(sent.body, br#"{"a":1}"#);
    }

    #[test]
    fn answers_of_send_all_are_in_order() {
        let host = Host::new().answer_with(|request| match request.url.strip_prefix("http://x.test/") {
            Some("2") => Err(Failure::Connect("refused".into())),
            Some(rest) => Ok(Response::new(200, rest)),
            None => Err(Failure::Denied("not granted".into())),
        });
        let urls = ["http://x.test/1", "http://x.test/2", "http://y.test/"];
        let answers = send_all(urls.map(Request::get).into(), 2);
        assert_eq!(answers[0], Ok(Response::new(200, "1")));
        assert_eq!(answers[1], Err(Failure::Connect("refused".into())));
        assert_eq!(answers[2].as_ref().expect_err("other origin").reason().code(), "http-denied");
        assert_eq!(host.parallel(), [2]);
    }

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        let answer = |text: &str| Response::new(429, "").with_header("Retry-After", text);
        assert_eq!(answer("7").retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(answer("Tue, 24 Nov 2026 00:00:00 GMT").retry_after(), None);
        assert_eq!(Response::new(429, "").retry_after(), None);
    }
}
