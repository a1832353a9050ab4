//! The bounds of the sandbox: what no configuration can lift, and the defaults where it says nothing.
//!
//! In: nothing. Out: constants, each with its unit and its reason.

/// Largest component, in bytes. Python's are 18 MiB; twice that, and room.
pub const COMPONENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest compiled component, in bytes: native code is about three times its Wasm.
pub const COMPILED_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How long a compile may take, in milliseconds. Python: 4.4 s quiet, 20 s busy.
pub const COMPILE_MS_MAX: u64 = 120_000;
/// CPU time of a compile, in seconds, enforced by the kernel in the child.
pub const COMPILE_CPU_SECONDS_MAX: u64 = 180;
/// Address space of the compiling child, in bytes: Python needs 310 MiB of memory; reservations and the
/// binary itself need the rest.
pub const COMPILE_ADDRESS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Niceness of the compiling child: delivery goes first (I35).
pub const COMPILE_NICE: i32 = 15;

/// Memory of one instance where the plugin's limits say nothing, in bytes.
pub const MEMORY_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Memory of one instance that limits may ask for at most, in bytes: a pooling slot reserves this much
/// address space.
pub const MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Wall time of one call of a transform, in milliseconds.
pub const TRANSFORM_DEADLINE_MS_DEFAULT: u64 = 2_000;
/// Wall time of one call of a sink, in milliseconds.
pub const SINK_DEADLINE_MS_DEFAULT: u64 = 30_000;
/// Wall time of one call that limits may ask for at most, in milliseconds: a lease is held for as long.
pub const DEADLINE_MS_MAX: u64 = 600_000;
/// Wall time of `init` where the deadline is shorter, in milliseconds: interpreters import modules there.
pub const INIT_MS_MIN: u64 = 10_000;
/// CPU time of one call, in milliseconds.
pub const CPU_MS_DEFAULT: u64 = 1_000;
/// CPU time of instantiation and `init` where the budget is shorter, in milliseconds: the same reason.
pub const INIT_CPU_MS_MIN: u64 = if cfg!(test) { 300 } else { 5_000 };
/// Instances of one slot at once.
pub const INSTANCES_DEFAULT: u32 = 8;
/// Instances of one slot that limits may ask for at most.
pub const INSTANCES_MAX: u32 = 256;
/// Bytes of all that one call gives back.
pub const OUTPUT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Bytes of all that one call gives back, at most: a batch must fit a frame.
pub const OUTPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Time between two epochs, in microseconds: a guest that computes gives way this often.
pub const TICK_US: u64 = 2_000;
/// Ticks without a call after which the ticker sleeps until the next call.
pub const TICKS_IDLE_MAX: u32 = 50;
/// Stack of one guest, in bytes: interpreters recurse.
pub const STACK_BYTES_MAX: usize = 1024 * 1024;
/// Stack of one fiber, in bytes: the guest's and room for our own host functions.
pub const FIBER_BYTES: usize = 2 * 1024 * 1024;
/// Core instances in one component: Python uses more than 32.
pub const CORE_INSTANCES_MAX: u32 = 128;
/// Linear memories in one component: QuickJS has three.
pub const MEMORIES_MAX: u32 = 16;
/// Tables in one component: QuickJS has three.
pub const TABLES_MAX: u32 = 16;
/// Elements of one table: up to 7,700 were seen.
pub const TABLE_ELEMENTS_MAX: usize = 32_768;
/// Bytes of the host's own records about one core instance.
pub const CORE_INSTANCE_BYTES_MAX: usize = 1024 * 1024;
/// Instances at once in the pooling allocator, all plugins together.
pub const POOL_INSTANCES: u32 = 512;
/// Memory that a slot of the pool keeps resident after use, in bytes: saves page faults at the next one.
pub const POOL_RESIDENT_BYTES: usize = 2 * 1024 * 1024;
/// Component-model handles alive in one instance.
pub const HANDLES_MAX: usize = 4_096;
/// Host resources (streams, pollables) alive in one instance.
pub const RESOURCES_MAX: usize = 1_024;
/// Host-side cost of one element of a list that a guest hands over, in bytes of fuel: wasmtime takes its
/// fuel by the host type's size, so a call's fuel is its output limit and this much for each record.
pub const HOSTCALL_FUEL_PER_RECORD: usize = 512;
/// Least fuel of a host call, in bytes: log lines and small answers.
pub const HOSTCALL_FUEL_MIN: usize = 1024 * 1024;
/// Random bytes that a guest may ask for at once.
pub const RANDOM_BYTES_MAX: u64 = 64 * 1024;

/// Calls of one instance before it is replaced: bounds what a slow leak can do.
pub const INSTANCE_CALLS_MAX: u32 = 10_000;
/// Age at which an instance is replaced, in milliseconds.
pub const INSTANCE_AGE_MS_MAX: u64 = 10 * 60_000;
/// How long an instance may wait for a job before its memory is given back, in milliseconds.
pub const INSTANCE_IDLE_MS_MAX: u64 = 60_000;
/// Part of the memory limit (one over this) above which an instance is replaced.
pub const INSTANCE_MEMORY_PART: u64 = 2;

/// Longest line that a guest logs, in bytes.
pub const LOG_LINE_BYTES_MAX: usize = 1024;
/// Fields of one log line.
pub const LOG_FIELDS_MAX: usize = 16;
/// Log lines a second of one slot, guests' standard output included.
pub const LOG_LINES_PER_SECOND: u32 = 50;
/// Log lines that may come at once.
pub const LOG_LINES_BURST: u32 = 100;

/// Requests of one `send-all`.
pub const SEND_ALL_MAX: usize = 1_024;
/// Requests in flight of one `send-all` where the grant says nothing.
pub const PARALLEL_DEFAULT: u32 = 16;
/// Requests in flight of one `send-all` that a grant may allow.
pub const PARALLEL_MAX: u32 = 256;
/// Largest answer where the grant says nothing, in bytes.
pub const RESPONSE_BYTES_DEFAULT: u64 = 8 * 1024 * 1024;
/// All answers of one `send-all` together, in bytes: they are held until the last one is there.
pub const RESPONSES_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Largest request value, in bytes.
pub const REQUEST_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Headers of one request.
pub const REQUEST_HEADERS_MAX: usize = 64;
/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest time-out of one request, in milliseconds; what is left of the call bounds it further.
pub const REQUEST_MS_MAX: u64 = 600_000;

/// Longest settings of one slot, in bytes of JSON.
pub const SETTINGS_BYTES_MAX: usize = 1024 * 1024;
/// Longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Longest wait that a guest may ask for, in milliseconds: 30 days, the longest delay there is.
pub const AFTER_MS_MAX: u64 = 30 * 86_400_000;
