//! The example plugins, as components.
//!
//! In: the workspace of `plugins/`. Out: one `.wasm` for each of them in the target directory.

use crate::cargo;
use std::path::PathBuf;

/// Builds all of them and answers the directory that they are in.
pub fn build() -> anyhow::Result<PathBuf> {
    let toolchain = walhost_build::find_toolchain()?;
    println!("── plugins: {}", toolchain.way);
    let options = walhost_build::Options {
        target_dir: cargo::target_dir().join("plugins"),
        out_dir: cargo::target_dir().join("components"),
        packages: Vec::new(),
        locked: true,
        quiet: false,
    };
    let built = walhost_build::build_with(&toolchain, &cargo::root().join("plugins"), &options)?;
    for plugin in &built {
        println!("   {:<16} {:>6} KiB", plugin.name, plugin.size_bytes.div_ceil(1024));
    }
    Ok(options.out_dir)
}
