//! Builds plugins. In: the directory of a Cargo project. Out: one Wasm component for each of its
//! `cdylib` crates, and which way it took.
//!
//! `walhost plugin build` and `cargo xtask plugins` are both this. The guest is compiled by plain
//! cargo for `wasm32-unknown-unknown`; no other tool is needed, since the component is encoded here.

mod component;
mod doctor;
mod project;
mod toolchain;

pub use component::componentize;
pub use doctor::{Diagnosis, diagnose};
pub use project::{Built, Options, build, build_with};
pub use toolchain::{Toolchain, Way, find_toolchain};

/// The target that guests are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Why there is no component. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No compiler for Wasm; the text has every remedy there is.
    #[error("{0}")]
    NoToolchain(String),
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The compiler refused the project.
    #[error("cargo build failed in {directory}{output}")]
    Compile {
        /// The project's directory.
        directory: String,
        /// What cargo wrote, when it was not shown already; begins with a line break.
        output: String,
    },
    /// Nothing in the project is a plugin.
    #[error("no plugin in {directory}: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`")]
    NoPlugin {
        /// The project's directory.
        directory: String,
    },
    /// The module is none that the SDK made, or cannot be encoded.
    #[error("{name} is no plugin: {detail}")]
    Component {
        /// Which module.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}
