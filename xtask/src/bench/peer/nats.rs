//! NATS: JetStream on files, a publish with an inbox for its acknowledgement.
//!
//! In: a directory, whether each answer waits for the sync. Out: a server of its own.

use crate::bench::peer::{Request, line, name, put, read_line};
use crate::bench::server::{Ask, Kind, Server, await_ready};
use crate::bench::settings::Settings;
use crate::tools;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::{Answer, Outcome, Speaker, Timeline, Values};
use walhost_tests::host::Process;
use walhost_tests::http::free_port;

/// nats-server, named, found or installed.
pub fn find(settings: &Settings) -> anyhow::Result<PathBuf> {
    match &settings.nats_server {
        Some(binary) => Ok(std::path::absolute(binary)?),
        None => tools::debian("nats-server", "nats-server", "3.5 MB"),
    }
}

/// Whether this version (2.10 and later) can sync before it answers.
pub fn can_sync(binary: &Path) -> anyhow::Result<bool> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("nats.conf");
    std::fs::write(&config, config_text(1, directory.path(), true))?;
    let mut command = Command::new(binary);
    command.arg("-t").arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status()?.success())
}

fn config_text(port: u16, directory: &Path, always: bool) -> String {
    let sync = if always { "sync_interval: always\n" } else { "" };
    format!(
        "host: \"127.0.0.1\"\nport: {port}\nping_interval: \"30m\"\nmax_payload: 8MB\njetstream {{\nstore_dir: {:?}\n\
         max_mem: 1GB\nmax_file: 200GB\n{sync}}}\n",
        directory.join("store")
    )
}

/// One server with its streams.
pub struct Nats {
    binary: PathBuf,
    directory: PathBuf,
    port: u16,
    always: bool,
    streams: u64,
    process: Option<Process>,
}

impl Nats {
    /// Not started.
    pub fn new(settings: &Settings, directory: &Path, always: bool, streams: u64) -> anyhow::Result<Nats> {
        let (binary, directory, port) = (find(settings)?, directory.to_owned(), free_port()?);
        std::fs::write(directory.join("nats.conf"), config_text(port, &directory, always))?;
        Ok(Nats { binary, directory, port, always, streams: streams.max(1), process: None })
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Ensures the streams: creating one that is there already changes nothing.
    fn ensure_streams(&self) -> anyhow::Result<bool> {
        let mut client = Client::connect(self.address())?;
        for stream in (0..self.streams).map(name) {
            let config = json!({ "name": stream, "subjects": [stream], "storage": "file", "retention": "limits",
                "discard": "old", "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0 });
            client.ask(&format!("$JS.API.STREAM.CREATE.{stream}"), &config)?;
        }
        Ok(true)
    }

    /// The first record of the first stream, delivered to a consumer made for it.
    pub fn first_delivery(&self) -> anyhow::Result<bool> {
        let mut client = Client::connect(self.address())?;
        let config = json!({ "stream_name": name(0), "config": { "deliver_subject": "bench.deliveries",
            "ack_policy": "explicit", "deliver_policy": "all", "max_ack_pending": 64 } });
        client.subscribe("bench.deliveries", 2)?;
        client.ask(&format!("$JS.API.CONSUMER.CREATE.{}", name(0)), &config)?;
        Ok(client.delivered || !client.next()?.1.is_empty())
    }
}

impl Server for Nats {
    fn name(&self) -> String {
        if self.always { Kind::NatsAlways } else { Kind::Nats }.label().to_owned()
    }

    fn start(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let log = std::fs::File::create(self.directory.join("server.log"))?;
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(self.directory.join("nats.conf")).stdout(Stdio::null()).stderr(log);
        self.process = Some(Process::start(&mut command)?);
        await_ready("nats-server", begun, Duration::from_secs(60), || self.ensure_streams())
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn id(&self) -> anyhow::Result<u32> {
        Ok(self.process.as_ref().context("nats-server runs")?.id())
    }

    fn drive(&self, ask: &Ask, timeline: &Timeline, values: &Arc<Values>) -> anyhow::Result<Outcome> {
        walhost_load::drive(&ask.load(self.address()), timeline, |number| Publisher::new(ask, number, values))
    }

    fn count(&self) -> anyhow::Result<u64> {
        let mut client = Client::connect(self.address())?;
        let mut held = 0;
        for stream in (0..self.streams).map(name) {
            let answer = client.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}))?;
            held += answer["state"]["messages"].as_u64().context("a stream has a count")?;
        }
        Ok(held)
    }

    fn commits(&self) -> anyhow::Result<Option<f64>> {
        Ok(None)
    }
}

/// Greets and subscribes to an inbox.
fn greet(stream: &mut TcpStream, inbox: &str) -> io::Result<()> {
    let info = read_line(stream)?;
    if !info.starts_with("INFO ") {
        return Err(io::Error::other("no NATS server"));
    }
    let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}";
    stream.write_all(format!("{hello}\r\nSUB {inbox} 1\r\nPING\r\n").as_bytes())?;
    loop {
        match read_line(stream)?.as_str() {
            "PONG" => return Ok(()),
            line if line.starts_with("-ERR") => return Err(io::Error::other(line.to_owned())),
            _ => {}
        }
    }
}

