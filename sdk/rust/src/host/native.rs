//! Host functions of a native build. In: what a plugin asks. Out: what the thread's test host says.

use crate::http::{Failure, Request, Response};
use crate::log::Level;
use crate::testing::Line;
use crate::testing::state::with;

pub(crate) fn namespace() -> String {
    with(|state| state.namespace.clone())
}

pub(crate) fn target() -> String {
    with(|state| state.target.clone())
}

pub(crate) fn time_left_ms() -> u64 {
    with(|state| state.time_left_ms)
}

pub(crate) fn secret(name: &str) -> Option<Vec<u8>> {
    with(|state| state.secrets.get(name).cloned())
}

pub(crate) fn settings() -> String {
    with(|state| state.settings.clone())
}

pub(crate) fn enabled(level: Level) -> bool {
    with(|state| level >= state.level)
}

pub(crate) fn log(level: Level, text: &str, fields: Vec<(String, String)>) {
    with(|state| state.lines.push(Line { level, text: text.into(), fields }));
}

pub(crate) fn send(request: Request) -> Result<Response, Failure> {
    let scripted = with(|state| {
        state.requests.push(request.clone());
        state.scripted.pop_front().ok_or_else(|| state.responder.clone())
    });
    match scripted {
        Ok(answer) => answer,
        Err(Some(responder)) => responder(&request),
        Err(None) => panic!("the test host has no answer for {} {}", request.method, request.url),
    }
}

pub(crate) fn send_all(requests: Vec<Request>, parallel: u32) -> Vec<Result<Response, Failure>> {
    with(|state| state.parallel.push(parallel));
    requests.into_iter().map(send).collect()
}
