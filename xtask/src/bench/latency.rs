//! B3: how long an acknowledgement takes at a fixed rate, counted from when the request was to be sent.
//!
//! In: rates. Out: quantiles beside a raw synced write of the same disk, and peers at the same rates.

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
    #[arg(long, default_value_t = 2_500)]
    run_ms: u64,
    /// Records a second
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 20_000, 50_000])]
    rates: Vec<u64>,
}

/// Connections that take turns, each with one request outstanding.
const OUTSTANDING: usize = 128;
const WARM: Duration = Duration::from_millis(300);

pub fn run(options: &Options) -> anyhow::Result<()> {
    let settings = &options.settings;
    let binary = settings.binary()?;
    let kinds: Vec<Kind> = Kind::all(settings).into_iter().filter(Kind::syncs).collect();
    let place = settings.place()?;
    let duration = Duration::from_millis(settings.pick(options.run_ms, 700));
    let floor = floor::measure(place.path(), 4_096, Duration::from_millis(settings.pick(2_000, 300)))?;
    let mut runs: Vec<Vec<Vec<Run>>> = vec![vec![Vec::new(); options.rates.len()]; kinds.len()];
    for round in 0..settings.rounds() {
        for (kind, runs) in kinds.iter().zip(&mut runs) {
            let directory = place.path().join(format!("{kind:?}-{round}"));
            let server = kind.make(settings, &binary, &directory, 1)?;
            settings.say(&format!("round {}: {}", round + 1, server.name()));
            let mut session = Session::start(server, round as u64 + 1)?;
            for (rate, runs) in options.rates.iter().zip(runs) {
                // Beyond the first rate that it cannot hold there is only a queue to be measured.
                let rate = Some(*rate);
                let ask = Ask { outstanding: OUTSTANDING, batch: 1, rate, duration, streams: 1, first: 0 };
                let run = session.run(&ask, WARM)?;
                let keeps_up = run.unsent == 0;
                runs.push(run);
                if !keeps_up {
                    break;
                }
            }
            session.end(true)?;
            std::fs::remove_dir_all(&directory)?;
        }
    }
    show(options, &kinds, floor, runs, duration)
}

fn show(
    options: &Options,
    kinds: &[Kind],
    floor: floor::Floor,
    runs: Vec<Vec<Vec<Run>>>,
    duration: Duration,
) -> anyhow::Result<()> {
    let title = format!(
        "**B3: latency at a rate.** Records of 1 KiB, one a request, open loop: latency counts from the time when \
         the request was to be sent; {} runs of {:.1} s each, the median by p99.",
        options.settings.rounds(),
        duration.as_secs_f64()
    );
    let mut sheet = Sheet::new(
        "latency",
        &title,
        &[
            "what",
            "an answer means",
            "rate/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "p50 × a raw sync",
            "server CPU µs/record",
            "generator CPU µs/record",
            "generator late, p99 ms",
        ],
    );
    sheet.row(vec![
        "floor: one thread writes 4 KiB over a zeroed file, O_DSYNC, one after another".into(),
        "synced".into(),
        number(floor.writes_per_second, 0),
        ms(floor.latency.p50_us as f64),
        ms(floor.latency.p99_us as f64),
        ms(floor.latency.p999_us as f64),
        number(1.0, 1),
        Cell::None,
        Cell::None,
        Cell::None,
    ]);
    let mut columns: Vec<Vec<Option<Run>>> = Vec::new();
    for loads in runs {
        let by_p99 = |runs: Vec<Run>| measure::median(runs, |run| run.latency.p99_us as f64);
        columns.push(loads.into_iter().map(by_p99).collect());
    }
    for (place, rate) in options.rates.iter().enumerate() {
        for (kind, medians) in kinds.iter().zip(&columns) {
            let (what, promise, rate) = (kind.label().into(), kind.promise().into(), number(*rate as f64, 0));
            let Some(run) = medians.get(place).and_then(Option::as_ref) else { continue };
            if run.unsent > 0 {
                let holds = format!("does not hold it: {:.0}/s", run.records_per_second);
                let mut row = vec![what, promise, rate, holds.into()];
                row.resize(10, Cell::None);
                sheet.row(row);
                continue;
            }
            sheet.row(vec![
                what,
                promise,
                rate,
                ms(run.latency.p50_us as f64),
                ms(run.latency.p99_us as f64),
                ms(run.latency.p999_us as f64),
                number(run.latency.p50_us as f64 / floor.latency.p50_us.max(1) as f64, 1),
                number(run.cpu_us, 2),
                number(run.generator_us, 2),
                ms(run.late.p99_us as f64),
            ]);
        }
    }
    sheet.note(format!(
        "{OUTSTANDING} connections take the requests in turn. A rate counts as held when no request was left over \
         after twice the time; higher rates are then left out."
    ));
    sheet.note("The generator's own lateness is part of every latency: it shares the cores with the server.");
    sheet.note("Every row: the server was killed with SIGKILL afterwards, and held exactly what it had acknowledged.");
    options.settings.publish(&sheet)
}
