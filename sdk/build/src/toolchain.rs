//! Finds a compiler for Wasm. In: the machine. Out: a `Toolchain`, or every remedy there is.

use crate::{Error, TARGET};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where Debian's rustc-web puts its compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The least minor version of that compiler (1.x) that knows edition 2024 and what the SDK uses.
const DEBIAN_MINOR_MIN: u32 = 95;

/// Which way a compiler for Wasm was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The compiler on the path has the target's standard library.
    Installed,
    /// It had not, and `rustup target add` brought it.
    RustupAdded,
    /// Debian's rustc-web compiles the standard library itself, from rust-web-src.
    Debian {
        /// The linker for Wasm.
        linker: PathBuf,
    },
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed => write!(out, "with its target {TARGET}"),
            Self::RustupAdded => write!(out, "with its target {TARGET}, just added by rustup"),
            Self::Debian { linker } => {
                write!(out, "from Debian's rustc-web, standard library from source, linker {}", linker.display())
            }
        }
    }
}

/// A compiler that can build guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// How it was found.
    pub way: Way,
    /// What it calls itself, such as `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub rustc: String,
}

impl Toolchain {
    /// One line for a person: which compiler, which way.
    pub fn describe(&self) -> String {
        format!("{}, {}", self.rustc, self.way)
    }

    /// Cargo, set up for this compiler: `cargo build --release --target …` but for the project.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--target", TARGET]);
        // Flags for the host's own builds (a linker, a CPU) would break a guest's.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS"] {
            cargo.env_remove(name);
        }
        if let Way::Debian { linker } = &self.way {
            cargo.arg("-Zbuild-std=std,panic_abort");
            cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo
    }

    /// Builds by different compilers must not share a directory.
    pub(crate) fn target_dir(&self, base: &Path) -> PathBuf {
        if matches!(self.way, Way::Debian { .. }) { base.join("debian") } else { base.to_path_buf() }
    }
}

/// Finds a compiler for Wasm: the one on the path if it has the target; else `rustup target add` is
/// tried, which needs the network; else Debian's rustc-web. The error has the remedies.
pub fn find_toolchain() -> Result<Toolchain, Error> {
    if let Some(rustc) = installed() {
        return Ok(Toolchain { way: Way::Installed, rustc });
    }
    let rustup = match run("rustup", &["target", "add", TARGET]) {
        Ok(_) => match installed() {
            Some(rustc) => return Ok(Toolchain { way: Way::RustupAdded, rustc }),
            None => "rustup added it to another toolchain than the one on the path".into(),
        },
        Err(refusal) => refusal,
    };
    find_debian().map_err(|debian| Error::NoToolchain(remedies(&rustup, &debian)))
}

/// Finds Debian's way, whatever else is installed. The error says what is missing.
pub(crate) fn find_debian() -> Result<Toolchain, String> {
    let rustc = run(DEBIAN_RUSTC, &["--version"]).map_err(|_| format!("{DEBIAN_RUSTC} is not there"))?;
    match minor_version(&rustc) {
        Some(minor) if minor >= DEBIAN_MINOR_MIN => {}
        _ => return Err(format!("{DEBIAN_RUSTC} is {rustc}, needed is 1.{DEBIAN_MINOR_MIN} or later")),
    }
    let sysroot = run(DEBIAN_RUSTC, &["--print", "sysroot"])?;
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    if !source.is_file() {
        return Err(format!("{} is not there (package rust-web-src)", source.display()));
    }
    let linker = find_linker().ok_or("no linker for Wasm: neither rustup's rust-lld nor wasm-ld (package lld)")?;
    Ok(Toolchain { way: Way::Debian { linker }, rustc })
}

/// The version of the compiler on the path, if it has the target's standard library.
pub(crate) fn installed() -> Option<String> {
    let version = run("rustc", &["--version"]).ok()?;
    let library = run("rustc", &["--print", "target-libdir", "--target", TARGET]).ok()?;
    let files = std::fs::read_dir(library).ok()?;
    let has_std = files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"));
    has_std.then_some(version)
}

/// The linker of rustup's toolchain, else one on the path.
fn find_linker() -> Option<PathBuf> {
    let of_rustup = run("rustc", &["--print", "target-libdir"]).ok().and_then(|library| {
        let linker = Path::new(&library).parent()?.join("bin/rust-lld");
        linker.is_file().then_some(linker)
    });
    of_rustup.or_else(|| {
        let path = std::env::var_os("PATH")?;
        let names = ["wasm-ld", "rust-lld", "wasm-ld-19"];
        let mut candidates = std::env::split_paths(&path).flat_map(|directory| names.map(|name| directory.join(name)));
        candidates.find(|candidate| candidate.is_file())
    })
}

/// 96 from `rustc 1.96.0 (…)`.
fn minor_version(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

/// What a program writes to its standard output, trimmed; else what went wrong, in one line.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let Output { status, stdout, stderr } =
        Command::new(program).args(arguments).output().map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
    }
    let stderr = String::from_utf8_lossy(&stderr);
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    Err(format!("`{program} {}` failed: {last}", arguments.join(" ")))
}

fn remedies(rustup: &str, debian: &str) -> String {
    format!(
        "no compiler for {TARGET}\n  \
         tried: {rustup}\n  \
         tried: {debian}\n  \
         with rustup:    rustup target add {TARGET}\n  \
         without, on Debian:    apt-get install rustc-web rust-web-src lld"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_and_anything_else_is_not() {
        assert_eq!(minor_version("rustc 1.96.0 (abc 2026-01-01)"), Some(96));
        assert_eq!(minor_version("rustc 2.0.0"), None);
        assert_eq!(minor_version(""), None);
    }

    #[test]
    fn the_refusal_names_both_ways_out() {
        let text = remedies("`rustup target add` failed: no network", "/usr/bin/rustc is not there");
        assert!(text.contains("rustup target add wasm32-unknown-unknown"));
        assert!(text.contains("apt-get install rustc-web rust-web-src"));
        assert!(text.contains("no network"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let refusal = run("no-such-program-of-ours", &[]).expect_err("it does not exist");
        assert!(refusal.starts_with("cannot run `no-such-program-of-ours`"), "{refusal}");
    }

    #[test]
    fn debians_builds_have_a_directory_of_their_own() {
        let debian = Toolchain { way: Way::Debian { linker: "/x/rust-lld".into() }, rustc: "rustc 1.96.0".into() };
        assert_eq!(debian.target_dir(Path::new("/t")), Path::new("/t/debian"));
        let cargo = debian.cargo();
        assert!(cargo.get_args().any(|argument| argument == "-Zbuild-std=std,panic_abort"));
        assert!(cargo.get_envs().any(|(name, value)| name == "RUSTC_BOOTSTRAP" && value.is_some()));
    }
}
