//! Encodes components. In: a core module with the SDK's type section. Out: a validated component.

use crate::Error;
use wit_component::ComponentEncoder;

/// Wraps a core module as a component and validates it. `name` is only for the error.
///
/// The module says by its custom section which world it exports; the SDK's export macros write it.
/// Imports that it does not use are left out, so a plugin asks for no more than it needs.
pub fn componentize(name: &str, core: &[u8]) -> Result<Vec<u8>, Error> {
    let refused = |detail: String| Error::Component { name: name.into(), detail };
    let (_, metadata) =
        wit_component::metadata::decode(core).map_err(|error| refused(format!("it is no core module: {error:#}")))?;
    if metadata.resolve.worlds[metadata.world].exports.is_empty() {
        return Err(refused("it exports no world: call `export_transform!` or `export_sink!` once".into()));
    }
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.validate(true).module(core).map_err(|error| refused(format!("{error:#}")))?;
    encoder.encode().map_err(|error| refused(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty core module: magic and version.
    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn a_module_without_a_world_is_refused_with_the_remedy() {
        let refusal = componentize("empty", EMPTY_MODULE).expect_err("it exports nothing");
        assert!(refusal.to_string().contains("export_transform!"), "{refusal}");
    }

    #[test]
    fn bytes_that_are_no_module_are_refused_by_name() {
        let refusal = componentize("text", b"hello").expect_err("it is text");
        assert!(refusal.to_string().starts_with("text is no plugin: it is no core module"), "{refusal}");
    }
}
