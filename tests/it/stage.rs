//! A host for one test: its own directory, ports and receivers, gone when the test ends.
//!
//! In: the part of a config that the test is about. Out: a running host.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use walhost_tests::host::{Host, Ports};
use walhost_tests::http::Client;

/// A host and its directory.
pub struct Stage {
    /// Dropped first: it writes into the directory.
    pub host: Host,
    directory: TempDir,
}

impl std::ops::Deref for Stage {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}
impl std::ops::DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

impl Stage {
    /// Writes the config and does not start.
    pub fn set(config: &str) -> anyhow::Result<Stage> {
        let directory = tempfile::Builder::new().prefix("walhost-it-").tempdir()?;
        let ports = Ports::free()?;
        let file = directory.path().join("walhost.toml");
        std::fs::write(&file, format!("{}{config}", ports.config("it")))?;
        let host = Host::new(&binary()?, &file, &ports, &Client::new());
        Ok(Stage { host, directory })
    }

    /// Writes the config and waits until the host is ready.
    pub async fn start(config: &str) -> anyhow::Result<Stage> {
        let mut stage = Stage::set(config)?;
        stage.host.start().await?;
        Ok(stage)
    }

    /// Where config, log and data are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `walhost` against this host.
    pub fn cli(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(binary()?);
        command.arg("--url").arg(&self.host.admin).args(arguments).current_dir(self.directory());
        command.output().context("cannot run walhost")
    }

    /// Runs `walhost` against this host, and it must end with 0; answers its standard output.
    pub fn cli_ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.cli(arguments)?;
        anyhow::ensure!(
            output.status.success(),
            "walhost {} ended with {}:\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The binary under test.
pub fn binary() -> anyhow::Result<PathBuf> {
    let built = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("walhost"));
    let binary = std::env::var_os("WALHOST_BIN").map(PathBuf::from).or_else(built).filter(|path| path.is_file());
    binary.context("no walhost binary to test: run `cargo xtask test --ring it`, which builds it")
}

/// An example plugin's component.
pub fn component(name: &str) -> anyhow::Result<Vec<u8>> {
    let built = || Some(std::env::current_exe().ok()?.parent()?.parent()?.parent()?.join("components"));
    let directory = std::env::var_os("WALHOST_COMPONENTS")
        .map(PathBuf::from)
        .or_else(built)
        .context("no directory of components")?;
    let path = directory.join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| format!("{}: run `cargo xtask plugins`", path.display()))
}

/// A namespace `orders` with one http target `hook` at this URL, and more lines for the namespace.
pub fn orders(url: &str, more: &str) -> String {
    format!("[namespaces.orders]\n{more}\n[namespaces.orders.targets.hook]\ntype = \"http\"\nurl = \"{url}\"\n")
}
