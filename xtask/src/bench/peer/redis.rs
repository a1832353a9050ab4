//! Redis: a stream, XADD, the append-only file.
//!
//! In: a directory, whether each answer waits for the sync. Out: a server of its own.

use crate::bench::peer::{Request, line, name, put, read_line};
use crate::bench::server::{Ask, Kind, Server, await_ready};
use crate::tools;
use anyhow::{Context, ensure};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::{Answer, Outcome, Speaker, Timeline, Values};
use walhost_tests::host::Process;
use walhost_tests::http::free_port;

/// redis-server, found or installed.
pub fn find() -> anyhow::Result<PathBuf> {
    tools::debian("redis-server", "redis-server", "1.5 MB")
}

/// One server.
pub struct Redis {
    directory: PathBuf,
    port: u16,
    always: bool,
    process: Option<Process>,
}

impl Redis {
    /// Not started; `always`: synced before the answer.
    pub fn new(directory: &Path, always: bool) -> anyhow::Result<Redis> {
        Ok(Redis { directory: directory.to_owned(), port: free_port()?, always, process: None })
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// One command in one line, one line of an answer.
    fn ask(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        Ok(read_line(&mut stream)?)
    }
}

impl Server for Redis {
    fn name(&self) -> String {
        if self.always { Kind::RedisAlways } else { Kind::RedisSecond }.label().to_owned()
    }

    fn start(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let log = std::fs::File::create(self.directory.join("server.log"))?;
        let mut command = Command::new(find()?);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--daemonize", "no", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", if self.always { "always" } else { "everysec" }]);
        // A rewrite of the file would begin in the middle of another row.
        command.args(["--auto-aof-rewrite-percentage", "0", "--dir"]).arg(&self.directory);
        self.process = Some(Process::start(command.stdout(log).stderr(Stdio::null()))?);
        await_ready("redis-server", begun, Duration::from_secs(60), || Ok(self.ask("PING")? == "+PONG"))
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn id(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("redis runs")?.id())
    }

    fn drive(&self, ask: &Ask, timeline: &Timeline, values: &Arc<Values>) -> anyhow::Result<Outcome> {
        walhost_load::drive(&ask.load(self.address()), timeline, |_| Resp::new(ask, values))
    }

    fn count(&self) -> anyhow::Result<u64> {
        // Every key is one of the streams.
        let keys: u64 = integer(&self.ask("DBSIZE")?)?;
        (0..keys).map(|number| integer(&self.ask(&format!("XLEN {}", name(number)))?)).sum()
    }

    fn commits(&self) -> anyhow::Result<Option<f64>> {
        Ok(None)
    }
}

fn integer(answer: &str) -> anyhow::Result<u64> {
    let digits = answer.strip_prefix(':');
    ensure!(digits.is_some(), "Redis answered {answer}");
    digits.unwrap_or_default().parse().context("an integer")
}

/// A connection's XADDs, pipelined when a request has several records.
struct Resp {
    request: Request,
    batch: usize,
    answered: usize,
}

impl Resp {
    fn new(ask: &Ask, values: &Arc<Values>) -> Resp {
        let request = Request::new(ask, values, |bytes, value| {
            let key = name(0);
            put(bytes, format!("*5\r\n$4\r\nXADD\r\n${}\r\n", key.len()).as_bytes());
            let named = put(bytes, key.as_bytes());
            put(bytes, format!("\r\n$1\r\n*\r\n$1\r\nv\r\n${}\r\n", value.len()).as_bytes());
            let value_at = put(bytes, value).start;
            put(bytes, b"\r\n");
            (value_at, named)
        });
        Resp { request, batch: ask.batch, answered: 0 }
    }
}

impl Speaker for Resp {
    fn greet(&mut self, _: &mut TcpStream) -> io::Result<()> {
        self.answered = 0;
        Ok(())
    }

    fn stamp(&mut self, first: u64, at_us: u64) {
        self.answered = 0;
        self.request.stamp(first, at_us);
    }

    fn request(&self) -> &[u8] {
        self.request.bytes()
    }

    fn answer(&mut self, received: &[u8]) -> Answer {
        // Each answer is an id: `$15`, then its text.
        let mut taken = 0;
        while let Some((first, head)) = line(&received[taken..]) {
            match head.first() {
                Some(b'$') => {}
                Some(b'-') => return Answer::Refused(received.len(), "redis-error".into()),
                _ => return Answer::Garbled,
            }
            let Some((second, _)) = line(&received[taken + first..]) else { break };
            taken += first + second;
            self.answered += 1;
        }
        if self.answered == self.batch { Answer::Done(taken) } else { Answer::More(taken) }
    }
}
