//! B4 and B15: many namespaces, all of them active, at the load of one; and five hundred that are idle.
//!
//! In: how many. Out: records a second as a share of one namespace's, beside peers with as many streams; the
//! memory and processor time of idle ones.

use crate::bench::cost;
use crate::bench::measure::{self, Run, Session};
use crate::bench::server::{Ask, Kind, Server};
use crate::bench::settings::Settings;
use crate::bench::stage::Stage;
use crate::bench::table::{Cell, Sheet, number};
use clap::Args;
use std::path::Path;
use std::time::Duration;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Milliseconds of each run
    #[arg(long, default_value_t = 1_500)]
    run_ms: u64,
    /// How many namespaces
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000])]
    namespaces: Vec<u64>,
    /// How many idle ones
    #[arg(long, default_value_t = 500)]
    idle: u64,
}

const OUTSTANDING: usize = 64;
const WARM: Duration = Duration::from_millis(400);
/// A thousand streams are made one after another, each with files of its own: other numbers of them say
/// nothing more of a peer.
const PEERS_STREAMS: [u64; 2] = [1, 1_000];

struct Row {
    kind: Kind,
    streams: u64,
    runs: Vec<Run>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let settings = &options.settings;
    let binary = settings.binary()?;
    let place = settings.place()?;
    let duration = Duration::from_millis(settings.pick(options.run_ms, 500));
    let mut rows = Vec::new();
    for kind in Kind::all(settings).into_iter().filter(|kind| *kind != Kind::RabbitQuorum) {
        let counts = if kind == Kind::Walhost { &options.namespaces[..] } else { &PEERS_STREAMS[..] };
        rows.extend(counts.iter().map(|streams| Row { kind: kind.clone(), streams: *streams, runs: Vec::new() }));
    }
    for round in 0..settings.rounds() {
        for row in &mut rows {
            let directory = place.path().join(format!("{:?}-{}-{round}", row.kind, row.streams));
            settings.say(&format!("round {}: {} × {}", round + 1, row.kind.label(), row.streams));
            row.runs.push(one(settings, &binary, &directory, &row.kind, row.streams, duration)?);
            std::fs::remove_dir_all(&directory)?;
        }
    }
    let idle = idle(settings, &binary, place.path(), options.idle)?;
    show(options, rows, &idle, duration)
}

fn one(
    settings: &Settings,
    binary: &Path,
    directory: &Path,
    kind: &Kind,
    streams: u64,
    duration: Duration,
) -> anyhow::Result<Run> {
    let mut session = Session::start(kind.make(settings, binary, directory, streams)?, 1)?;
    let run =
        session.run(&Ask { outstanding: OUTSTANDING, batch: 1, rate: None, duration, streams, first: 0 }, WARM)?;
    session.end(kind.syncs())?;
    Ok(run)
}

/// Five hundred idle namespaces.
struct Idle {
    namespaces: u64,
    cpu_percent: f64,
    resident_mib: f64,
    anonymous_mib: f64,
    ready_ms: f64,
}

fn idle(settings: &Settings, binary: &Path, place: &Path, namespaces: u64) -> anyhow::Result<Idle> {
    settings.say(&format!("{namespaces} idle namespaces"));
    let directory = place.join("idle");
    std::fs::create_dir(&directory)?;
    let mut stage = Stage::ingest(binary, &directory, namespaces.max(2))?;
    let ready = stage.start()?;
    let id = stage.id()?;
    // What a start leaves behind is not what idleness costs.
    std::thread::sleep(Duration::from_secs(settings.pick(4, 2)));
    let time = Duration::from_secs(settings.pick(10, 4));
    let before = cost::cpu_us(id)?;
    std::thread::sleep(time);
    Ok(Idle {
        namespaces,
        cpu_percent: (cost::cpu_us(id)? - before) / time.as_secs_f64() / 1e4,
        resident_mib: cost::resident_mib(id)?,
        anonymous_mib: cost::anonymous_mib(id)?,
        ready_ms: ready.as_secs_f64() * 1e3,
    })
}

fn show(options: &Options, rows: Vec<Row>, idle: &Idle, duration: Duration) -> anyhow::Result<()> {
    let title = format!(
        "**B4: many namespaces at the load of one.** {OUTSTANDING} requests outstanding, one record of 1 KiB each, \
         which go to all namespaces in turn; {} runs of {:.1} s each, the median by records/s.",
        options.settings.rounds(),
        duration.as_secs_f64()
    );
    let mut sheet = Sheet::new(
        "namespaces",
        &title,
        &[
            "what",
            "an answer means",
            "namespaces or streams",
            "records/s",
            "of one",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "records/commit",
            "server CPU µs/record",
            "generator CPU µs/record",
            "RSS MiB",
        ],
    );
    let mut one: Option<(Kind, f64)> = None;
    for row in rows {
        let Some(run) = measure::median(row.runs, |run| run.records_per_second) else { continue };
        if row.streams == 1 {
            one = Some((row.kind.clone(), run.records_per_second));
        }
        let share = one.as_ref().filter(|(kind, _)| *kind == row.kind).map(|(_, one)| run.records_per_second / one);
        let ([p50, p99, p999], [commit, cpu, generator, memory]) = (measure::quantiles(&run), measure::costs(&run));
        sheet.row(vec![
            row.kind.label().into(),
            row.kind.promise().into(),
            number(row.streams as f64, 0),
            number(run.records_per_second, 0),
            share.map_or(Cell::None, |share| format!("{:.0} %", share * 100.0).into()),
            p50,
            p99,
            p999,
            commit,
            cpu,
            generator,
            memory,
        ]);
    }
    sheet.note(format!(
        "**B15:** {} idle namespaces, each with one target: {:.2} % of one core, RSS {:.0} MiB of which {:.0} MiB are \
         not pages of files; ready {:.0} ms after the start.",
        idle.namespaces, idle.cpu_percent, idle.resident_mib, idle.anonymous_mib, idle.ready_ms
    ));
    sheet.note("Every row: the server was killed with SIGKILL afterwards, and held exactly what it had acknowledged (those that answer before the sync may have lost some).");
    options.settings.publish(&sheet)
}
