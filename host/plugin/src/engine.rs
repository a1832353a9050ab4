//! The one engine of the process, its epochs, and the bound on instances of all plugins together.
//!
//! In: how large the pool may be. Out: `Room`: engine, ticker, permits, and who may be asked for an idle
//! instance when the permits are used up.

use crate::limits;
use crate::pool::Slot;
use parking_lot::Mutex;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use walhost_core::{Clock, Error, Kind, Result, exec};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Engine, ticker and permits, shared by all slots.
pub(crate) struct Room {
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    ticker: Arc<Ticker>,
    permits: Arc<Semaphore>,
    /// How many wait for a permit: as long as somebody does, nobody keeps an idle instance.
    waiting: AtomicU64,
    slots: Mutex<Vec<Weak<Slot>>>,
}

impl Room {
    /// Makes the engine; a pool that the machine refuses is halved until it fits, at last there is none.
    pub fn open(pool_instances: u32, clock: Arc<dyn Clock>) -> Result<Arc<Room>> {
        let engine = probe(pool_instances)?;
        let permits = if pool_instances == 0 { limits::POOL_INSTANCES } else { pool_instances };
        let room = Arc::new(Room {
            engine: engine.clone(),
            clock,
            ticker: Arc::new(Ticker::default()),
            permits: Arc::new(Semaphore::new(permits as usize)),
            waiting: AtomicU64::new(0),
            slots: Mutex::new(Vec::new()),
        });
        let (ticker, weak) = (room.ticker.clone(), Arc::downgrade(&room));
        let thread = exec::thread("wasm-epoch", move || ticker.run(&engine, &weak)).map_err(|error| {
            Error::new(Kind::Internal, "plugin.open", "the epoch thread cannot be started").source(error)
        })?;
        *room.ticker.thread.lock() = Some(thread.thread().clone());
        Ok(room)
    }

    /// Says that a guest runs, until the guard is dropped: epochs are counted only while somebody runs.
    pub fn running(&self) -> Running {
        Running::begin(self.ticker.clone())
    }

    /// A slot whose idle instances may be taken away when others need their room.
    pub fn register(&self, slot: &Arc<Slot>) {
        let mut slots = self.slots.lock();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(slot));
    }

    /// Leave for one more instance: an idle one of any slot goes when there is no room.
    pub async fn permit(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return permit;
        }
        // Said before looking: who puts an instance back after our look sees that we wait.
        let _waiting = Waiting::begin(&self.waiting);
        let slots: Vec<_> = self.slots.lock().iter().filter_map(Weak::upgrade).collect();
        slots.iter().any(|slot| slot.evict_one());
        self.permits.clone().acquire_owned().await.expect("this semaphore is never closed")
    }

    /// Whether somebody waits for the room of an idle instance.
    pub fn crowded(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn expire(&self) {
        let slots: Vec<_> = self.slots.lock().iter().filter_map(Weak::upgrade).collect();
        slots.iter().for_each(|slot| slot.expire());
    }
}

/// Somebody who waits for a permit, also when he gives up.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicU64) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.ticker.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = &*self.ticker.thread.lock() {
            thread.unpark();
        }
    }
}

/// Raises the epoch while guests run, sleeps while none does.
#[derive(Default)]
struct Ticker {
    active: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
    thread: Mutex<Option<std::thread::Thread>>,
}

/// How long the ticker sleeps without guests before it looks for idle instances that have grown old.
const EXPIRE_EVERY: Duration = Duration::from_secs(30);

impl Ticker {
    fn run(&self, engine: &Engine, room: &Weak<Room>) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_micros(limits::TICK_US));
            engine.increment_epoch();
            idle = if self.active.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle < limits::TICKS_IDLE_MAX {
                continue;
            }
            idle = 0;
            // Who begins after this store sees it and wakes us; who began before it is seen by the load.
            self.parked.store(true, Ordering::SeqCst);
            if self.active.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                std::thread::park_timeout(EXPIRE_EVERY);
                if let Some(room) = room.upgrade() {
                    room.expire();
                }
            }
            self.parked.store(false, Ordering::SeqCst);
        }
    }
}

/// While it lives, epochs pass.
pub(crate) struct Running(Arc<Ticker>);

impl Running {
    fn begin(ticker: Arc<Ticker>) -> Running {
        ticker.active.fetch_add(1, Ordering::SeqCst);
        if ticker.parked.load(Ordering::SeqCst)
            && let Some(thread) = &*ticker.thread.lock()
        {
            thread.unpark();
        }
        Running(ticker)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Everything that native code depends on; the strategy of allocation does not change it.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(limits::STACK_BYTES_MAX)
        .async_stack_size(limits::FIBER_BYTES)
        .parallel_compilation(false)
        .generate_address_map(false)
        .gc_support(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false);
    config
}

/// An engine without a pool, for compiling and inspecting.
pub(crate) fn plain() -> Result<Engine> {
    Engine::new(&config()).map_err(refused)
}

fn refused(error: wasmtime::Error) -> Error {
    Error::new(Kind::Internal, "plugin.open", "this machine cannot run WebAssembly").with("cause", format!("{error:#}"))
}

fn probe(pool_instances: u32) -> Result<Engine> {
    let mut instances = pool_instances;
    while instances > 0 {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(limits::CORE_INSTANCES_MAX))
            .total_memories(instances.saturating_mul(3))
            .total_tables(instances.saturating_mul(4))
            .total_stacks(instances)
            .max_component_instance_size(limits::CORE_INSTANCE_BYTES_MAX)
            .max_core_instance_size(limits::CORE_INSTANCE_BYTES_MAX)
            .max_core_instances_per_component(limits::CORE_INSTANCES_MAX)
            .max_memories_per_component(limits::MEMORIES_MAX)
            .max_tables_per_component(limits::TABLES_MAX)
            .max_memory_size(limits::MEMORY_BYTES_MAX as usize)
            .table_elements(limits::TABLE_ELEMENTS_MAX)
            .max_unused_warm_slots(instances.min(64))
            .linear_memory_keep_resident(limits::POOL_RESIDENT_BYTES)
            .table_keep_resident(64 * 1024);
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        match Engine::new(&config) {
            Ok(engine) => return Ok(engine),
            Err(error) => {
                tracing::warn!(
                    instances,
                    cause = format!("{error:#}"),
                    "the machine refuses a pool of instances, trying a smaller one"
                );
                instances /= 2;
            }
        }
    }
    plain()
}

/// What native code must have been compiled for: wasmtime's version, the machine, our settings.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    let mut hasher = Sha(Default::default());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    sha2::Digest::finalize(hasher.0).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

struct Sha(sha2::Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.0, bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn i36_a_pool_does_not_change_what_code_is_compiled_for() {
        let pooled = probe(4).unwrap();
        assert_eq!(fingerprint(&pooled), fingerprint(&plain().unwrap()));
        let mut other = config();
        other.epoch_interruption(false);
        assert_ne!(fingerprint(&Engine::new(&other).unwrap()), fingerprint(&pooled));
    }
}