/// A client for administration, one request after another.
struct Client {
    stream: TcpStream,
    /// A record came while another answer was waited for.
    delivered: bool,
}

impl Client {
    fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        greet(&mut stream, "_INBOX.admin")?;
        Ok(Client { stream, delivered: false })
    }

    fn subscribe(&mut self, subject: &str, number: u32) -> io::Result<()> {
        self.stream.write_all(format!("SUB {subject} {number}\r\n").as_bytes())
    }

    fn ask(&mut self, subject: &str, question: &Value) -> anyhow::Result<Value> {
        let text = question.to_string();
        self.stream.write_all(format!("PUB {subject} _INBOX.admin {}\r\n{text}\r\n", text.len()).as_bytes())?;
        loop {
            let (number, content) = self.next()?;
            if number != "1" {
                self.delivered = true;
                continue;
            }
            let answer: Value = serde_json::from_slice(&content)?;
            // The API's error for a stream that is there with the same configuration does not exist: any is one.
            if !answer["error"].is_null() {
                bail!("NATS: {subject}: {}", answer["error"]);
            }
            return Ok(answer);
        }
    }

    /// The next content: its subscription and its bytes.
    fn next(&mut self) -> anyhow::Result<(String, Vec<u8>)> {
        loop {
            let line = read_line(&mut self.stream)?;
            if line == "PING" {
                self.stream.write_all(b"PONG\r\n")?;
            } else if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                let length: usize = line.rsplit(' ').next().unwrap_or_default().parse()?;
                let mut content = vec![0; length + 2];
                self.stream.read_exact(&mut content)?;
                content.truncate(length);
                let number = line.split(' ').nth(2).unwrap_or_default().to_owned();
                return Ok((number, content));
            } else if line.starts_with("-ERR") {
                bail!("NATS: {line}");
            }
        }
    }
}

/// A connection's publishes; several records of a request are several publishes in one write.
struct Publisher {
    request: Request,
    inbox: String,
    batch: usize,
    answered: usize,
}

impl Publisher {
    fn new(ask: &Ask, number: usize, values: &Arc<Values>) -> Publisher {
        let inbox = format!("_INBOX.{number}");
        let request = Request::new(ask, values, |bytes, value| {
            put(bytes, b"PUB ");
            let named = put(bytes, name(0).as_bytes());
            put(bytes, format!(" {inbox} {}\r\n", value.len()).as_bytes());
            let value_at = put(bytes, value).start;
            put(bytes, b"\r\n");
            (value_at, named)
        });
        Publisher { request, inbox, batch: ask.batch, answered: 0 }
    }
}

impl Speaker for Publisher {
    fn greet(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        greet(stream, &self.inbox)
    }

    fn stamp(&mut self, first: u64, at_us: u64) {
        self.answered = 0;
        self.request.stamp(first, at_us);
    }

    fn request(&self) -> &[u8] {
        self.request.bytes()
    }

    fn answer(&mut self, received: &[u8]) -> Answer {
        let mut taken = 0;
        while let Some((head_bytes, head)) = line(&received[taken..]) {
            if !head.starts_with(b"MSG ") {
                if head.starts_with(b"-ERR") {
                    return Answer::Garbled;
                }
                // INFO, PING: the server waits for no answer within a run.
                taken += head_bytes;
                continue;
            }
            let length = head.rsplit(|byte| *byte == b' ').next().and_then(|word| std::str::from_utf8(word).ok());
            let Some(length) = length.and_then(|word| word.parse::<usize>().ok()) else { return Answer::Garbled };
            let end = taken + head_bytes + length + 2;
            if received.len() < end {
                break;
            }
            // {"error":… or {"stream":"bench-0000", "seq":1}
            if received[taken + head_bytes..].starts_with(b"{\"error\"") {
                return Answer::Refused(received.len(), "nats-error".into());
            }
            taken = end;
            self.answered += 1;
        }
        if self.answered == self.batch { Answer::Done(taken) } else { Answer::More(taken) }
    }
}
