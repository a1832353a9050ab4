//! A walhost process of one's own: started, waited for, killed, never left behind.
//!
//! In: a binary and a config. Out: a running host that ends when its handle does.

use crate::http::{Answer, Client, free_port};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child that is killed and waited for when this is dropped.
pub struct Process(Child);

impl Process {
    /// Starts it without standard input.
    pub fn start(command: &mut Command) -> anyhow::Result<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).spawn().map(Process).with_context(|| format!("cannot start {program}"))
    }

    /// kill -9, and wait.
    pub fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = Pid::from_raw(i32::try_from(self.0.id())?).context("a child has an id")?;
        Ok(kill_process(id, signal)?)
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two loopback ports and the text around them.
pub struct Ports {
    /// Of the ingest listener.
    pub ingest: u16,
    /// Of the admin listener.
    pub admin: u16,
}

impl Ports {
    /// Two that are free now.
    pub fn free() -> anyhow::Result<Ports> {
        Ok(Ports { ingest: free_port()?, admin: free_port()? })
    }

    /// The tables `[server]` and `[shard]` for a host on these ports, with data beside the config.
    pub fn config(&self, shard: &str) -> String {
        let Ports { ingest, admin } = self;
        format!(
            "[server]\ningest.listen = \"127.0.0.1:{ingest}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n\n\
             [shard]\nname = \"{shard}\"\ndata_dir = \"data\"\nmin_free = \"64MiB\"\n\n"
        )
    }
}

/// A host with its config, its log and its two URLs.
pub struct Host {
    process: Option<Process>,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    /// Words before the host's own, as `strace` and its options.
    pub wrapper: Vec<String>,
    /// Environment of the process.
    pub variables: Vec<(String, String)>,
    /// URL of the ingest listener.
    pub ingest: String,
    /// URL of the admin listener.
    pub admin: String,
    /// For requests to it.
    pub client: Client,
}

impl Host {
    /// A host that is not started so far.
    pub fn new(binary: &Path, config: &Path, ports: &Ports, client: &Client) -> Host {
        Host {
            process: None,
            binary: binary.to_owned(),
            config: config.to_owned(),
            log: config.with_extension("log"),
            wrapper: Vec::new(),
            variables: Vec::new(),
            ingest: format!("http://127.0.0.1:{}", ports.ingest),
            admin: format!("http://127.0.0.1:{}", ports.admin),
            client: client.clone(),
        }
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut words = self.wrapper.iter();
        let mut command = match words.next() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.arg("serve").arg("-c").arg(&self.config).envs(self.variables.iter().cloned());
        self.process = Some(Process::start(command.stdout(log.try_clone()?).stderr(log))?);
        Ok(())
    }

    /// Starts it and waits until it is ready; answers how long that took.
    pub async fn start(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.launch()?;
        let ready = format!("{}/readyz", self.admin);
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                bail!("the host ended at its start ({status}); its log:\n{}", self.log_tail());
            }
            if self.client.get(&ready).await.is_ok_and(|answer| answer.status == 200) && self.is_itself().await {
                return Ok(begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the host was not ready after 60 s; its log:\n{}", self.log_tail())
    }

    /// Whether it is our process that answers: the port was free between two lives of it, and another host may
    /// have taken it. Who wants a token is believed.
    async fn is_itself(&self) -> bool {
        let Ok(answer) = self.client.get(&format!("{}/admin/v1/info", self.admin)).await else { return false };
        let told = answer.json().ok().and_then(|info| info["pid"].as_u64());
        answer.status == 401 || told.is_some() && told == self.process.as_ref().map(|process| u64::from(process.id()))
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// SIGTERM, and at most 40 s until it has ended by itself.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.as_ref().context("the host does not run")?.signal(Signal::TERM)?;
        self.ended(Duration::from_secs(40)).await
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, at_most: Duration) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("the host does not run")?;
        let begun = Instant::now();
        while begun.elapsed() < at_most {
            if let Some(status) = process.ended() {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the host had not ended after {} s; its log:\n{}", at_most.as_secs(), self.log_tail())
    }

    /// All that it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// A POST of records, with headers.
    pub async fn post(
        &self,
        namespace: &str,
        headers: &[(&str, &str)],
        value: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let url = format!("{}/v1/namespaces/{namespace}/records", self.ingest);
        self.client.send("POST", &url, headers, value.into()).await
    }

    /// A GET of the admin listener that must be 2xx.
    pub async fn admin_get(&self, path: &str) -> anyhow::Result<Value> {
        self.client.get(&format!("{}{path}", self.admin)).await?.success()
    }

    /// A request with JSON to the admin listener that must be 2xx.
    pub async fn admin_json(&self, method: &str, path: &str, value: &Value) -> anyhow::Result<Value> {
        self.client.json(method, &format!("{}{path}", self.admin), value).await
    }

    /// Uploads a component; answers its digest.
    pub async fn upload(&self, component: impl Into<Bytes>) -> anyhow::Result<String> {
        let url = format!("{}/admin/v1/plugins", self.admin);
        let headers = [("content-type", "application/wasm")];
        let answer = self.client.send("POST", &url, &headers, component.into()).await?.success()?;
        Ok(answer["digest"].as_str().context("an uploaded plugin has a digest")?.to_owned())
    }

    /// The sum of a metric over all its lines whose labels contain every one of `labels` (`target="a"`).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let answer = self.client.get(&format!("{}/metrics", self.admin)).await?;
        ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(sum(&String::from_utf8_lossy(&answer.text), name, labels))
    }

    /// The same, of a metric that must be there: no line is an error, not nothing.
    pub async fn sample(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let answer = self.client.get(&format!("{}/metrics", self.admin)).await?;
        ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        let text = String::from_utf8_lossy(&answer.text);
        ensure!(lines(&text, name, labels).next().is_some(), "/metrics has no {name} with {labels:?}");
        Ok(sum(&text, name, labels))
    }

    /// Waits until `holds` is true of what `ask` answers; the error shows the last answer.
    pub async fn until<T: std::fmt::Debug>(
        &self,
        what: &str,
        at_most: Duration,
        mut ask: impl AsyncFnMut(&Host) -> anyhow::Result<T>,
        holds: impl Fn(&T) -> bool,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let last = ask(self).await;
            if let Ok(answer) = &last
                && holds(answer)
            {
                return last;
            }
            ensure!(begun.elapsed() < at_most, "{what}: not after {} s; last seen: {last:?}", at_most.as_secs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The sum of a metric in Prometheus text over the lines with these labels.
pub fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    lines(text, name, labels).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The lines of a metric with these labels.
fn lines<'t>(text: &'t str, name: &str, labels: &[&str]) -> impl Iterator<Item = &'t str> {
    text.lines()
        .filter(move |line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(move |line| labels.iter().all(|label| line.contains(label)))
}
