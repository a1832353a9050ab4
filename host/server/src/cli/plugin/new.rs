//! `walhost plugin new`: the first lines of a plugin, from the SDK's templates.
//!
//! In: kind and name. Out: a directory with a project that builds.

use crate::cli::Session;
use crate::cli::arguments::World;
use crate::cli::failure::Failure;
use std::path::{Path, PathBuf};
use walhost_core::PluginName;

macro_rules! template {
    ($kind:literal) => {
        [
            ("Cargo.toml", include_str!(concat!("../../../../../sdk/rust/template/", $kind, "/Cargo.toml"))),
            ("README.md", include_str!(concat!("../../../../../sdk/rust/template/", $kind, "/README.md"))),
            ("records.ndjson", include_str!(concat!("../../../../../sdk/rust/template/", $kind, "/records.ndjson"))),
            ("src/lib.rs", include_str!(concat!("../../../../../sdk/rust/template/", $kind, "/src/lib.rs"))),
        ]
    };
}

/// A file of a template and its text.
type File = (&'static str, &'static str);

const TRANSFORM: [File; 4] = template!("transform");
const SINK: [File; 4] = template!("sink");

/// Writes the project into a directory of the plugin's name, which must not exist.
pub fn write(session: &Session, kind: World, name: &str, sdk: Option<&Path>) -> Result<(), Failure> {
    let directory = PathBuf::from(name);
    let stem = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plugin = PluginName::new(stem).map_err(|error| Failure::usage(error.to_string()))?;
    if stem.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(Failure::usage(format!("`{stem}`: a Cargo package does not begin with a digit")));
    }
    if directory.exists() {
        return Err(Failure::failed(format!("{} exists already", directory.display())));
    }
    let sdk = sdk_directory(sdk)?;
    let files = match kind {
        World::Transform => TRANSFORM,
        World::Sink => SINK,
    };
    for (file, text) in files {
        let path = directory.join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, filled(text, &plugin, &sdk))?;
    }
    let shown = directory.display();
    let text = format!("{shown}: written. Next:\n  cd {shown}\n  cargo test\n  walhost plugin build\n");
    session.output.text_or_json(&text, &serde_json::json!({ "directory": shown.to_string(), "name": stem }))
}

fn filled(text: &str, name: &PluginName, sdk: &Path) -> String {
    text.replace("{{name}}", name.as_str())
        .replace("{{crate}}", &name.as_str().replace('-', "_"))
        .replace("{{sdk}}", &sdk.display().to_string())
}

/// The SDK that is given, or the one beside the sources that this program was built from.
fn sdk_directory(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/rust");
    let directory = given.map_or_else(beside, Path::to_owned);
    let found = std::fs::canonicalize(&directory).ok().filter(|directory| directory.join("Cargo.toml").is_file());
    found.ok_or_else(|| {
        Failure::failed(format!("the Rust SDK is not at {}; say where it is with --sdk", directory.display()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_template_is_filled() {
        let name = PluginName::new("mask-pii").unwrap();
        for (file, text) in TRANSFORM.into_iter().chain(SINK) {
            let filled = filled(text, &name, Path::new("/sdk"));
            assert!(!filled.contains("{{"), "{file}: {filled}");
        }
    }

    #[test]
    fn the_sdk_that_is_not_there_is_asked_for() {
        assert!(sdk_directory(None).is_ok());
        let failure = sdk_directory(Some(Path::new("/nowhere"))).unwrap_err();
        assert!(failure.message.contains("--sdk"), "{}", failure.message);
    }
}
