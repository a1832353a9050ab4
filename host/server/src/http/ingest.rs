//! The producers' door, on the raw request: routed by hand, no span and no timer a request.
//!
//! In: `/v1/namespaces/…` and health. Out: receipts, states, problems.

pub mod append;
pub mod batch;
pub mod body;
pub mod gate;
pub mod headers;
pub mod pace;
pub mod pointer;
pub mod state;

use super::connection::Control;
use super::error::{Code, Problem};
use super::listener::Service;
use super::{Answer, health};
use crate::host::Host;
use body::Reading;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Incoming;
use std::sync::Arc;

/// What answers on the ingest listener.
pub struct Ingest {
    /// The host behind it.
    pub host: Arc<Host>,
    /// How bodies are read.
    pub reading: Reading,
}

/// What a path names.
enum Route<'p> {
    Namespace(&'p str),
    Records(&'p str),
    Record(&'p str, &'p str),
}

/// The parts of a path below `/v1/namespaces/`.
fn route(path: &str) -> Option<Route<'_>> {
    let rest = path.strip_prefix("/v1/namespaces/")?;
    let mut parts = rest.splitn(3, '/');
    let namespace = parts.next().filter(|name| !name.is_empty())?;
    match (parts.next(), parts.next()) {
        (None, None) => Some(Route::Namespace(namespace)),
        (Some("records"), None) => Some(Route::Records(namespace)),
        (Some("records"), Some(id)) if !id.is_empty() && !id.contains('/') => Some(Route::Record(namespace, id)),
        _ => None,
    }
}

impl Service for Ingest {
    type Body = Full<Bytes>;

    async fn call(&self, request: Request<Incoming>, control: &Control) -> Answer {
        match self.answer(request, control).await {
            Ok(answer) => answer,
            Err(problem) => problem.answer(&self.host.request_id()),
        }
    }
}

impl Ingest {
    async fn answer(&self, request: Request<Incoming>, control: &Control) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        let Some(route) = route(head.uri.path()) else {
            return match health::answer(&self.host, &head) {
                Some(answer) => Ok(answer),
                None => Err(Problem::new(Code::NotFound, "there is nothing under this path")),
            };
        };
        match route {
            Route::Records(name) => match head.method {
                Method::POST => self.append(name, &head, body, control).await,
                _ => Err(Problem::method("POST")),
            },
            Route::Record(name, id) => match head.method {
                Method::GET | Method::HEAD => self.record(name, id, &head).await,
                Method::DELETE => self.cancel(name, id, &head).await,
                Method::PATCH => self.reschedule(name, id, &head, body, control).await,
                _ => Err(Problem::method("GET, HEAD, DELETE, PATCH")),
            },
            Route::Namespace(name) => match head.method {
                Method::GET | Method::HEAD => self.namespace(name, &head),
                _ => Err(Problem::method("GET, HEAD")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_paths_of_the_contract_are_routed() {
        assert!(matches!(route("/v1/namespaces/a/records"), Some(Route::Records("a"))));
        assert!(matches!(route("/v1/namespaces/a/records/1.2"), Some(Route::Record("a", "1.2"))));
        assert!(matches!(route("/v1/namespaces/a"), Some(Route::Namespace("a"))));
        for path in [
            "/",
            "/v1/namespaces/",
            "/v1/namespaces//records",
            "/v1/namespaces/a/",
            "/v1/namespaces/a/records/",
            "/v1/namespaces/a/records/b/c",
            "/v1/namespaces/a/others",
        ] {
            assert!(route(path).is_none(), "{path}");
        }
    }
}
