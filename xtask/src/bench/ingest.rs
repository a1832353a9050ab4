//! B1 and B2: how many records a second are durable before they are answered.
//!
//! In: a host built for release and its peers, on directories of their own on one disk. Out: a table of
//! single and batched ingest, with what it cost, beside the disk's own floor in the same run. A lost record
//! voids it.

use crate::bench::floor;
use crate::bench::measure::{self, Run, Session};
use crate::bench::server::{Ask, Kind};
use crate::bench::settings::Settings;
use crate::bench::table::{Cell, Sheet, ms, number};
use clap::Args;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Milliseconds of each run
    #[arg(long, default_value_t = 1_700)]
    run_ms: u64,
}

/// Outstanding requests and records of each: B1 twice, B2.
const LOADS: [(usize, usize); 3] = [(64, 1), (256, 1), (64, 64)];
/// Before the figures are taken.
const WARM: Duration = Duration::from_millis(250);

pub fn run(options: &Options) -> anyhow::Result<()> {
    let settings = &options.settings;
    let binary = settings.binary()?;
    let kinds = Kind::all(settings);
    let place = settings.place()?;
    let duration = Duration::from_millis(settings.pick(options.run_ms, 500));
    let floors = [512, 4_096, 65_536]
        .map(|bytes| floor::measure(place.path(), bytes, Duration::from_millis(settings.pick(1_000, 300))));
    let floors = floors.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut runs: Vec<Vec<Vec<Run>>> = vec![vec![Vec::new(); LOADS.len()]; kinds.len()];
    let mut losses = Vec::new();
    for round in 0..settings.rounds() {
        for (kind, runs) in kinds.iter().zip(&mut runs) {
            let directory = place.path().join(format!("{kind:?}-{round}"));
            let server = kind.make(settings, &binary, &directory, 1)?;
            settings.say(&format!("round {}: {}", round + 1, server.name()));
            let mut session = Session::start(server, round as u64 + 1)?;
            for (load, runs) in LOADS.iter().zip(runs) {
                let (outstanding, batch) = *load;
                runs.push(session.run(&Ask { outstanding, batch, rate: None, duration, streams: 1, first: 0 }, WARM)?);
            }
            let (acknowledged, lost) = session.end(kind.syncs())?;
            if lost > 0 {
                losses.push(format!(
                    "{}: {lost} of {acknowledged} acknowledged records were gone after SIGKILL.",
                    kind.label()
                ));
            }
            std::fs::remove_dir_all(&directory)?;
        }
    }
    show(options, &kinds, &floors, runs, duration, losses)
}

fn show(
    options: &Options,
    kinds: &[Kind],
    floors: &[floor::Floor],
    runs: Vec<Vec<Vec<Run>>>,
    duration: Duration,
    losses: Vec<String>,
) -> anyhow::Result<()> {
    let title = format!(
        "**B1 and B2: durable ingest.** Records of 1 KiB, {} runs of {:.1} s each, the median by records/s.",
        options.settings.rounds(),
        duration.as_secs_f64()
    );
    let mut sheet = Sheet::new(
        "ingest",
        &title,
        &[
            "what",
            "an answer means",
            "outstanding × batch",
            "records/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "records/commit",
            "server CPU µs/record",
            "generator CPU µs/record",
            "RSS MiB",
            "walhost is × faster",
            "× floor",
        ],
    );
    let floor = floors.iter().find(|floor| floor.bytes == 4_096).map_or(f64::NAN, |floor| floor.writes_per_second);
    for one in floors {
        let latency = one.latency;
        sheet.row(vec![
            format!("floor: one thread writes {} B over a zeroed file, O_DSYNC", one.bytes).into(),
            "synced".into(),
            "1".into(),
            number(one.writes_per_second, 0),
            ms(latency.p50_us as f64),
            ms(latency.p99_us as f64),
            ms(latency.p999_us as f64),
            number(1.0, 0),
            Cell::None,
            Cell::None,
            Cell::None,
            Cell::None,
            number(one.writes_per_second / floor, 1),
        ]);
    }
    let medians: Vec<Vec<Run>> = runs
        .into_iter()
        .map(|loads| loads.into_iter().filter_map(|runs| measure::median(runs, |run| run.records_per_second)).collect())
        .collect();
    for (load, (outstanding, batch)) in LOADS.iter().enumerate() {
        let ours = medians.first().and_then(|loads| loads.get(load)).map_or(f64::NAN, |run| run.records_per_second);
        for (kind, loads) in kinds.iter().zip(&medians) {
            let Some(run) = loads.get(load) else { continue };
            let ([p50, p99, p999], [commit, cpu, generator, memory]) = (measure::quantiles(run), measure::costs(run));
            sheet.row(vec![
                kind.label().into(),
                kind.promise().into(),
                format!("{outstanding} × {batch}").into(),
                number(run.records_per_second, 0),
                p50,
                p99,
                p999,
                commit,
                cpu,
                generator,
                memory,
                if *kind == Kind::Walhost { Cell::None } else { number(ours / run.records_per_second, 1) },
                number(run.records_per_second / floor, 1),
            ]);
        }
    }
    sheet.note("Every row: acknowledged records were counted, the server was killed with SIGKILL and started again, and held exactly those, unless it is said below.");
    sheet.note("× floor compares records/s with the floor's row of 4 KiB. A batch is one request of walhost, and 64 pipelined publishes of which all are awaited elsewhere.");
    if !kinds.contains(&Kind::NatsAlways) && kinds.contains(&Kind::Nats) {
        sheet.note("NATS before 2.10, which Debian 12 has, cannot sync before it answers: its row is a volatile one. `--nats-server` takes a newer one.");
    }
    losses.into_iter().for_each(|loss| sheet.note(loss));
    options.settings.publish(&sheet)
}
