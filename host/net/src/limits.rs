//! The bounds of this room, each with its unit and its reason.

/// Longest URL, in bytes: what servers accept in practice.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest host name, in bytes: DNS.
pub const HOST_BYTES_MAX: usize = 253;
/// Longest label of a host name, in bytes: DNS.
pub const LABEL_BYTES_MAX: usize = 63;
/// Addresses of one name that are looked at; more are a misconfiguration or an attack.
pub const ADDRESSES_MAX: usize = 64;
/// Names that are resolved at once: the system's resolver holds a thread for each, and a dead name server
/// must not hold all of them.
pub const RESOLVES_MAX: usize = 32;
/// Bytes of an answer's head: a head is buffered whole before anyone can look at it.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of one answer.
pub const ANSWER_HEADERS_MAX: usize = 128;
/// Pools kept at once, one for each set of addresses that may be dialled; the one that was used least
/// recently goes first. Only its idle connections are lost.
pub const POOLS_MAX: usize = 256;
/// Bytes of a PEM file: some thousand certificates.
pub const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;
