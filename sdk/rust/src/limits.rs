//! Bounds of the SDK's own. Those of the host are the host's and are not repeated here.

/// Bytes of a reason's code. It is a grouping key and a label, not prose; longer ones are cut.
pub(crate) const REASON_CODE_BYTES_MAX: usize = 64;

/// Bytes of a panic's text that are sent to the log. The host cuts lines at about this length too.
#[cfg(target_arch = "wasm32")]
pub(crate) const PANIC_TEXT_BYTES_MAX: usize = 1024;
