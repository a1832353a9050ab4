//! Everything that the demo starts, and that goes when the demo does.
//!
//! In: the binary and the components. Out: a directory, a cache, two receivers, a host with its config.

use crate::demo::receivers::{self, SharedSeen};
use crate::tools;
use anyhow::Context;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use walhost_tests::host::{Host, Ports, Process};
use walhost_tests::http::{Client, free_port};

/// A running stage.
pub struct Stage {
    pub client: Client,
    pub host: Host,
    pub index: SharedSeen,
    pub webhook: SharedSeen,
    /// The real cache; none where memcached could not be had.
    pub cache: Option<Cache>,
    /// Dropped last: the host writes into it until it has ended.
    directory: TempDir,
}

/// A real memcached.
pub struct Cache {
    _process: Process,
    pub port: u16,
}

impl Stage {
    /// Starts everything but the host.
    pub async fn set(binary: &Path, components: &Path) -> anyhow::Result<Stage> {
        let directory = tempfile::Builder::new().prefix("walhost-demo-").tempdir()?;
        let cache = match tools::memcached() {
            Ok(program) => Some(Cache::start(&program)?),
            Err(missing) => {
                println!("   {missing:#}\n   going on without the cache: two targets instead of three");
                None
            }
        };
        let (index_address, index) = receivers::index().await?;
        let (webhook_address, webhook) = receivers::webhook().await?;
        let ports = Ports::free()?;
        let text = config(&Addresses {
            head: ports.config("demo"),
            cache: cache.as_ref().map(|cache| cache.port),
            index: format!("http://{index_address}"),
            webhook: format!("http://{webhook_address}/hooks"),
            components: components.to_owned(),
        });
        let file = directory.path().join("walhost.toml");
        std::fs::write(&file, text).context("cannot write the config")?;
        let client = Client::new();
        let host = Host::new(binary, &file, &ports, &client);
        Ok(Stage { client, host, index, webhook, cache, directory })
    }

    /// The targets of namespace `catalog` in this run.
    pub fn targets(&self) -> Vec<&'static str> {
        let all = [("cache", self.cache.is_some()), ("search", true), ("webhook", true)];
        all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }

    /// Where everything lies.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends the host and leaves the directory where it is.
    pub fn keep(mut self) -> PathBuf {
        self.host.kill();
        self.directory.keep()
    }
}

impl Cache {
    fn start(program: &Path) -> anyhow::Result<Cache> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0", "-m", "64"]);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "root"]);
        }
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        Ok(Cache { _process: process, port })
    }

    /// How many values it holds now, by its own word.
    pub async fn values(&self) -> anyhow::Result<u64> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"stats\r\nquit\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let line = text.lines().find_map(|line| line.strip_prefix("STAT curr_items "));
        line.context("memcached says nothing of curr_items")?.trim().parse().context("curr_items is a number")
    }
}

struct Addresses {
    /// The tables of the host itself.
    head: String,
    cache: Option<u16>,
    index: String,
    webhook: String,
    components: PathBuf,
}

fn config(addresses: &Addresses) -> String {
    let Addresses { head, cache, index, webhook, components } = addresses;
    let components = components.display();
    let mut text = format!(
        r#"{head}[plugins.catalog]
ref = "{components}/catalog_v1.wasm"

[plugins.search-index]
ref = "{components}/search_index.wasm"
[plugins.search-index.grants]
http = [{{ origin = "{index}", cidrs = ["127.0.0.0/8"] }}]

[namespaces.catalog]
key = "/id"
retry = {{ initial = "100ms", max_interval = "2s", max_attempts = 8 }}
breaker = {{ rejects = 0 }}   # the data are dirty, and dead letters are what this shows

[namespaces.catalog.targets.search]
type = "plugin"
plugin = "search-index"
transform = {{ plugin = "catalog" }}
batch = {{ records = 100, linger = "20ms" }}
settings = {{ url = "{index}", index = "movies", id_pointer = "/id" }}

[namespaces.catalog.targets.webhook]
type = "http"
url = "{webhook}"
transform = {{ plugin = "catalog" }}
"#
    );
    if let Some(port) = cache {
        write!(
            text,
            r#"
[namespaces.catalog.targets.cache]
type = "memcached"
servers = ["127.0.0.1:{port}"]
key = "movie:{{/id}}"
"#
        )
        .expect("a string takes text");
    }
    text
}
