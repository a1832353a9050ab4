//! Host functions of a component. In: the SDK's own types. Out: the imports of the WIT, translated.

use crate::guest::base::walhost::plugin as wit;
use crate::http::{Failure, Request, Response};
use crate::log::Level;

pub(crate) fn namespace() -> String {
    wit::context::namespace()
}

pub(crate) fn target() -> String {
    wit::context::target()
}

pub(crate) fn time_left_ms() -> u64 {
    wit::context::time_left_ms()
}

pub(crate) fn secret(name: &str) -> Option<Vec<u8>> {
    wit::config::secret(name)
}

pub(crate) fn settings() -> String {
    wit::config::settings()
}

pub(crate) fn enabled(level: Level) -> bool {
    wit::log::enabled(translate_level(level))
}

pub(crate) fn log(level: Level, text: &str, fields: Vec<(String, String)>) {
    wit::log::log(translate_level(level), text, &fields);
}

pub(crate) fn send(request: Request) -> Result<Response, Failure> {
    wit::http::send(&translate_request(request)).map(translate_response).map_err(translate_failure)
}

pub(crate) fn send_all(requests: Vec<Request>, parallel: u32) -> Vec<Result<Response, Failure>> {
    let requests: Vec<_> = requests.into_iter().map(translate_request).collect();
    let answers = wit::http::send_all(&requests, parallel);
    answers.into_iter().map(|answer| answer.map(translate_response).map_err(translate_failure)).collect()
}

fn translate_level(level: Level) -> wit::log::Level {
    match level {
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    }
}

fn translate_request(request: Request) -> wit::http::Request {
    let Request { method, url, headers, body, timeout_ms } = request;
    wit::http::Request { method, url, headers, body, timeout_ms }
}

fn translate_response(response: wit::http::Response) -> Response {
    let wit::http::Response { status, headers, body } = response;
    Response { status, headers, body }
}

fn translate_failure(failure: wit::http::Failure) -> Failure {
    match failure {
        wit::http::Failure::Denied(text) => Failure::Denied(text),
        wit::http::Failure::Connect(text) => Failure::Connect(text),
        wit::http::Failure::Timeout(text) => Failure::Timeout(text),
        wit::http::Failure::Broken(text) => Failure::Broken(text),
        wit::http::Failure::TooLarge(text) => Failure::TooLarge(text),
    }
}
