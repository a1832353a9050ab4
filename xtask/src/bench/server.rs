//! What is measured: walhost or a server beside it, behind one face.
//!
//! In: a directory of its own. Out: a running server that takes records and says how many it holds.

use crate::bench::settings::{Peers, Settings};
use crate::bench::{peer, stage};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::{Load, Outcome, Timeline, Values};

/// One load on a server.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Requests outstanding, each on a connection of its own.
    pub outstanding: usize,
    /// Records of each request.
    pub batch: usize,
    /// Records a second; none: as many as it takes.
    pub rate: Option<u64>,
    /// For how long.
    pub duration: Duration,
    /// Namespaces, topics or streams that take the requests in turn.
    pub streams: u64,
    /// Number of the first record.
    pub first: u64,
}

impl Ask {
    /// For the engine.
    pub fn load(&self, address: SocketAddr) -> Load {
        Load {
            address,
            connections: self.outstanding,
            batch: self.batch,
            rate: self.rate,
            duration: self.duration,
            patience: self.duration,
            first: self.first,
        }
    }
}

/// A server that keeps records on disk. It ends when it is dropped.
pub trait Server {
    /// As it stands in the table.
    fn name(&self) -> String;

    /// Starts on its data and returns when it takes records; answers how long that took.
    fn start(&mut self) -> anyhow::Result<Duration>;

    /// kill -9.
    fn kill(&mut self);

    /// Its process.
    fn id(&self) -> anyhow::Result<u32>;

    /// Drives a load on it, on the calling thread.
    fn drive(&self, ask: &Ask, timeline: &Timeline, values: &Arc<Values>) -> anyhow::Result<Outcome>;

    /// How many records it holds in all its streams.
    fn count(&self) -> anyhow::Result<u64>;

    /// Group commits so far, where it says.
    fn commits(&self) -> anyhow::Result<Option<f64>>;
}

/// A kind of server, to be made anew in a fresh directory for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Walhost,
    RedisAlways,
    RedisSecond,
    Nats,
    NatsAlways,
    RabbitQuorum,
}

impl Kind {
    /// All that are asked for and that this machine has or can install, synced ones first; the rest are said
    /// to be missing.
    pub fn all(settings: &Settings) -> Vec<Kind> {
        let mut kinds = vec![Kind::Walhost];
        let mut add = |peer, ready: &dyn Fn() -> anyhow::Result<Vec<Kind>>| {
            if settings.wants(peer) {
                match ready() {
                    Ok(found) => kinds.extend(found),
                    Err(missing) => settings.say(&format!("{missing:#}")),
                }
            }
        };
        add(Peers::Redis, &|| peer::redis::find().map(|_| vec![Kind::RedisAlways, Kind::RedisSecond]));
        add(Peers::Nats, &|| {
            let binary = peer::nats::find(settings)?;
            let mut found = vec![Kind::Nats];
            if peer::nats::can_sync(&binary)? {
                found.insert(0, Kind::NatsAlways);
            }
            Ok(found)
        });
        add(Peers::Rabbitmq, &|| peer::rabbitmq::find().map(|_| vec![Kind::RabbitQuorum]));
        kinds
    }

    /// Whether its acknowledgement says that the record is synced.
    pub fn syncs(&self) -> bool {
        !matches!(self, Kind::RedisSecond | Kind::Nats)
    }

    /// As it stands in a table.
    pub fn label(&self) -> &'static str {
        match self {
            Kind::Walhost => "walhost",
            Kind::RedisAlways => "Redis stream, appendfsync always",
            Kind::RedisSecond => "Redis stream, appendfsync everysec",
            Kind::Nats => "NATS JetStream, file store",
            Kind::NatsAlways => "NATS JetStream, sync_interval always",
            Kind::RabbitQuorum => "RabbitMQ quorum queue, confirms",
        }
    }

    /// What its acknowledgement says.
    pub fn promise(&self) -> &'static str {
        if self.syncs() { "synced" } else { "**not yet synced**" }
    }

    /// Makes one with so many streams, not started.
    pub fn make(
        &self,
        settings: &Settings,
        binary: &Path,
        directory: &Path,
        streams: u64,
    ) -> anyhow::Result<Box<dyn Server>> {
        std::fs::create_dir_all(directory)?;
        Ok(match self {
            Kind::Walhost => Box::new(stage::Stage::ingest(binary, directory, streams)?),
            Kind::RedisAlways => Box::new(peer::redis::Redis::new(directory, true)?),
            Kind::RedisSecond => Box::new(peer::redis::Redis::new(directory, false)?),
            Kind::Nats => Box::new(peer::nats::Nats::new(settings, directory, false, streams)?),
            Kind::NatsAlways => Box::new(peer::nats::Nats::new(settings, directory, true, streams)?),
            Kind::RabbitQuorum => Box::new(peer::rabbitmq::Rabbit::new(directory, streams)?),
        })
    }
}

/// Waits until `ready` says so, at most so long; answers how long it took since `begun`.
pub fn await_ready(
    what: &str,
    begun: Instant,
    at_most: Duration,
    mut ready: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    loop {
        let last = ready();
        if matches!(last, Ok(true)) {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(
            begun.elapsed() < at_most,
            "{what} was not ready after {} s: {}",
            at_most.as_secs(),
            last.err().map_or_else(|| "not yet".to_owned(), |error| format!("{error:#}"))
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
