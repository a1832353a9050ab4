//! What the host is told: TOML files, or a namespace's table as JSON.
//!
//! In: the path of the process file, or a text, and the kinds of this build. Out: a complete, checked
//! `Model`, or every diagnostic there is to find, each with its place (exit code 78).

pub mod model;
pub mod kinds;
pub mod diagnostics;
pub mod diff;
pub mod limits;
pub mod node;
pub mod schema;
pub mod show;
mod de;
mod files;
mod namespace;
mod process;
mod target;
mod tokens;
#[cfg(test)]
mod tests;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use diff::{Diff, diff};
pub use kinds::{Chosen, Kinds, QueueKind, TargetKind};
pub use model::Model;

use files::{Files, Merged};
use namespace::Surroundings;
use node::Node;
use std::path::{Path, PathBuf};
use walhost_core::NamespaceName;

/// A configuration that can be served.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All of it.
    pub model: Model,
    /// What is probably not meant.
    pub warnings: Diagnostics,
    /// Every file that was read, absolute: what to watch.
    pub files: Vec<PathBuf>,
}

/// Reads the process file and all that it includes. `Err` holds everything that is wrong, warnings too.
pub fn load(path: &Path, kinds: &Kinds) -> Result<Loaded, Diagnostics> {
    let (mut files, mut merged) = (Files::default(), Merged::default());
    files.gather(path, &mut merged);
    let directory = files::absolute(path).parent().unwrap_or(Path::new("/")).to_owned();
    finish(files, &merged, &directory, kinds)
}

/// Reads a text as if it stood in a file of this name in this directory (`config:validate`).
pub fn load_text(name: &str, directory: &Path, text: &str, kinds: &Kinds) -> Result<Loaded, Diagnostics> {
    let (mut files, mut merged) = (Files::default(), Merged::default());
    files.gather_text(name, directory, text, &mut merged);
    finish(files, &merged, directory, kinds)
}

/// Reads one namespace's table as JSON, as if it stood beside the rest of the model
/// (`PUT /admin/v1/namespaces/{ns}`). Places are JSON pointers. The second part are warnings.
pub fn namespace_from_json(
    name: &NamespaceName,
    json: &serde_json::Value,
    kinds: &Kinds,
    model: &Model,
) -> Result<(model::Namespace, Diagnostics), Diagnostics> {
    let mut found = Vec::new();
    let surroundings = Surroundings {
        kinds,
        plugins: model.plugins.keys().map(ToString::to_string).collect(),
        shards: model.shards.keys().chain(&model.shard.name).map(ToString::to_string).collect(),
    };
    let namespace = namespace::read(name, &Node::from_json(json), &surroundings, &mut found);
    let diagnostics = Diagnostics::new(found, std::sync::Arc::default());
    match namespace {
        Some(namespace) if !diagnostics.has_errors() => Ok((namespace, diagnostics)),
        _ => Err(diagnostics),
    }
}

fn finish(mut files: Files, merged: &Merged, directory: &Path, kinds: &Kinds) -> Result<Loaded, Diagnostics> {
    let model = process::read(&mut files, merged, directory, kinds);
    let paths = files.paths.clone();
    let diagnostics = files.diagnostics();
    match model {
        Some(model) if !diagnostics.has_errors() => Ok(Loaded { model, warnings: diagnostics, files: paths }),
        _ => Err(diagnostics),
    }
}
