//! The server's own bounds: each with its unit and its reason.

use std::time::Duration;

/// Bytes of request bodies and the batches made of them, all connections together: what keeps memory
/// bounded under any offered load (I25).
pub const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A body that is smaller than this is not counted against the bytes in flight one by one; the connection
/// cap bounds them.
pub const IN_FLIGHT_BYTES_FREE: usize = 8 * 1024;
/// Slowest body that is borne, in bytes a second: below it a client only holds memory (I42).
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 1_024;
/// Largest read buffer of a connection, in bytes: a batch of 64 records of 1 KiB fits with its head, and all
/// connections together stay at half a gibibyte. Also bounds the head of a request.
pub const READ_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// How often a connection looks whether its peer is still alive.
pub const CONNECTION_TICK: Duration = Duration::from_secs(1);
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Longest `traceparent` or `tracestate` that is kept, in bytes: W3C asks for at least 512.
pub const TRACE_BYTES_MAX: usize = 512;
/// Largest JSON body of the admin listener, in bytes.
pub const ADMIN_JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest component that may be uploaded, in bytes: Python guests are 18 MB.
pub const PLUGIN_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Largest catalogue on disk, in bytes.
pub const CATALOGUE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Versions of a slot that are kept.
pub const SLOT_VERSIONS_MAX: usize = 32;
/// Finished tasks that are kept.
pub const TASKS_KEPT_MAX: usize = 256;
/// Dead letters that a redrive moves at once.
pub const REDRIVE_CHUNK: usize = 256;
/// Page of a list when the client names none.
pub const PAGE_DEFAULT: usize = 100;
/// Lines of the audit log that one page reads, at most, in bytes: older ones are in the file.
pub const AUDIT_READ_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Batches after a hot load in which faults take it back, where `auto_rollback` is set.
pub const ROLLBACK_BATCHES: u64 = 10;
/// Faults in those batches that take it back.
pub const ROLLBACK_FAULTS: u64 = 3;
/// How long a target's check may take.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of request bodies that the admin listener holds at once: one component of the largest size, twice.
pub const ADMIN_BYTES_MAX: usize = 2 * PLUGIN_BYTES_MAX + 64 * 1024 * 1024;
/// Requests of workers that wait for the host.
pub const REQUESTS_MAX: usize = 1_024;
/// Connections that the kernel keeps while we are not accepting.
pub const ACCEPT_QUEUE: i32 = 1_024;
/// How often the configuration's files are looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(2);
