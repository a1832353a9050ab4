//! From a configuration to a host that serves, and to its orderly end.
//!
//! In: where the configuration is. Out: an exit code; a refusal says in a sentence what is in the way.

use crate::builtin::{self, Backends};
use crate::catalogue::Catalogue;
use crate::catalogue::audit::Audit;
use crate::config::Kinds;
use crate::config::model::{Listener, Model};
use crate::drain::Drain;
use crate::host::{Addresses, Directory, Host, task::Tasks};
use crate::http::admin::Admin;
use crate::http::budget::Budget;
use crate::http::connection::Timeouts;
use crate::http::ingest::Ingest;
use crate::http::ingest::body::Reading;
use crate::http::listener::{self, Policy};
use crate::limits::{ADMIN_BYTES_MAX, IN_FLIGHT_BYTES_MAX, REQUESTS_MAX};
use crate::telemetry::Metrics;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use walhost_core::disk::{Disk, Lock, OsDisk};
use walhost_core::time::SystemClock;
use walhost_core::{Clock, Random, ShardName, exec};
use walhost_embedded::{Embedded, EmbeddedOptions};
use walhost_plugin::{PluginOptions, Plugins};

/// What `walhost serve` and `walhost dev` hand over.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The configuration, read and checked.
    pub model: Model,
    /// Where it was read from, for reloads; none: there is nothing to reload.
    pub config_path: Option<PathBuf>,
    /// The shard that this process serves, whatever the files say, now and after every reload.
    pub shard: Option<ShardName>,
}

/// A host that serves.
pub struct Serving {
    /// The host.
    pub host: Arc<Host>,
    ingest: tokio::task::JoinHandle<()>,
    admin: tokio::task::JoinHandle<()>,
    drain_timeout: Duration,
    _lock: Box<dyn Lock>,
}

/// Exit code after an orderly end.
const DONE: i32 = 0;
/// Exit code after a second signal, or when the drain's time was up.
const CUT: i32 = 1;

/// Serves until SIGTERM or SIGINT; answers the exit code. Blocks; makes its own runtime.
pub fn run(options: ServeOptions) -> anyhow::Result<i32> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("walhost").build()?;
    let code = runtime.block_on(async {
        // Heard from the first moment on: a stop while the log is read ends as a stop.
        let mut signals = Signals::new()?;
        let serving = tokio::select! {
            serving = start(options) => serving?,
            () = signals.stop() => {
                tracing::info!("told to stop before it served");
                return Ok(DONE);
            }
        };
        tracing::info!(
            ingest = %serving.host.addresses.ingest,
            admin = %serving.host.addresses.admin,
            data_dir = %serving.host.model.load().shard.data_dir.display(),
            "walhost {} serves",
            env!("CARGO_PKG_VERSION")
        );
        until_signal(serving, signals).await
    })?;
    // What hangs (a plugin's thread, a name server) does not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(code)
}

/// The signals that a host hears.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?,
            hangup: signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn until_signal(serving: Serving, mut signals: Signals) -> anyhow::Result<i32> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {
                match serving.host.reload().await {
                    Ok(diff) => tracing::info!(%diff, "the configuration was read again"),
                    Err(problem) => tracing::error!("the configuration was not taken over: {}", problem.detail),
                }
            }
        }
    }
    tracing::info!("the host drains; a second signal ends it at once");
    tokio::select! {
        code = stop(serving) => Ok(code),
        () = signals.stop() => Ok(CUT),
    }
}

