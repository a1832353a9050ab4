//! `walhost bench`: the load generator.
//!
//! In: a namespace, a rate or none, a size, a time. Out: rates and latency histograms, to the
//! acknowledgement and, with a receiver of its own, to the delivery; what was lost and what came twice.
//!
//! With a rate the loop is open: every request has its time in a schedule, and its latency counts from
//! there, so that a host that stalls cannot hide it by slowing the generator. Without one each connection
//! sends as soon as it has its answer: the most that the host takes.
//!
//! The engine is `walhost-load`, which the project's benchmarks use for walhost and its peers alike.

mod report;

pub use report::Report;

use clap::Args;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use walhost_core::config::{Duration as Wait, Size};
use walhost_core::time::SystemClock;
use walhost_core::{Clock, Random, exec};
use walhost_load::http::{Http, HttpSpeaker};
use walhost_load::{Load, Outcome, RECORDS_MAX, Receiver, Timeline, Values};

/// Connections at most: a file descriptor and a buffer each.
const CONNECTIONS_MAX: usize = 4_096;
/// Records of one request at most.
const BATCH_MAX: usize = walhost_core::limits::BATCH_RECORDS_MAX;
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

/// Generates the load that is asked for against an ingest listener (`http://host:port`).
pub async fn run(arguments: &BenchArguments, ingest_url: &str, token: Option<&str>) -> anyhow::Result<Report> {
    check(arguments)?;
    let (arguments, ingest_url, token) = (arguments.clone(), ingest_url.to_owned(), token.map(str::to_owned));
    let timeline = Timeline::default();
    let size = usize::try_from(arguments.size.bytes())?;
    let values = Arc::new(Values::new(Random::from_system().next_u64(), size)?);
    let receiver = arguments.receive.map(|address| Receiver::start(address, &values, &timeline)).transpose()?;
    let asked = arguments.clone();
    let outcome = exec::blocking(move || generate(&asked, &ingest_url, token, &values, &timeline)).await??;
    let seen = match receiver {
        Some(receiver) => {
            await_deliveries(&receiver, &outcome, arguments.drain.std()).await;
            Some(receiver.seen())
        }
        None => None,
    };
    Ok(Report::new(&arguments, outcome, seen))
}

fn generate(
    asked: &BenchArguments,
    ingest_url: &str,
    token: Option<String>,
    values: &Arc<Values>,
    timeline: &Timeline,
) -> anyhow::Result<Outcome> {
    let authority = ingest_url.strip_prefix("http://").unwrap_or(ingest_url).trim_end_matches('/');
    let http = Http {
        host: authority.to_owned(),
        namespace: asked.namespace.clone(),
        token,
        batch: asked.batch,
        ..Http::default()
    };
    let load = Load {
        address: resolve(authority)?,
        connections: asked.connections,
        batch: asked.batch,
        rate: asked.rate,
        duration: asked.duration.std(),
        // What is late is sent all the same, however long that takes.
        patience: Duration::MAX,
        first: 0,
    };
    walhost_load::drive(&load, timeline, |_| HttpSpeaker::new(&http, values))
}

fn check(arguments: &BenchArguments) -> anyhow::Result<()> {
    anyhow::ensure!((1..=CONNECTIONS_MAX).contains(&arguments.connections), "--connections: 1 to {CONNECTIONS_MAX}");
    anyhow::ensure!((1..=BATCH_MAX).contains(&arguments.batch), "--batch: 1 to {BATCH_MAX}");
    anyhow::ensure!(arguments.duration.ms() > 0, "--duration: more than 0ms");
    let most = arguments.rate.unwrap_or(0).saturating_mul(arguments.duration.ms() / 1_000);
    anyhow::ensure!(most <= RECORDS_MAX, "--rate and --duration: more than {RECORDS_MAX} records together");
    Ok(())
}

fn resolve(authority: &str) -> anyhow::Result<SocketAddr> {
    let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    authority.to_socket_addrs()?.next().ok_or_else(|| anyhow::anyhow!("{authority} has no address"))
}

/// Waits until every acknowledged record has been delivered, or until so much time has passed.
async fn await_deliveries(receiver: &Receiver, outcome: &Outcome, drain: Duration) {
    let clock = SystemClock::default();
    while clock.monotonic() < drain && receiver.missing(&outcome.acknowledged) > 0 {
        clock.sleep(LOOK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests;
