//! `walhost:plugin@0.1.0`: the generated bindings, the host functions behind its imports, and the way of
//! records in and answers out.
//!
//! In: records, as slices of the batch that is being delivered: they are lowered into the guest's memory
//! from there, nothing is copied in between. Out: raw outcomes and verdicts.

use super::{Pre, RawOutcome, RawOutput, RawReason, RawVerdict};
use crate::host::State;
use crate::host::http::{Answer, Ask, Refusal};
use crate::options::LogLevel;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Result, Store};

mod transform_world {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "transform-plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
        exports: { default: async },
    });
}

mod sink_world {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "sink-plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: {
            "walhost:plugin/http.send": async,
            "walhost:plugin/http.send-all": async | trappable,
        },
        exports: { default: async },
        with: {
            "walhost:plugin/context": super::transform_world::walhost::plugin::context,
            "walhost:plugin/log": super::transform_world::walhost::plugin::log,
            "walhost:plugin/config": super::transform_world::walhost::plugin::config,
        },
    });
}

pub(super) use sink_world::{SinkPlugin as Sink, SinkPluginPre};
pub(super) use transform_world::{TransformPlugin as Transform, TransformPluginPre};
pub(super) type TransformPre = TransformPluginPre<State>;
pub(super) type SinkPre = SinkPluginPre<State>;

use sink_world::exports::walhost::plugin::sink as sink_types;
use sink_world::walhost::plugin::http as http_types;
use transform_world::exports::walhost::plugin::transform as transform_types;
use transform_world::walhost::plugin::{config, context, log};

/// Links a transform.
pub(super) fn transform(mut linker: Linker<State>, component: &Component) -> Result<TransformPre> {
    Transform::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    let pre: Pre = linker.instantiate_pre(component)?;
    TransformPluginPre::new(pre)
}

/// Links a sink.
pub(super) fn sink(mut linker: Linker<State>, component: &Component) -> Result<SinkPre> {
    Sink::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    let pre: Pre = linker.instantiate_pre(component)?;
    SinkPluginPre::new(pre)
}

pub(super) async fn init_transform(guest: &Transform, store: &mut Store<State>) -> Result<Result<(), String>> {
    guest.walhost_plugin_lifecycle().call_init(store).await
}

pub(super) async fn init_sink(guest: &Sink, store: &mut Store<State>) -> Result<Result<(), String>> {
    guest.walhost_plugin_lifecycle().call_init(store).await
}

impl context::Host for State {
    fn namespace(&mut self) -> String {
        self.context.namespace.as_str().to_owned()
    }
    fn target(&mut self) -> String {
        self.context.target.as_str().to_owned()
    }
    fn time_left_ms(&mut self) -> u64 {
        u64::try_from(self.time_left().as_millis()).unwrap_or(u64::MAX)
    }
}

fn level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Debug => LogLevel::Debug,
        log::Level::Info => LogLevel::Info,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Error => LogLevel::Error,
    }
}

impl log::Host for State {
    fn enabled(&mut self, wanted: log::Level) -> bool {
        self.context.lines.enabled(level(wanted))
    }
    fn log(&mut self, wanted: log::Level, message: String, fields: Vec<(String, String)>) {
        self.context.line(level(wanted), &message, &fields);
    }
}

impl config::Host for State {
    fn settings(&mut self) -> String {
        self.context.settings.clone()
    }
    fn secret(&mut self, name: String) -> Option<Vec<u8>> {
        self.context.granted.secrets.get(&name).cloned()
    }
}

fn ask(request: http_types::Request) -> Ask {
    Ask {
        method: request.method,
        url: request.url,
        headers: request.headers,
        value: request.body,
        timeout_ms: request.timeout_ms,
    }
}

fn response(
    answer: std::result::Result<Answer, Refusal>,
) -> std::result::Result<http_types::Response, http_types::Failure> {
    match answer {
        Ok(answer) => Ok(http_types::Response { status: answer.status, headers: answer.headers, body: answer.value }),
        Err(Refusal::Denied(text)) => Err(http_types::Failure::Denied(text)),
        Err(Refusal::Connect(text)) => Err(http_types::Failure::Connect(text)),
        Err(Refusal::Timeout(text)) => Err(http_types::Failure::Timeout(text)),
        Err(Refusal::Broken(text)) => Err(http_types::Failure::Broken(text)),
        Err(Refusal::TooLarge(text)) => Err(http_types::Failure::TooLarge(text)),
    }
}

