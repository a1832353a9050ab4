//! One instance of a guest. A call consumes it; only a call that went well gives it back (I32).
//!
//! In: a job and its budget. Out: the answer or what broke, and the instance when it may be used again.

use crate::api::{Answer, Guest, Job, Linked};
use crate::engine::Room;
use crate::fault::{Broken, DEADLINE, INIT, classify};
use crate::host::{CallBudget, Context, State};
use crate::limits;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Store, UpdateDeadline};

/// The bounds of one slot, defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub memory_bytes_max: u64,
    pub wall: Duration,
    pub cpu_ms: u64,
    pub instances: u32,
    pub output_bytes_max: u64,
}

impl Bounds {
    /// Of one call.
    pub fn call(&self) -> CallBudget {
        CallBudget { wall: self.wall, cpu_ms: self.cpu_ms }
    }

    /// Of instantiation and `init` together.
    pub fn init(&self) -> CallBudget {
        CallBudget {
            wall: self.wall.max(Duration::from_millis(limits::INIT_MS_MIN)),
            cpu_ms: self.cpu_ms.max(limits::INIT_CPU_MS_MIN),
        }
    }
}

/// One instance, initialised.
pub(crate) struct Instance {
    store: Store<State>,
    guest: Guest,
    bounds: Bounds,
    calls: u32,
    made_at: Duration,
    used_at: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Instance {
    /// Makes one and runs its `init`.
    pub async fn make(
        room: &Room,
        linked: &Linked,
        context: &Arc<Context>,
        bounds: Bounds,
    ) -> Result<Instance, Broken> {
        let permit = room.permit().await;
        let _running = room.running();
        let mut store = Store::new(&room.engine, State::new(context.clone(), bounds.memory_bytes_max));
        store.limiter(|state| &mut state.limiter);
        store.set_max_component_handles(limits::HANDLES_MAX);
        store.set_hostcall_fuel(limits::HOSTCALL_FUEL_MIN.max(bounds.output_bytes_max as usize));
        store.epoch_deadline_callback(|mut context| {
            Ok(match context.data_mut().tick() {
                // Others run now: guests that share a thread take turns tick by tick.
                true => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
                false => UpdateDeadline::Interrupt,
            })
        });
        let budget = bounds.init();
        store.data_mut().begin(budget);
        store.set_epoch_deadline(1);
        let made = within(&room.clock, budget, async {
            let guest = linked.instantiate(&mut store).await?;
            let answer = guest.run(&mut store, &Job::Init).await?;
            Ok((guest, answer))
        })
        .await;
        let (guest, answer) = match made {
            Some(Ok(made)) => made,
            Some(Err(error)) => return Err(classify(&error, store.data_mut(), bounds.output_bytes_max)),
            None => return Err(late(budget)),
        };
        match answer {
            Answer::Ready(Ok(())) => {}
            Answer::Ready(Err(text)) => return Err(Broken::new(INIT, text)),
            Answer::Outcomes(_) | Answer::Verdicts(_) => unreachable!("init answers with readiness"),
        }
        context.calls.instance_made();
        let now = room.clock.monotonic();
        Ok(Instance { store, guest, bounds, calls: 0, made_at: now, used_at: now, _permit: permit })
    }

    /// Runs one call. The instance comes back only when the guest answered in time and in bounds.
    pub async fn call(mut self, room: &Room, job: &Job) -> (Result<Answer, Broken>, Option<Instance>) {
        let budget = self.bounds.call();
        let fuel = self.bounds.output_bytes_max as usize + job.records().len() * limits::HOSTCALL_FUEL_PER_RECORD;
        self.store.set_hostcall_fuel(fuel.max(limits::HOSTCALL_FUEL_MIN));
        self.store.data_mut().begin(budget);
        self.store.set_epoch_deadline(1);
        self.calls += 1;
        let running = room.running();
        let answered = within(&room.clock, budget, self.guest.run(&mut self.store, job)).await;
        drop(running);
        let state = self.store.data_mut();
        state.context.calls.memory(state.limiter.memory_bytes());
        match answered {
            Some(Ok(answer)) => {
                self.used_at = room.clock.monotonic();
                (Ok(answer), Some(self))
            }
            Some(Err(error)) => (Err(classify(&error, state, self.bounds.output_bytes_max)), None),
            None => (Err(late(budget)), None),
        }
    }

    /// False when it has served its time: calls, age or memory.
    pub fn fresh(&self, now: Duration) -> bool {
        let age = now.saturating_sub(self.made_at);
        self.calls < limits::INSTANCE_CALLS_MAX
            && age < Duration::from_millis(limits::INSTANCE_AGE_MS_MAX)
            && self.store.data().limiter.memory_bytes() <= self.bounds.memory_bytes_max / limits::INSTANCE_MEMORY_PART
    }

    /// When it was used last, on the monotonic clock.
    pub fn used_at(&self) -> Duration {
        self.used_at
    }
}

fn late(budget: CallBudget) -> Broken {
    Broken::new(DEADLINE, format!("deadline {} ms", budget.wall.as_millis()))
}

/// The future's value, or none when the wall time is over.
async fn within<T>(
    clock: &Arc<dyn walhost_core::Clock>,
    budget: CallBudget,
    running: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(running), clock.sleep(budget.wall)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(((), _)) => None,
    }
}