/// Opens everything in its order: lock, log, sandbox, catalogue, listeners, namespaces.
pub async fn start(options: ServeOptions) -> anyhow::Result<Serving> {
    let ServeOptions { mut model, config_path, shard } = options;
    if let Some(shard) = &shard {
        model.shard.name = Some(shard.clone());
    }
    for (name, listener) in [("ingest", &model.server.ingest), ("admin", &model.server.admin)] {
        may_listen(name, listener)?;
    }
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random = Arc::new(Random::from_system());
    let data_dir = model.shard.data_dir.clone();
    let lock = take_directory(&*disk, &data_dir)?;
    // Bound before the log is read: a port that is taken is said at once.
    let ingest_listener = bind("ingest", model.server.ingest.listen).await?;
    let admin_listener = bind("admin", model.server.admin.listen).await?;
    let addresses = Addresses { ingest: ingest_listener.local_addr()?, admin: admin_listener.local_addr()? };
    let (requests, asked) = tokio::sync::mpsc::channel(REQUESTS_MAX);
    let embedded = {
        let mut options = EmbeddedOptions::new(data_dir.clone());
        options.min_free_bytes = model.shard.min_free.bytes();
        options.progress = Some(crate::opening::progress(Arc::clone(&clock)));
        let (disk, clock, random) = (Arc::clone(&disk), Arc::clone(&clock), Arc::clone(&random));
        let runtime = tokio::runtime::Handle::current();
        let opened = exec::blocking(move || {
            // Its housekeeper runs on this runtime.
            let _entered = runtime.enter();
            Embedded::open(options, disk, clock, random)
        });
        opened.await?.map_err(|error| anyhow::anyhow!("{error}"))?
    };
    let program = std::env::current_exe().context("this program's own path cannot be found")?;
    let plugin_options = PluginOptions::new(data_dir.join("plugins"), Arc::clone(&disk), program, Arc::clone(&clock));
    let plugins =
        exec::blocking(move || Plugins::open(plugin_options)).await?.map_err(|error| anyhow::anyhow!("{error}"))?;
    let catalogue =
        Catalogue::open(Arc::clone(&disk), &data_dir.join("catalogue")).map_err(|error| anyhow::anyhow!("{error}"))?;
    let audit = Audit::open(&*disk, &data_dir.join("audit.jsonl")).map_err(|error| anyhow::anyhow!("{error}"))?;
    let kinds: Kinds = builtin::kinds();
    let host = Arc::new(Host {
        directory: ArcSwap::from_pointee(Directory::default()),
        metrics: Arc::new(Metrics::default()),
        drain: Drain::default(),
        budget: Budget::new(IN_FLIGHT_BYTES_MAX),
        backends: Backends::open(Arc::clone(&embedded), &clock).map_err(|error| anyhow::anyhow!("{error}"))?,
        embedded,
        plugins: Arc::new(plugins),
        catalogue,
        audit: Arc::new(audit),
        kinds,
        model: ArcSwap::from_pointee(model.clone()),
        config_path,
        shard,
        reload_succeeded: AtomicBool::new(true),
        started_at: clock.monotonic(),
        started_at_ms: clock.now_ms(),
        addresses,
        tasks: Tasks::default(),
        requests,
        control: tokio::sync::Mutex::new(()),
        started: AtomicBool::new(false),
        clock,
        random,
    });
    let drain_timeout = model.server.drain_timeout.std();
    // Health is served from here on: not ready until every namespace runs.
    let admin = listen_admin(&host, admin_listener, &model.server.admin);
    exec::task(Arc::clone(&host).serve_requests(asked));
    open_namespaces(&host, model.clone()).await?;
    host.resume_interrupted_tasks().await.map_err(|problem| anyhow::anyhow!("{}", problem.detail))?;
    let ingest = listen_ingest(&host, ingest_listener, &model.server.ingest);
    host.started.store(true, Ordering::Release);
    if let Some(path) = host.config_path.clone() {
        let kinds = host.kinds.clone();
        if let Ok(Ok(loaded)) = exec::blocking(move || crate::config::load(&path, &kinds)).await {
            exec::task(Arc::clone(&host).watch(loaded.files));
        }
    }
    Ok(Serving { host, ingest, admin, drain_timeout, _lock: lock })
}

async fn open_namespaces(host: &Arc<Host>, model: Model) -> anyhow::Result<()> {
    let refusals = host.apply(model).await.map_err(|problem| anyhow::anyhow!("{}", problem.detail))?;
    host.reload_succeeded.store(refusals.is_empty(), Ordering::Relaxed);
    for orphan in host.embedded.orphans() {
        let name = orphan.name.as_ref().map_or("(its name is lost)", |name| name.as_str());
        tracing::warn!(
            namespace = name,
            records = orphan.records,
            dead_letters = orphan.dead_letters,
            "the log has records of a namespace that no configuration names: they are kept"
        );
    }
    Ok(())
}

/// Drains and closes; answers the exit code.
pub async fn stop(serving: Serving) -> i32 {
    let Serving { host, ingest, admin, drain_timeout, _lock } = serving;
    let clock = Arc::clone(&host.clock);
    host.drain.begin();
    // Bodies that have not come after most of the time are refused, so that even they get an answer.
    let hurry = {
        let (drain, clock) = (host.drain.clone(), Arc::clone(&clock));
        exec::task(async move {
            clock.sleep(drain_timeout.mul_f32(0.6)).await;
            drain.hurry();
            clock.sleep(drain_timeout.mul_f32(0.2)).await;
            drain.end();
        })
    };
    let begun = clock.monotonic();
    let orderly = async {
        drop(ingest.await);
        let left = drain_timeout.mul_f32(0.9).saturating_sub(clock.monotonic().saturating_sub(begun));
        stop_workers(&host, left).await;
        let closed = host.embedded.close().await;
        if let Err(error) = &closed {
            tracing::error!("the log was not closed in order, the next start replays it: {error}");
        }
        host.drain.end();
        drop(admin.await);
        closed.is_ok()
    };
    let code = tokio::select! {
        closed = orderly => if closed { DONE } else { CUT },
        () = clock.sleep(drain_timeout + Duration::from_secs(1)) => {
            tracing::error!("the drain's time is up: what is left ends like a crash");
            CUT
        }
    };
    hurry.abort();
    if code == DONE {
        tracing::info!("drained");
    }
    code
}

