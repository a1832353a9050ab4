//! A host for native unit tests. In: settings, secrets, scripted HTTP answers. Out: what the plugin
//! asked for: its requests, its log lines.
//!
//! The test host belongs to the thread of the test, so tests run side by side. It is there from
//! [`Host::new`] until the value is dropped.
//!
//! ```
//! use walhost_sdk::http::{Request, Response, send};
//! use walhost_sdk::testing::Host;
//!
//! let host = Host::new().answer(Response::new(204, ""));
//! let answer = send(Request::post("http://search.test/_bulk")).expect("it is scripted");
//! assert_eq!(answer.status, 204);
//! assert_eq!(host.requests()[0].url, "http://search.test/_bulk");
//! ```

mod shown;
pub(crate) mod state;

use crate::http::{Failure, Request, Response};
use crate::log::Level;
use crate::{Record, Sink, Transform, Value};
use state::{State, with};
use std::rc::Rc;

/// A line that the plugin sent to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub text: String,
    /// Its fields, in order.
    pub fields: Vec<(String, String)>,
}

/// The host of this thread's test. Dropping it clears everything.
#[must_use = "the test host is gone as soon as this value is dropped"]
pub struct Host {
    generation: u64,
}

impl Host {
    /// A host that has nothing yet: namespace `demo`, target `test`, no settings, no secrets, one
    /// second left in the call, every log level kept, no HTTP answer. It replaces the one before.
    pub fn new() -> Self {
        Self { generation: with(State::renew) }
    }

    /// With this namespace.
    pub fn with_namespace(self, name: &str) -> Self {
        with(|state| state.namespace = name.into());
        self
    }

    /// With this target.
    pub fn with_target(self, name: &str) -> Self {
        with(|state| state.target = name.into());
        self
    }

    /// With these settings, for plugins made by [`transform`] and [`sink`] without any of their own.
    pub fn with_settings(self, settings: Value) -> Self {
        with(|state| state.settings = settings.to_string());
        self
    }

    /// With this secret granted.
    pub fn with_secret(self, name: &str, value: &[u8]) -> Self {
        with(|state| state.secrets.insert(name.into(), value.into()));
        self
    }

    /// With this much time left in the call, in milliseconds.
    pub fn with_time_left_ms(self, time_ms: u64) -> Self {
        with(|state| state.time_left_ms = time_ms);
        self
    }

    /// Keeping log lines from this level on.
    pub fn with_level(self, level: Level) -> Self {
        with(|state| state.level = level);
        self
    }

    /// Answers the next request that has no answer yet.
    pub fn answer(self, answer: impl Into<Answer>) -> Self {
        with(|state| state.scripted.push_back(answer.into().0));
        self
    }

    /// Answers every request for which nothing is scripted. Without it such a request panics.
    pub fn answer_with(self, responder: impl Fn(&Request) -> Result<Response, Failure> + 'static) -> Self {
        with(|state| state.responder = Some(Rc::new(responder)));
        self
    }

    /// The requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        with(|state| state.requests.clone())
    }

    /// The `parallel` of every call of [`crate::http::send_all`] so far.
    pub fn parallel(&self) -> Vec<u32> {
        with(|state| state.parallel.clone())
    }

    /// The log lines so far, in order.
    pub fn lines(&self) -> Vec<Line> {
        with(|state| state.lines.clone())
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        with(|state| state.clear(self.generation));
    }
}

/// A scripted answer: a [`Response`] or a [`Failure`].
pub struct Answer(Result<Response, Failure>);

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self(Ok(response))
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self(Err(failure))
    }
}

/// Makes a transform as `init` does: these settings are read into its type, then `new` is called.
pub fn transform<T: Transform>(settings: Value) -> Result<T, String> {
    T::new(read(settings)?)
}

/// Makes a sink as `init` does: these settings are read into its type, then `new` is called.
pub fn sink<S: Sink>(settings: Value) -> Result<S, String> {
    S::new(read(settings)?)
}

/// Reads settings by way of the host, so that refusals have the words of a real load.
fn read<T: serde::de::DeserializeOwned>(settings: Value) -> Result<T, String> {
    with(|state| state.settings = settings.to_string());
    crate::context::settings()
}

/// A record of this value: id `record-1`, sequence 1, first attempt, no key, no headers. Change what
/// matters: `Record { attempt: 2, ..testing::record("x") }`.
pub fn record(value: impl Into<Vec<u8>>) -> Record {
    Record {
        id: "record-1".into(),
        sequence: 1,
        appended_at_ms: 0,
        attempt: 1,
        key: None,
        headers: Vec::new(),
        value: value.into(),
    }
}

/// A record of this JSON value, otherwise like [`record`].
pub fn json(value: Value) -> Record {
    record(value.to_string())
}

/// One record for each line that is not blank: fixtures such as those of `walhost plugin test --records`.
///
/// A line of `walhost dlq export` or of `walhost peek -o ndjson` is that record, with its id, key,
/// headers and value. Any other line is a value, with ids and sequences from 1.
pub fn ndjson(lines: &str) -> Vec<Record> {
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    let value = |(n, line): (u64, &str)| Record { id: format!("record-{n}"), sequence: n, ..record(line) };
    (1u64..).zip(lines).map(|(n, line)| shown::record(line).unwrap_or_else(|| value((n, line)))).collect()
}

#[cfg(test)]
mod tests;
