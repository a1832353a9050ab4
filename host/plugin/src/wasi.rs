//! A closed WASI 0.2: what stock toolchains import even when nobody calls it.
//!
//! In: a slot's context, a linker. Out: clocks and random work, standard output and error are log lines;
//! there are no files, sockets, arguments, environment; whatever of `wasi:http` is called traps with a
//! sentence that names the way that is open.

use crate::host::output::Output;
use crate::host::{Context, State};
use crate::limits;
use crate::options::LogLevel;
use std::sync::Arc;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError};

/// The interfaces that are linked, without their versions: every 0.2.x is served.
const LINKED: [&str; 27] = [
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:sockets/network",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];
/// Linked so that they can be imported, and closed.
const CLOSED: [&str; 2] = ["wasi:http/types", "wasi:http/outgoing-handler"];

/// Whether an import of this name, `wasi:io/poll@0.2.6`, is linked.
pub(crate) fn links(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    version.starts_with("0.2.") && LINKED.iter().chain(&CLOSED).any(|linked| *linked == interface)
}

/// Nothing is open but clocks, random and the two streams that become log lines.
pub(crate) fn closed(context: &Arc<Context>) -> WasiCtx {
    WasiCtx::builder()
        .stdout(Output::new(context.clone(), LogLevel::Info))
        .stderr(Output::new(context.clone(), LogLevel::Warn))
        .max_random_size(limits::RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Links the closed WASI, and the denial of `wasi:http` where this component imports it.
pub(crate) fn link(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    let engine = linker.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let denied = CLOSED.iter().any(|closed| name.strip_prefix(closed).is_some_and(|rest| rest.starts_with('@')));
        if let ComponentItem::ComponentInstance(instance) = import.ty
            && denied
        {
            let mut closed = linker.instance(name)?;
            for (function, export) in instance.exports(&engine) {
                deny(&mut closed, name, function, &export.ty)?;
            }
        }
    }
    Ok(())
}

/// The host's side of every resource of `wasi:http`: nobody can make one.
struct Denied;

fn deny(
    closed: &mut LinkerInstance<'_, State>,
    interface: &str,
    name: &str,
    item: &ComponentItem,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(_) => {
            let sentence =
                format!("{interface} {name} is closed: import walhost:plugin/http and have the origin granted");
            closed.func_new(name, move |_, _, _, _| Err(wasmtime::Error::msg(sentence.clone())))
        }
        ComponentItem::Resource(_) => {
            let kind = match name {
                "input-stream" => ResourceType::host::<DynInputStream>(),
                "output-stream" => ResourceType::host::<DynOutputStream>(),
                "pollable" => ResourceType::host::<DynPollable>(),
                "error" | "io-error" => ResourceType::host::<IoError>(),
                _ => ResourceType::host::<Denied>(),
            };
            closed.resource(name, kind, |_, _| Ok(()))
        }
        _ => Ok(()),
    }
}
