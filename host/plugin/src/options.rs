//! What the host decides once for all plugins.
//!
//! In: paths, sizes, the clock, where log lines go. Out: `PluginOptions` for `Plugins::open`.

use crate::limits;
use std::path::PathBuf;
use std::sync::Arc;
use walhost_core::disk::Disk;
use walhost_core::{Clock, Digest, NamespaceName, TargetName};

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileIn {
    /// In a child process with limits of its own: this program with these arguments, which runs
    /// `compile_child_main`. The host names itself and `COMPILE_ARGUMENT`.
    Child {
        /// The program.
        program: PathBuf,
        /// What makes the program compile.
        arguments: Vec<String>,
    },
    /// On a thread of this process: for tests and for tools that hold nothing else.
    Process,
}

/// How loud a guest's line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// For the author while developing.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// As JSON and tables say it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// One line that a guest logged. Control characters are escaped, sizes are bounded (I44).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Whose plugin.
    pub namespace: NamespaceName,
    /// Whose plugin.
    pub target: TargetName,
    /// Which plugin.
    pub digest: Digest,
    /// How loud; standard output is `Info`, standard error `Warn`.
    pub level: LogLevel,
    /// What it said, fields appended as ` name=value`.
    pub text: String,
}

/// Takes the lines that guests log. Must not block.
pub trait LogSink: Send + Sync + 'static {
    /// One line; over the rate limit lines never come here, they are counted in `Calls`.
    fn line(&self, line: LogLine);

    /// Whether a line of this level would be kept; guests may ask before they build one.
    fn enabled(&self, level: LogLevel) -> bool {
        let _ = level;
        true
    }
}

/// Sends guests' lines to `tracing` under the target `plugin`.
#[derive(Debug, Default)]
pub struct TracingSink;

impl LogSink for TracingSink {
    fn line(&self, line: LogLine) {
        let (namespace, target, digest) = (line.namespace.as_str(), line.target.as_str(), line.digest.short());
        match line.level {
            LogLevel::Debug => {
                tracing::debug!(target: "plugin", namespace, slot_target = target, digest, "{}", line.text)
            }
            LogLevel::Info => {
                tracing::info!(target: "plugin", namespace, slot_target = target, digest, "{}", line.text)
            }
            LogLevel::Warn => {
                tracing::warn!(target: "plugin", namespace, slot_target = target, digest, "{}", line.text)
            }
            LogLevel::Error => {
                tracing::error!(target: "plugin", namespace, slot_target = target, digest, "{}", line.text)
            }
        }
    }
}

/// What the host decides once for all plugins.
#[derive(Clone)]
pub struct PluginOptions {
    /// Directory of the store: components and compiled code. Created when missing.
    pub dir: PathBuf,
    /// The disk that the directory is on.
    pub disk: Arc<dyn Disk>,
    /// Where components are compiled.
    pub compile_in: CompileIn,
    /// Threads that run guests, beside the runtime's own and below them in priority. 0: guests run on the
    /// caller's task, which gives way every `limits::TICK_US`.
    pub compute_threads: usize,
    /// Instances at once in the pooling allocator; 0: allocate on demand. Where the machine does not give
    /// the address space, it is halved until it does, then on demand.
    pub pool_instances: u32,
    /// The clock of deadlines and of guests' logs.
    pub clock: Arc<dyn Clock>,
    /// Where guests' log lines go.
    pub log: Arc<dyn LogSink>,
}

impl PluginOptions {
    /// Child process of this very program, a compute thread a core, lines to `tracing`.
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>, program: PathBuf, clock: Arc<dyn Clock>) -> PluginOptions {
        let arguments = vec![crate::compile::COMPILE_ARGUMENT.to_owned()];
        PluginOptions {
            dir,
            disk,
            compile_in: CompileIn::Child { program, arguments },
            compute_threads: std::thread::available_parallelism().map_or(2, usize::from),
            pool_instances: limits::POOL_INSTANCES,
            clock,
            log: Arc::new(TracingSink),
        }
    }

    /// For tests and tools: compiles in this process, runs guests on the caller's task, allocates on demand.
    pub fn small(dir: PathBuf, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> PluginOptions {
        PluginOptions {
            dir,
            disk,
            compile_in: CompileIn::Process,
            compute_threads: 0,
            pool_instances: 0,
            clock,
            log: Arc::new(TracingSink),
        }
    }
}
