//! A component in a sandbox of this command's own: the host's engine, limits and grants, nobody's data.
//!
//! In: a component, settings, grants, limits. Out: something that takes batches, and what it logged.

use super::{grants, pairs};
use crate::cli::arguments::GuestArguments;
use crate::cli::failure::Failure;
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use walhost_core::attempt::Fault;
use walhost_core::disk::OsDisk;
use walhost_core::plugin::{PluginInfo, PluginKind, PluginLimits, PluginSpec};
use walhost_core::time::SystemClock;
use walhost_core::{Clock, NamespaceName, Outcome, PluginLoader, Record, Target, TargetName, Transform, Verdict};
use walhost_plugin::{CallsSnapshot, LogLine, LogSink, PluginOptions, Plugins};

/// Keeps the guest's lines until they are printed.
#[derive(Default)]
struct Lines(Mutex<Vec<LogLine>>);

impl LogSink for Lines {
    fn line(&self, line: LogLine) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push(line);
        }
    }
}

/// Either kind of plugin.
pub enum Guest {
    Transform(Arc<dyn Transform>),
    Sink(Arc<dyn Target>),
}

/// What either kind says of a batch.
pub enum Said {
    Outcomes(Vec<Outcome>),
    Verdicts(Vec<Verdict>),
}

impl Guest {
    /// One answer for each record, or the fault of all of them.
    pub async fn run(&self, records: &[Record]) -> Result<Said, Fault> {
        match self {
            Guest::Transform(transform) => transform.apply(records).await.map(Said::Outcomes),
            Guest::Sink(target) => target.deliver(records).await.map(Said::Verdicts),
        }
    }
}

/// Where the guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the caller's task.
    Here,
    /// On threads of their own, as in the host.
    Threads,
}

/// A sandbox with one guest.
pub struct Sandbox {
    pub guest: Guest,
    pub info: PluginInfo,
    pub clock: Arc<dyn Clock>,
    plugins: Plugins,
    lines: Arc<Lines>,
    /// Holds the store until the end.
    _directory: tempfile::TempDir,
}

impl Sandbox {
    /// Compiles the component and makes its first instance.
    pub async fn open(component: Vec<u8>, arguments: &GuestArguments, place: Place) -> Result<Sandbox, Failure> {
        let lines = Arc::new(Lines::default());
        let directory = tempfile::tempdir()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let mut options = PluginOptions::small(directory.path().to_owned(), Arc::new(OsDisk), Arc::clone(&clock));
        options.log = Arc::clone(&lines) as Arc<dyn LogSink>;
        if place == Place::Threads {
            options.compute_threads = std::thread::available_parallelism().map_or(2, usize::from);
        }
        let plugins = Plugins::open(options)?;
        let refused = |error: walhost_core::Error| Failure::failed(error.detail().to_owned());
        let info = plugins.store(Bytes::from(component)).await.map_err(refused)?;
        let (Ok(namespace), Ok(target)) = (NamespaceName::new("test"), TargetName::new("test")) else {
            unreachable!("`test` is a name")
        };
        let spec = PluginSpec {
            digest: info.digest,
            namespace,
            target,
            settings: Value::Object(pairs(&arguments.settings)?),
            grants: grants(&arguments.allow, &arguments.cidr, &arguments.secrets)?,
            limits: limits(arguments)?,
        };
        let guest = match info.kind {
            PluginKind::Transform => plugins.transform(&spec).await.map(Guest::Transform),
            PluginKind::Sink => plugins.sink(&spec).await.map(Guest::Sink),
        };
        let guest = guest.map_err(|error| {
            let said = |line: &LogLine| format!("  log  {}  {}\n", line.level.as_str(), line.text);
            let said: String = lines.0.lock().map(|lines| lines.iter().map(said).collect()).unwrap_or_default();
            Failure::failed(format!("{said}{}", error.detail()))
        })?;
        Ok(Sandbox { guest, info, clock, plugins, lines, _directory: directory })
    }

    /// What the guest logged so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lines.0.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    /// The counters of its calls.
    pub fn calls(&self) -> Option<CallsSnapshot> {
        self.plugins.calls().first().map(|calls| calls.snapshot())
    }
}

/// The limits that were given; the others are the host's defaults.
pub fn limits(arguments: &GuestArguments) -> Result<PluginLimits, Failure> {
    let wrong = |error: String| Failure::usage(error);
    Ok(PluginLimits {
        memory: arguments.memory.as_deref().map(str::parse).transpose().map_err(wrong)?,
        deadline: arguments.deadline.as_deref().map(str::parse).transpose().map_err(wrong)?,
        ..PluginLimits::default()
    })
}