async fn stop_workers(host: &Host, left: Duration) {
    let directory = host.directory.load_full();
    let stopping = directory.iter().flat_map(|running| running.targets.values()).map(|target| target.worker.stop(left));
    futures_util::future::join_all(stopping).await;
}

/// I38: nothing is served without authentication but on loopback.
fn may_listen(name: &str, listener: &Listener) -> anyhow::Result<()> {
    if listener.tls.is_some() {
        bail!(
            "server.{name}.tls is set: this version does not serve TLS; put a proxy before it and listen on loopback"
        );
    }
    if !listener.listen.ip().is_loopback() && listener.tokens.is_none() {
        bail!(
            "server.{name}.listen = \"{}\" is not a loopback address and server.{name}.tokens is not set: \
             it would serve everybody. Set tokens, or listen on 127.0.0.1",
            listener.listen
        );
    }
    Ok(())
}

/// I8: one writer a data directory.
fn take_directory(disk: &dyn Disk, data_dir: &Path) -> anyhow::Result<Box<dyn Lock>> {
    disk.create_dir_all(data_dir).with_context(|| format!("{} cannot be made", data_dir.display()))?;
    match disk.lock(&data_dir.join("lock")) {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            bail!("the data directory {} is in use by another process", data_dir.display())
        }
        Err(error) => Err(error).with_context(|| format!("the data directory {} cannot be locked", data_dir.display())),
    }
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = || -> std::io::Result<TcpListener> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(crate::limits::ACCEPT_QUEUE)?;
        TcpListener::from_std(socket.into())
    };
    bound().with_context(|| format!("server.{name}.listen = \"{address}\" cannot be bound"))
}

fn policy(listener: &Listener) -> Policy {
    let limits = &listener.limits;
    let timeouts = Timeouts { head: limits.header.std(), idle: limits.idle.std(), progress: limits.body.std() };
    Policy { connections_max: limits.connections, timeouts }
}

fn reading(host: &Host, budget: Arc<Budget>, listener: &Listener) -> Reading {
    Reading { budget, progress: listener.limits.body.std(), clock: Arc::clone(&host.clock) }
}

fn listen_ingest(host: &Arc<Host>, listener: TcpListener, settings: &Listener) -> tokio::task::JoinHandle<()> {
    let reading = reading(host, Arc::clone(&host.budget), settings);
    let service = Arc::new(Ingest { host: Arc::clone(host), reading });
    exec::task(listener::serve(listener, service, policy(settings), host.drain.clone(), Arc::clone(&host.clock)))
}

fn listen_admin(host: &Arc<Host>, listener: TcpListener, settings: &Listener) -> tokio::task::JoinHandle<()> {
    let reading = reading(host, Budget::new(ADMIN_BYTES_MAX), settings);
    let service = Arc::new(Admin { host: Arc::clone(host), reading });
    exec::task(listener::serve(listener, service, policy(settings), host.drain.clone(), Arc::clone(&host.clock)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn listener(listen: &str) -> Listener {
        Listener { listen: listen.parse().unwrap(), limits: Default::default(), tokens: None, tls: None }
    }

    #[test]
    fn i38_a_listener_that_everybody_reaches_needs_tokens() {
        assert!(may_listen("ingest", &listener("127.0.0.1:0")).is_ok());
        assert!(may_listen("ingest", &listener("[::1]:0")).is_ok());
        for open in ["0.0.0.0:7070", "[::]:7070", "10.0.0.1:7070"] {
            let refused = may_listen("ingest", &listener(open)).unwrap_err().to_string();
            assert!(refused.contains("tokens") && refused.contains(open), "{refused}");
        }
    }

    #[test]
    fn i08_a_directory_in_use_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let _held = take_directory(&OsDisk, dir.path()).unwrap();
        let refused = take_directory(&OsDisk, dir.path()).err().unwrap().to_string();
        assert!(refused.contains("in use"), "{refused}");
    }
}
