//! What broke, in the contract's codes.
//!
//! In: wasmtime's error and what the host's own bounds remember. Out: `Broken`: a code of
//! `metrics::ENDINGS` and a sentence.

use crate::host::State;
use wasmtime::{Trap, WasmBacktrace};

/// The guest trapped, or used something that is closed.
pub(crate) const TRAP: &str = "plugin-trap";
/// Wall time or CPU time ran out.
pub(crate) const DEADLINE: &str = "plugin-deadline";
/// A growth was refused.
pub(crate) const MEMORY: &str = "plugin-memory";
/// What it gave back is too large or malformed.
pub(crate) const OUTPUT: &str = "plugin-output";
/// Not one answer for each record.
pub(crate) const COUNT: &str = "plugin-count";
/// `init` said no in an instance made after the load.
pub(crate) const INIT: &str = "plugin-init";

/// A broken call, before it is known which plugin it was and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub code: &'static str,
    pub message: String,
}

impl Broken {
    pub fn new(code: &'static str, message: impl Into<String>) -> Broken {
        Broken { code, message: message.into() }
    }
}

/// Names the bound that was hit, else the trap and where it happened.
pub(crate) fn classify(error: &wasmtime::Error, state: &mut State, output_bytes_max: u64) -> Broken {
    if state.call.over_cpu {
        return Broken::new(DEADLINE, format!("CPU limit {} ms", state.call.cpu_ms));
    }
    if let Some(limit) = state.limiter.take_refusal() {
        return Broken::new(MEMORY, limit);
    }
    let words = words(error);
    if words.contains("fuel allocated for hostcalls") {
        return Broken::new(
            OUTPUT,
            format!("more than {} at once: the limit `output`", walhost_core::config::Size(output_bytes_max)),
        );
    }
    Broken::new(TRAP, words)
}

/// The trap's own words, then the innermost functions that have names.
fn words(error: &wasmtime::Error) -> String {
    let mut words = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        let names: Vec<_> = backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(4).collect();
        if !names.is_empty() {
            words = format!("{words} (in {})", names.join(" < "));
        }
    }
    walhost_core::attempt::clean(&words, walhost_core::limits::MESSAGE_BYTES_MAX)
}
