//! What a guest can reach: the data of one store, and the host functions behind the WIT's imports.
//!
//! In: calls from a guest. Out: answers from its own slot, and nothing of anybody else's.

pub(crate) mod http;
pub(crate) mod output;
pub(crate) mod lines;

use crate::grants::Granted;
use crate::limiter::Limiter;
use crate::limits;
use crate::metrics::Calls;
use crate::options::LogSink;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::{Clock, Digest, NamespaceName, TargetName};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What all instances of one slot share.
pub(crate) struct Context {
    pub namespace: NamespaceName,
    pub target: TargetName,
    pub digest: Digest,
    /// A JSON object, as text.
    pub settings: String,
    pub granted: Granted,
    pub clock: Arc<dyn Clock>,
    pub calls: Arc<Calls>,
    pub lines: lines::Lines,
    pub outbound: walhost_net::Client,
}

impl Context {
    pub fn sink(log: Arc<dyn LogSink>, clock: &Arc<dyn Clock>) -> lines::Lines {
        lines::Lines::new(log, clock.monotonic())
    }
}

/// The budget of the call that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallBudget {
    /// Wall time of the call.
    pub wall: Duration,
    /// CPU time of the call, in milliseconds.
    pub cpu_ms: u64,
}

/// What is known of the call that runs.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// On the monotonic clock.
    pub ends_at: Duration,
    pub cpu_ms: u64,
    pub ticks_left: u64,
    pub over_cpu: bool,
    /// The guest waited for the host since the last tick: that tick was not its own.
    pub waited: bool,
}

/// The data of one store.
pub(crate) struct State {
    pub context: Arc<Context>,
    pub limiter: Limiter,
    pub call: Call,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub fn new(context: Arc<Context>, memory_bytes_max: u64) -> State {
        let wasi = crate::wasi::closed(&context);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::RESOURCES_MAX);
        State { context, limiter: Limiter::new(memory_bytes_max), call: Call::default(), wasi, table }
    }

    /// A new call begins.
    pub fn begin(&mut self, budget: CallBudget) {
        let ends_at = self.context.clock.monotonic() + budget.wall;
        // A budget is rounded up to ticks; the first tick may be cut short, so there is one more.
        let ticks_left = (budget.cpu_ms * 1_000).div_ceil(limits::TICK_US) + 1;
        self.call = Call { ends_at, cpu_ms: budget.cpu_ms, ticks_left, over_cpu: false, waited: false };
        self.limiter.take_refusal();
    }

    /// An epoch has passed while the guest ran. False: its budget is used up.
    pub fn tick(&mut self) -> bool {
        if std::mem::take(&mut self.call.waited) {
            return true;
        }
        match self.call.ticks_left.checked_sub(1) {
            Some(left) => {
                self.call.ticks_left = left;
                true
            }
            None => {
                self.call.over_cpu = true;
                false
            }
        }
    }

    /// What is left of the call's wall time.
    pub fn time_left(&self) -> Duration {
        self.call.ends_at.saturating_sub(self.context.clock.monotonic())
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
