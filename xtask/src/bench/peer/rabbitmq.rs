//! RabbitMQ: a quorum queue and publisher confirms, which come after the sync.
//!
//! In: a directory. Out: a server of its own, with an epmd of its own, both on loopback.

use crate::bench::peer::{amqp, name};
use crate::bench::server::{Ask, Kind, Server, await_ready};
use crate::tools;
use anyhow::Context;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::{Outcome, Timeline, Values};
use walhost_tests::host::Process;
use walhost_tests::http::free_port;

/// The server's own script: the one on `PATH` insists on the system's user and directories.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// rabbitmq-server, found or installed.
pub fn find() -> anyhow::Result<PathBuf> {
    if !Path::new(SCRIPT).is_file() {
        tools::debian("rabbitmq-server", "rabbitmq-server", "45 MB with Erlang")?;
    }
    tools::find("epmd").context("Erlang's epmd is not installed")?;
    Ok(SCRIPT.into())
}

/// One server with its queues.
pub struct Rabbit {
    directory: PathBuf,
    port: u16,
    distribution: u16,
    names: u16,
    queues: u64,
    /// Erlang's register of names, in the foreground so that it ends with us.
    epmd: Option<Process>,
    process: Option<Process>,
}

impl Rabbit {
    /// Not started.
    pub fn new(directory: &Path, queues: u64) -> anyhow::Result<Rabbit> {
        let (port, distribution, names) = (free_port()?, free_port()?, free_port()?);
        std::fs::write(
            directory.join("rabbitmq.conf"),
            format!(
                "listeners.tcp.1 = 127.0.0.1:{port}\nlog.file.level = error\ndisk_free_limit.absolute = 64MB\n\
                 vm_memory_high_watermark.relative = 0.6\n"
            ),
        )?;
        std::fs::write(directory.join("enabled_plugins"), "[].\n")?;
        let (epmd, process) = (None, None);
        Ok(Rabbit { directory: directory.to_owned(), port, distribution, names, queues: queues.max(1), epmd, process })
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        amqp::open(&mut stream)?;
        Ok(stream)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Waits for one delivery.
    pub fn first_delivery(&self) -> anyhow::Result<bool> {
        amqp::first_delivery(&mut self.connect()?, &name(0))?;
        Ok(true)
    }

    fn command(&self) -> anyhow::Result<Command> {
        let at = |name: &str| self.directory.join(name);
        let mut command = Command::new(find()?);
        // Without these it would become a child of the script, and would outlive it.
        command.env("RUNNING_UNDER_SYSTEMD", "true").env_remove("NOTIFY_SOCKET");
        command.env("HOME", &self.directory).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("ERL_EPMD_PORT", self.names.to_string());
        command.env("RABBITMQ_NODENAME", "bench@localhost").env("RABBITMQ_DIST_PORT", self.distribution.to_string());
        command.env("RABBITMQ_CONF_ENV_FILE", at("none")).env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"));
        command.env("RABBITMQ_MNESIA_BASE", at("data")).env("RABBITMQ_LOG_BASE", at("logs"));
        command.env("RABBITMQ_PID_FILE", at("pid"));
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        Ok(command)
    }
}

impl Server for Rabbit {
    fn name(&self) -> String {
        Kind::RabbitQuorum.label().to_owned()
    }

    fn start(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        if self.epmd.is_none() {
            let mut epmd = Command::new("epmd");
            epmd.args(["-address", "127.0.0.1", "-port", &self.names.to_string()]);
            self.epmd = Some(Process::start(epmd.stdout(Stdio::null()).stderr(Stdio::null()))?);
        }
        let log = std::fs::File::create(self.directory.join("server.log"))?;
        self.process = Some(Process::start(self.command()?.stdout(log.try_clone()?).stderr(log))?);
        await_ready("rabbitmq-server", begun, Duration::from_secs(60), || {
            let mut stream = self.connect()?;
            for number in 0..self.queues {
                amqp::declare(&mut stream, &name(number))?;
            }
            Ok(true)
        })
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn id(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("rabbitmq-server runs")?.id())
    }

    fn drive(&self, ask: &Ask, timeline: &Timeline, values: &Arc<Values>) -> anyhow::Result<Outcome> {
        walhost_load::drive(&ask.load(self.address()), timeline, |_| amqp::Publisher::new(ask, values))
    }

    fn count(&self) -> anyhow::Result<u64> {
        let mut stream = self.connect()?;
        let mut held = 0;
        for number in 0..self.queues {
            held += amqp::declare(&mut stream, &name(number))?;
        }
        Ok(held)
    }

    fn commits(&self) -> anyhow::Result<Option<f64>> {
        Ok(None)
    }
}
