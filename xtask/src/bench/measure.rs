//! One run of one load on one server, with what it cost; and the check that voids it.
//!
//! In: a running server and what to ask of it. Out: figures; medians of several.

use crate::bench::cost;
use crate::bench::server::{Ask, Server};
use crate::bench::table::{Cell, ms, number};
use anyhow::ensure;
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::{Latency, Timeline, Values};

/// Bytes of a record's value.
pub const VALUE_BYTES: usize = 1_024;

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Acknowledged ones.
    pub records: u64,
    /// Of those.
    pub records_per_second: f64,
    /// To the acknowledgement of a request.
    pub latency: Latency,
    /// How late the generator itself was, at a rate.
    pub late: Latency,
    /// Processor time of the server for each record.
    pub cpu_us: f64,
    /// Processor time of the generator for each record.
    pub generator_us: f64,
    /// Memory of the server.
    pub resident_mib: f64,
    /// Where the server says it.
    pub records_per_commit: Option<f64>,
    /// Records that the rate asked for and that could not be sent.
    pub unsent: u64,
    /// Number of the next record.
    pub next: u64,
}

/// Drives the load and takes the figures. A refused record voids it.
pub fn run(server: &dyn Server, ask: &Ask, timeline: &Timeline, values: &Arc<Values>) -> anyhow::Result<Run> {
    let id = server.id()?;
    let before = (cost::cpu_us(id)?, server.commits()?);
    let outcome = server.drive(ask, timeline, values)?;
    let after = (cost::cpu_us(id)?, server.commits()?);
    ensure!(outcome.refused.is_empty(), "{}: refused records void the run: {:?}", server.name(), outcome.refused);
    let records = outcome.acknowledged.count();
    ensure!(records > 0, "{}: not one record was acknowledged", server.name());
    let commits = before.1.zip(after.1).map(|(before, after)| after - before).filter(|commits| *commits > 0.0);
    Ok(Run {
        records,
        records_per_second: outcome.records_per_second(),
        latency: outcome.latency,
        late: outcome.late,
        cpu_us: (after.0 - before.0) / records as f64,
        generator_us: outcome.cpu_us_per_record(),
        resident_mib: cost::resident_mib(id)?,
        records_per_commit: commits.map(|commits| records as f64 / commits),
        unsent: outcome.unsent,
        next: outcome.next,
    })
}

/// Several runs on one server, numbered on, and how many records it has acknowledged in all of them.
pub struct Session {
    server: Box<dyn Server>,
    timeline: Timeline,
    values: Arc<Values>,
    next: u64,
    acknowledged: u64,
}

impl Session {
    /// Starts the server.
    pub fn start(mut server: Box<dyn Server>, seed: u64) -> anyhow::Result<Session> {
        server.start()?;
        let values = Arc::new(Values::new(seed, VALUE_BYTES)?);
        Ok(Session { server, timeline: Timeline::default(), values, next: 0, acknowledged: 0 })
    }

    /// The figures of a load, after a shorter run of it that warms up.
    pub fn run(&mut self, ask: &Ask, warm: Duration) -> anyhow::Result<Run> {
        self.once(&Ask { duration: warm, ..ask.clone() })?;
        self.once(ask)
    }

    fn once(&mut self, ask: &Ask) -> anyhow::Result<Run> {
        let ask = Ask { first: self.next, ..ask.clone() };
        let run = run(&*self.server, &ask, &self.timeline, &self.values)?;
        self.next = run.next.next_multiple_of(ask.batch as u64);
        self.acknowledged += run.records;
        Ok(run)
    }

    /// Ends it with [`verify`]; answers how many records were acknowledged, and how many of them are gone.
    pub fn end(mut self, syncs: bool) -> anyhow::Result<(u64, u64)> {
        let lost = verify(&mut *self.server, syncs, self.acknowledged)?;
        Ok((self.acknowledged, lost))
    }
}

/// kill -9 and a start: a server that syncs must hold what it acknowledged, not one record less or more.
/// Of one that answers before the sync, answers how many records are gone.
pub fn verify(server: &mut dyn Server, syncs: bool, acknowledged: u64) -> anyhow::Result<u64> {
    server.kill();
    server.start()?;
    // A queue of several processes may need a moment until it counts what it read.
    let begun = Instant::now();
    let mut held = server.count()?;
    let patience = Duration::from_secs(if syncs { 30 } else { 1 });
    while held < acknowledged && begun.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(50));
        held = server.count()?;
    }
    ensure!(
        held == acknowledged || (!syncs && held < acknowledged),
        "{}: acknowledged {acknowledged}, holds {held} after kill -9: the run is void",
        server.name()
    );
    Ok(acknowledged - held)
}

/// A run's latency, as all tables show it.
pub fn quantiles(run: &Run) -> [Cell; 3] {
    [run.latency.p50_us, run.latency.p99_us, run.latency.p999_us].map(|us| ms(us as f64))
}

/// What a run has cost, as all tables show it: records a commit, processor time of both, memory.
pub fn costs(run: &Run) -> [Cell; 4] {
    [
        run.records_per_commit.map_or(Cell::None, |records| number(records, 1)),
        number(run.cpu_us, 2),
        number(run.generator_us, 2),
        number(run.resident_mib, 0),
    ]
}

/// The run in the middle, by one of its figures.
pub fn median(mut runs: Vec<Run>, by: impl Fn(&Run) -> f64) -> Option<Run> {
    runs.sort_by(|a, b| by(a).total_cmp(&by(b)));
    let middle = runs.len() / 2;
    (middle < runs.len()).then(|| runs.swap_remove(middle))
}
