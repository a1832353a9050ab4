//! `walhost bench`: the load generator.
//!
//! In: a namespace, a rate or none, a size, a time. Out: rates and latency histograms, to the
//! acknowledgement and, with a receiver of its own, to the delivery; what was lost and what came twice.
//!
//! With a rate the loop is open: every request has its time in a schedule, and its latency counts from
//! there, so that a host that stalls cannot hide it by slowing the generator. Without one each connection
//! sends as soon as it has its answer: the most that the host takes.
//!
//! One thread, requests built before they are sent, answers hardly parsed: the generator must not be what
//! is measured.

mod answer;
mod connection;
mod receiver;
mod report;
mod schedule;
mod value;

pub use report::Report;

use clap::Args;
use connection::Connection;
use report::Counts;
use schedule::Schedule;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use value::Values;
use walhost_core::config::{Duration as Wait, Size};
use walhost_core::time::SystemClock;
use walhost_core::{Clock, Random};

/// Connections at most: a file descriptor and a buffer each.
const CONNECTIONS_MAX: usize = 4_096;
/// Records of one request at most.
const BATCH_MAX: usize = walhost_core::limits::BATCH_RECORDS_MAX;
/// Records that one run tells apart: a bit each for acknowledged and delivered.
const RECORDS_MAX: u64 = 1 << 30;
/// Between two looks whether all deliveries have come.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is generated.
#[derive(Args, Clone, Debug)]
pub struct BenchArguments {
    /// The namespace.
    pub namespace: String,
    /// Records a second, as in `20000/s`; without it as many as the host takes.
    #[arg(long, value_parser = rate)]
    pub rate: Option<u64>,
    /// Size of each record's value.
    #[arg(long, default_value = "1KiB")]
    pub size: Size,
    /// For how long.
    #[arg(long, default_value = "10s")]
    pub duration: Wait,
    /// Connections; each has one request in flight.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Records of one request; more than 1 are sent as NDJSON.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Take deliveries at this address, to measure them: an http target of the namespace points at it.
    #[arg(long, value_name = "ADDRESS")]
    pub receive: Option<SocketAddr>,
    /// How long deliveries may come after the last record was sent.
    #[arg(long, default_value = "30s")]
    pub drain: Wait,
}

/// `20000/s` or `20000`.
fn rate(text: &str) -> Result<u64, String> {
    match text.strip_suffix("/s").unwrap_or(text).replace('_', "").parse() {
        Ok(rate) if rate > 0 => Ok(rate),
        _ => Err("write records a second, as in 20000/s".to_owned()),
    }
}

/// What all connections and the receiver share; one thread runs them all.
pub(crate) struct Run {
    clock: SystemClock,
    begun: Duration,
    values: Values,
    schedule: RefCell<Schedule>,
    counts: RefCell<Counts>,
}

impl Run {
    /// Microseconds since the run began.
    fn now_us(&self) -> u64 {
        u64::try_from(self.clock.monotonic().saturating_sub(self.begun).as_micros()).unwrap_or(u64::MAX)
    }
}

/// Generates the load that is asked for against an ingest listener (`http://host:port`).
pub async fn run(arguments: &BenchArguments, ingest_url: &str, token: Option<&str>) -> anyhow::Result<Report> {
    check(arguments)?;
    let address = resolve(ingest_url).await?;
    let clock = SystemClock::default();
    let begun = clock.monotonic();
    let size = usize::try_from(arguments.size.bytes())?;
    let duration_us = arguments.duration.ms() * 1_000;
    let run = Rc::new(Run {
        values: Values::new(Random::from_system().next_u64(), size)?,
        schedule: RefCell::new(Schedule::new(arguments.rate, arguments.batch as u64, duration_us)),
        counts: RefCell::new(Counts::new(arguments.receive.is_some())?),
        clock,
        begun,
    });
    let local = tokio::task::LocalSet::new();
    let head = connection::head(&arguments.namespace, ingest_url, token, arguments.batch);
    local
        .run_until(async {
            let receiver = match arguments.receive {
                Some(address) => Some(receiver::start(address, Rc::clone(&run)).await?),
                None => None,
            };
            let mut connections = Vec::with_capacity(arguments.connections);
            for _ in 0..arguments.connections {
                connections.push(Connection::open(address, &head, arguments.batch, Rc::clone(&run)).await?);
            }
            // The schedule begins when every connection stands.
            run.schedule.borrow_mut().begin(run.now_us());
            let started_us = run.now_us();
            let all = connections.into_iter().map(Connection::generate);
            futures_util::future::join_all(all).await;
            let sent_us = run.now_us() - started_us;
            if let Some(receiver) = receiver {
                await_deliveries(&run, arguments.drain.std()).await;
                receiver.abort();
            }
            Ok(report::Report::new(arguments, &run.counts.borrow(), sent_us))
        })
        .await
}

fn check(arguments: &BenchArguments) -> anyhow::Result<()> {
    anyhow::ensure!((1..=CONNECTIONS_MAX).contains(&arguments.connections), "--connections: 1 to {CONNECTIONS_MAX}");
    anyhow::ensure!((1..=BATCH_MAX).contains(&arguments.batch), "--batch: 1 to {BATCH_MAX}");
    anyhow::ensure!(arguments.duration.ms() > 0, "--duration: more than 0ms");
    let most = arguments.rate.unwrap_or(0).saturating_mul(arguments.duration.ms() / 1_000);
    anyhow::ensure!(most <= RECORDS_MAX, "--rate and --duration: more than {RECORDS_MAX} records together");
    Ok(())
}

async fn resolve(ingest_url: &str) -> anyhow::Result<SocketAddr> {
    let authority = ingest_url.strip_prefix("http://").unwrap_or(ingest_url).trim_end_matches('/');
    let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut found = tokio::net::lookup_host(&authority).await?;
    found.next().ok_or_else(|| anyhow::anyhow!("{authority} has no address"))
}

/// Waits until every acknowledged record has been delivered, or until nothing has come for so long.
async fn await_deliveries(run: &Run, drain: Duration) {
    let until = run.clock.monotonic() + drain;
    while run.clock.monotonic() < until && run.counts.borrow().missing() > 0 {
        run.clock.sleep(LOOK_INTERVAL).await;
    }
}

/// For whoever runs it on a runtime of its own.
pub fn run_alone(arguments: &BenchArguments, ingest_url: &str, token: Option<&str>) -> anyhow::Result<Report> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(arguments, ingest_url, token))
}

#[cfg(test)]
mod tests;
