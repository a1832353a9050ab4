//! The seam to the host. In: the SDK's own types. Out: the host's answer: across the Wasm boundary
//! in a component, from the test host of this thread in a native build.

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::*;
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::*;