/// The types have no functions.
impl transform_world::walhost::plugin::types::Host for State {}
impl sink_world::walhost::plugin::types::Host for State {}

impl http_types::Host for State {
    async fn send(
        &mut self,
        request: http_types::Request,
    ) -> std::result::Result<http_types::Response, http_types::Failure> {
        response(State::send(self, ask(request)).await)
    }
    async fn send_all(
        &mut self,
        requests: Vec<http_types::Request>,
        parallel: u32,
    ) -> Result<Vec<std::result::Result<http_types::Response, http_types::Failure>>> {
        let asks = requests.into_iter().map(ask).collect();
        let answers = State::send_all(self, asks, parallel).await.map_err(wasmtime::Error::msg)?;
        Ok(answers.into_iter().map(response).collect())
    }
}

/// Records as a world's own types: the two worlds have types of the same shape and different names.
macro_rules! lower {
    ($header:ident, $records:expr) => {{
        let mut headers = Vec::new();
        let mut ends = Vec::with_capacity($records.len());
        for record in $records {
            headers.extend(record.headers.iter().map(|(name, value)| $header { name, value }));
            ends.push(headers.len());
        }
        (headers, ends)
    }};
}

macro_rules! batch {
    ($record:ident, $records:expr, $headers:expr, $ends:expr) => {{
        let mut start = 0;
        $records
            .iter()
            .zip($ends)
            .map(|(record, end)| {
                let headers = &$headers[std::mem::replace(&mut start, end)..end];
                $record {
                    id: record.id.as_str(),
                    sequence: record.sequence,
                    appended_at_ms: record.appended_at_ms,
                    attempt: record.attempt,
                    key: record.key.as_deref().filter(|key| !key.is_empty()),
                    headers,
                    value: &record.value,
                }
            })
            .collect::<Vec<_>>()
    }};
}

/// Records in, one outcome each out.
pub(super) async fn apply(
    guest: &Transform,
    store: &mut Store<State>,
    records: &[walhost_core::Record],
) -> Result<Vec<RawOutcome>> {
    use transform_types::{Outcome, Output};
    use transform_world::walhost::plugin::types::{HeaderParam, Record};
    let (headers, ends) = lower!(HeaderParam, records);
    let batch = batch!(Record, records, headers, ends);
    let outcomes = guest.walhost_plugin_transform().call_apply(store, &batch).await?;
    let output = |output: Output| RawOutput {
        key: output.key,
        headers: output.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        value: output.value,
    };
    let outcome = |outcome| match outcome {
        Outcome::Pass => RawOutcome::Pass,
        Outcome::Emit(outputs) => RawOutcome::Emit(outputs.into_iter().map(output).collect()),
        Outcome::Filter => RawOutcome::Filter,
        Outcome::Retry(later) => RawOutcome::Retry(reason(later.reason.code, later.reason.message), later.after_ms),
        Outcome::Reject(why) => RawOutcome::Reject(reason(why.code, why.message)),
    };
    Ok(outcomes.into_iter().map(outcome).collect())
}

/// Records in, one verdict each out.
pub(super) async fn deliver(
    guest: &Sink,
    store: &mut Store<State>,
    records: &[walhost_core::Record],
) -> Result<Vec<RawVerdict>> {
    use sink_types::Verdict;
    use sink_world::walhost::plugin::types::{Header, Record};
    let (headers, ends) = lower!(Header, records);
    let batch = batch!(Record, records, headers, ends);
    let verdicts = guest.walhost_plugin_sink().call_deliver(store, &batch).await?;
    let verdict = |verdict| match verdict {
        Verdict::Delivered => RawVerdict::Delivered,
        Verdict::Retry(later) => RawVerdict::Retry(reason(later.reason.code, later.reason.message), later.after_ms),
        Verdict::Throttle(later) => {
            RawVerdict::Throttle(reason(later.reason.code, later.reason.message), later.after_ms)
        }
        Verdict::Reject(why) => RawVerdict::Reject(reason(why.code, why.message)),
    };
    Ok(verdicts.into_iter().map(verdict).collect())
}

fn reason(code: String, message: String) -> RawReason {
    RawReason { code, message }
}
