//! The two doors: ingest for producers, admin for operators.
//!
//! In: TCP connections. Out: answers; every refusal, from every layer, is a problem of `error`.

pub mod admin;
pub mod budget;
pub mod connection;
pub mod error;
pub mod health;
pub mod ingest;
pub mod listener;
pub mod show;
pub mod token;

use bytes::Bytes;
use http_body_util::Full;

/// An answer whose body is at hand.
pub type Answer = http::Response<Full<Bytes>>;

/// A JSON answer of a status, from what is serialisable.
pub fn json(status: http::StatusCode, value: &impl serde::Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).expect("what we answer has a JSON form");
    raw(status, "application/json", bytes.into())
}

/// An answer with a content type of its own.
pub fn raw(status: http::StatusCode, content_type: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}
