//! Builds a project. In: its directory and where things go. Out: component files, with figures.

use crate::{Error, Toolchain, Way, componentize, find_toolchain};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Where a build goes and what of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cargo's target directory for guests: one of their own, for another compiler or profile in the
    /// host's would build everything anew each time.
    pub target_dir: PathBuf,
    /// Where the components go, as `<name>.wasm`, named as the crate's library is.
    pub out_dir: PathBuf,
    /// Packages of a workspace; none: all of it.
    pub packages: Vec<String>,
    /// Refuse to change Cargo.lock.
    pub locked: bool,
    /// Keep cargo's lines for the error instead of showing them as they come.
    pub quiet: bool,
}

/// One component.
#[derive(Clone, Debug)]
pub struct Built {
    /// The library's name, with underscores.
    pub name: String,
    /// The component's file.
    pub component_path: PathBuf,
    /// Bytes of the core module inside it.
    pub core_bytes: u64,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// Which compiler made it.
    pub way: Way,
    /// Time of the cargo build it was part of, and of its own encoding. A build in which nothing had
    /// changed takes a fraction of a second.
    pub took: Duration,
}

/// Finds a compiler and builds every plugin of the project in `manifest_dir`, sorted by name.
pub fn build(manifest_dir: &Path, options: &Options) -> Result<Vec<Built>, Error> {
    build_with(&find_toolchain()?, manifest_dir, options)
}

/// Builds every plugin of the project with this compiler.
pub fn build_with(toolchain: &Toolchain, manifest_dir: &Path, options: &Options) -> Result<Vec<Built>, Error> {
    let manifest_dir = std::path::absolute(manifest_dir).map_err(file_error(manifest_dir))?;
    let started = Instant::now();
    let mut modules = compile(toolchain, &manifest_dir, options)?;
    let compiled = started.elapsed();
    if modules.is_empty() {
        return Err(Error::NoPlugin { directory: manifest_dir.display().to_string() });
    }
    modules.sort();
    std::fs::create_dir_all(&options.out_dir).map_err(file_error(&options.out_dir))?;
    let encode = |(name, module): (String, PathBuf)| {
        let started = Instant::now();
        let core = std::fs::read(&module).map_err(file_error(&module))?;
        let component = componentize(&name, &core)?;
        let component_path = options.out_dir.join(format!("{name}.wasm"));
        write_whole(&component_path, &component)?;
        let (core_bytes, size_bytes) = (core.len() as u64, component.len() as u64);
        let took = compiled + started.elapsed();
        Ok(Built { name, component_path, core_bytes, size_bytes, way: toolchain.way.clone(), took })
    };
    modules.into_iter().map(encode).collect()
}

/// Runs cargo and answers name and file of every Wasm module that came out.
fn compile(toolchain: &Toolchain, manifest_dir: &Path, options: &Options) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut cargo = toolchain.cargo();
    cargo.current_dir(manifest_dir).args(["--message-format", "json-render-diagnostics"]);
    cargo.env("CARGO_TARGET_DIR", toolchain.target_dir(&options.target_dir));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", without_machine_paths(manifest_dir));
    if options.locked {
        cargo.arg("--locked");
    }
    if options.packages.is_empty() {
        cargo.arg("--workspace");
    }
    for package in &options.packages {
        cargo.args(["--package", package]);
    }
    if options.quiet {
        cargo.stderr(Stdio::piped());
    } else {
        cargo.stderr(Stdio::inherit());
    }
    let output = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().and_then(|child| child.wait_with_output());
    let output = output.map_err(|source| Error::Start { program: "cargo".into(), source })?;
    if !output.status.success() {
        let shown = String::from_utf8_lossy(&output.stderr);
        let output = if shown.trim().is_empty() { String::new() } else { format!("\n{}", shown.trim_end()) };
        return Err(Error::Compile { directory: manifest_dir.display().to_string(), output });
    }
    Ok(modules(&String::from_utf8_lossy(&output.stdout)))
}

/// Name and file of every `cdylib` for Wasm among cargo's messages.
fn modules(messages: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let lists = |value: &Value, wanted: &str| {
            value.as_array().is_some_and(|values| values.iter().any(|value| value.as_str() == Some(wanted)))
        };
        if message["reason"] != "compiler-artifact" || !lists(&message["target"]["kind"], "cdylib") {
            continue;
        }
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for file in files.map(Path::new).filter(|file| file.extension().is_some_and(|end| end == "wasm")) {
            if let Some(name) = file.file_stem().and_then(|name| name.to_str()) {
                found.push((name.to_owned(), file.to_path_buf()));
            }
        }
    }
    found
}

/// Flags that keep this machine's directories out of the panic messages inside the module.
fn without_machine_paths(manifest_dir: &Path) -> OsString {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home.map(|home| home.join(".cargo")));
    let mut flags = OsString::new();
    let parent = manifest_dir.parent().filter(|parent| parent.parent().is_some());
    for (from, to) in [(parent, "."), (cargo_home.as_deref(), "cargo")] {
        let Some(from) = from else { continue };
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to}"));
    }
    flags
}

/// Writes beside the file and renames, so that nobody reads half a component. Bytes that are there
/// already are left alone, with their time of change.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let beside = path.with_extension(format!("wasm.{}", std::process::id()));
    std::fs::write(&beside, bytes).map_err(file_error(&beside))?;
    std::fs::rename(&beside, path).map_err(file_error(path))
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    |source| Error::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wasm_of_cdylibs_is_taken_from_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"]},"filenames":["/t/libserde.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["cdylib","rlib"]},"filenames":["/t/libmask.rlib","/t/mask.wasm"]}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(modules(messages), [("mask".to_owned(), PathBuf::from("/t/mask.wasm"))]);
    }

    #[test]
    fn the_directory_above_the_project_is_remapped_but_never_the_root() {
        let flags = without_machine_paths(Path::new("/srv/code/plugin")).into_string().expect("made of text");
        assert!(flags.starts_with("--remap-path-prefix=/srv/code=."), "{flags}");
        let flags = without_machine_paths(Path::new("/plugin")).into_string().expect("made of text");
        assert!(!flags.contains("=/=."), "{flags}");
    }
}
