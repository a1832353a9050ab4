//! Health, on both listeners and without a token: a target that is down never makes the host unready.
//!
//! In: `/livez`, `/readyz`, `/startupz`. Out: 200 or 503 in a word, or each check with `?verbose`.

use super::{Answer, raw};
use crate::host::Host;
use http::request::Parts;
use http::{Method, StatusCode};

/// The answer, or none when the path is none of health's.
pub fn answer(host: &Host, head: &Parts) -> Option<Answer> {
    let path = head.uri.path();
    if !matches!(path, "/livez" | "/readyz" | "/startupz") {
        return None;
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Some(super::error::Problem::method("GET, HEAD").answer(&host.request_id()));
    }
    let checks: Vec<(&str, Result<(), String>)> = match path {
        "/livez" => vec![("process", Ok(()))],
        "/startupz" => vec![("started", started(host))],
        _ => vec![("started", started(host)), ("draining", draining(host)), ("log", log(host))],
    };
    let fine = checks.iter().all(|(_, check)| check.is_ok());
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = head.uri.query().is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let mut text = String::new();
    if verbose || !fine {
        for (name, check) in &checks {
            match check {
                Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
                Err(why) => text.push_str(&format!("[-]{name} failed: {why}\n")),
            }
        }
    } else {
        text.push_str("ok\n");
    }
    let mut answer = raw(status, "text/plain; charset=utf-8", text.into());
    if !fine {
        answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    Some(answer)
}

fn started(host: &Host) -> Result<(), String> {
    if host.has_started() { Ok(()) } else { Err("the host is starting".to_owned()) }
}

fn draining(host: &Host) -> Result<(), String> {
    if host.drain.has_begun() { Err("the host is shutting down".to_owned()) } else { Ok(()) }
}

fn log(host: &Host) -> Result<(), String> {
    host.log_writable()
}
