//! walhost as a server to be measured.
//!
//! In: a binary, a directory, the part of a config that the figure is about. Out: a running host.

use crate::bench::server::{Ask, Server};
use anyhow::Context;
use std::cell::RefCell;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use walhost_load::http::{Http, HttpSpeaker, namespace};
use walhost_load::{Outcome, Timeline, Values};
use walhost_tests::host::{Host, Ports};
use walhost_tests::http::Client;

/// Limits that no bench meets.
pub const WIDE: &str = "limits = { backlog = \"500GiB\", batch = \"8MiB\" }";

/// A host and the runtime that its client needs.
pub struct Stage {
    host: RefCell<Host>,
    runtime: Runtime,
    id: Option<u32>,
}

impl Stage {
    /// A host with these namespaces, not started.
    pub fn new(binary: &Path, directory: &Path, namespaces: &str) -> anyhow::Result<Stage> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ports, client) = (Ports::free()?, Client::new());
        let config = directory.join("walhost.toml");
        std::fs::write(&config, ports.config("bench") + namespaces)?;
        let host = RefCell::new(Host::new(binary, &config, &ports, &client));
        Ok(Stage { host, runtime, id: None })
    }

    /// A host whose namespaces only take records: each has a target without a plugin, which keeps its place
    /// and takes nothing.
    pub fn ingest(binary: &Path, directory: &Path, streams: u64) -> anyhow::Result<Stage> {
        let mut text = String::new();
        let names = if streams <= 1 { vec!["bench".to_owned()] } else { names(streams) };
        for name in names {
            let _ =
                write!(text, "[namespaces.{name}]\n{WIDE}\n[namespaces.{name}.targets.idle]\ntype = \"plugin\"\n\n");
        }
        Stage::new(binary, directory, &text)
    }

    /// A metric's sum over the lines with these labels; there must be some.
    pub fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        self.runtime.block_on(self.host.borrow().sample(name, labels))
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let host = self.host.get_mut();
        host.launch()?;
        self.id = host.process().map(|process| process.id());
        Ok(())
    }

    /// True when one record is taken: a POST answered by 2xx.
    pub fn takes(&self, namespace: &str) -> anyhow::Result<bool> {
        let answer = self.runtime.block_on(self.host.borrow().post(namespace, &[], "{}"))?;
        Ok((200..300).contains(&answer.status))
    }

    /// The ingest listener's address.
    pub fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        let host = self.host.borrow();
        host.ingest.strip_prefix("http://").context("a host has a URL")?.parse().context("a host has an address")
    }

    /// Drives a load on one namespace by name, with delays if asked.
    pub fn post(
        &self,
        name: &str,
        delay_ms: Option<(u64, u64)>,
        ask: &Ask,
        timeline: &Timeline,
        values: &Arc<Values>,
    ) -> anyhow::Result<Outcome> {
        let address = self.address()?;
        let http = Http {
            host: address.to_string(),
            namespace: name.to_owned(),
            namespaces: if ask.streams > 1 { ask.streams } else { 0 },
            token: None,
            batch: ask.batch,
            delay_ms,
        };
        walhost_load::drive(&ask.load(address), timeline, |_| HttpSpeaker::new(&http, values))
    }
}

/// Names of so many namespaces.
pub fn names(streams: u64) -> Vec<String> {
    (0..streams).map(|number| namespace("bench", number)).collect()
}

impl Server for Stage {
    fn name(&self) -> String {
        "walhost".into()
    }

    fn start(&mut self) -> anyhow::Result<Duration> {
        let host = self.host.get_mut();
        let took = self.runtime.block_on(host.start())?;
        self.id = host.process().map(|process| process.id());
        Ok(took)
    }

    fn kill(&mut self) {
        self.host.get_mut().kill();
        self.id = None;
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.id.context("the host runs")
    }

    fn drive(&self, ask: &Ask, timeline: &Timeline, values: &Arc<Values>) -> anyhow::Result<Outcome> {
        self.post("bench", None, ask, timeline, values)
    }

    fn count(&self) -> anyhow::Result<u64> {
        Ok(self.metric("walhost_accounting_records", &["state=\"accepted\""])? as u64)
    }

    fn commits(&self) -> anyhow::Result<Option<f64>> {
        self.metric("walhost_wal_fsync_duration_seconds_count", &[]).map(Some)
    }
}
