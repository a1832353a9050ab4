//! What a component is, without a store: for `walhost plugin inspect` and for uploads.
//!
//! In: bytes, grants. Out: `Inspection`, or the sentence that an upload would be refused with.

use crate::{compile, engine, grants, header, world};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use walhost_core::plugin::{Grants, PluginKind};
use walhost_core::time::SystemClock;
use walhost_core::{Clock, Digest, Error, Kind, Result};

/// Everything that can be known of a component before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size_bytes: u64,
    /// Which world it targets.
    pub kind: PluginKind,
    /// `walhost:plugin/transform-plugin@0.1.0`.
    pub world: String,
    /// Every import, by name, and whether it works with these grants: the sentence says what is missing.
    pub imports: Vec<(String, Option<String>)>,
    /// How long it took to compile, on this machine, now.
    pub compile_time: Duration,
    /// Bytes of native code.
    pub compiled_bytes: u64,
}

/// Checks and compiles a component in this process. Takes seconds for large ones: not for a runtime's
/// worker. The error is of kind `PluginRejected`.
pub fn inspect(component: &[u8], grants: &Grants) -> Result<Inspection> {
    let matched = examine(component)?;
    let engine = engine::plain()?;
    let clock = SystemClock::default();
    let compiled = compile::precompile(&engine, component).map_err(|what| rejected("plugin.inspect", what))?;
    let compile_time = clock.monotonic();
    let imports = matched
        .imports
        .into_iter()
        .map(|import| {
            let missing = grants::check(std::slice::from_ref(&import), grants).err();
            (import, missing)
        })
        .collect();
    Ok(Inspection {
        digest: digest(component),
        size_bytes: component.len() as u64,
        kind: matched.kind,
        world: matched.world,
        imports,
        compile_time,
        compiled_bytes: compiled.len() as u64,
    })
}

/// Size, header, version, world: everything that needs no compiler.
pub(crate) fn examine(component: &[u8]) -> Result<world::Matched> {
    header::check(component).map_err(|what| rejected("plugin.store", what))?;
    world::read(component).map_err(|what| rejected("plugin.store", what))
}

pub(crate) fn digest(component: &[u8]) -> Digest {
    Digest(Sha256::digest(component).into())
}

/// A refusal: the sentence is what the person who uploads sees.
pub(crate) fn rejected(operation: &'static str, what: String) -> Error {
    Error::new(Kind::PluginRejected, operation, what)
}
