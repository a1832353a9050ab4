//! B10: a target fails one request in ten, then is down, then comes back; ingest goes on all the while.
//!
//! In: a rate, seconds. Out: ingest in each phase, and how fast what waited was drained.

use super::Options;
use super::scene::Scene;
use crate::bench::table::{Cell, Sheet, ms, number};
use anyhow::ensure;
use std::path::Path;
use std::time::{Duration, Instant};
use walhost_load::receiver::Behaviour;

const OUTSTANDING: usize = 64;
/// For what waits at the end.
const DRAIN_MAX: Duration = Duration::from_secs(60);

pub fn run(options: &Options, binary: &Path, directory: &Path) -> anyhow::Result<()> {
    let more = "concurrency = 32\nretry = { initial = \"100ms\", max_interval = \"1s\", max_attempts = 1000 }\n\
                breaker = { open = \"250ms\", max_open = \"1s\" }";
    let mut scene = Scene::single(binary, directory, more)?;
    let phase = Duration::from_secs(options.small(5, 1));
    let down = Duration::from_secs(options.small(options.down, 2));
    let phases = [
        ("the target takes everything", Behaviour::default(), phase),
        ("it fails one request in ten", Behaviour { fail_every: 10, ..Behaviour::default() }, phase),
        ("it is down", Behaviour { down: true, ..Behaviour::default() }, down),
        ("it is back, ingest goes on", Behaviour::default(), phase),
    ];
    let rate = options.small(options.rate, options.rate.min(2_000));
    let title = format!(
        "**B10: an outage.** {rate} records of 1 KiB a second, one a request, open loop, to one http target that fails \
         one request in ten, then is down for {} s, then comes back.",
        down.as_secs()
    );
    let mut sheet = Sheet::new(
        "backlog-outage",
        &title,
        &[
            "phase",
            "s",
            "ingest records/s",
            "of the first phase",
            "ingest p50 ms",
            "ingest p99 ms",
            "delivered records/s",
            "waiting at its end",
        ],
    );
    let mut usual = None;
    for (name, behaviour, time) in phases {
        scene.receiver.behave(behaviour);
        let (begun, delivered) = (Instant::now(), scene.receiver.delivered());
        let outcome = scene.post(OUTSTANDING, 1, Some(rate), time, 1, None)?;
        let seconds = begun.elapsed().as_secs_f64();
        let share = outcome.records_per_second() / *usual.get_or_insert(outcome.records_per_second());
        sheet.row(vec![
            name.into(),
            number(seconds, 1),
            number(outcome.records_per_second(), 0),
            format!("{:.0} %", share * 100.0).into(),
            ms(outcome.latency.p50_us as f64),
            ms(outcome.latency.p99_us as f64),
            number((scene.receiver.delivered() - delivered) as f64 / seconds, 0),
            number(scene.waiting() as f64, 0),
        ]);
    }
    let (begun, delivered) = (Instant::now(), scene.receiver.delivered());
    let drained = scene.drain_to(0, DRAIN_MAX);
    let seconds = begun.elapsed().as_secs_f64();
    let rate_drained = (scene.receiver.delivered() - delivered) as f64 / seconds;
    sheet.row(vec![
        "ingest has ended, the rest drains".into(),
        number(seconds, 1),
        Cell::None,
        Cell::None,
        Cell::None,
        Cell::None,
        number(rate_drained, 0),
        number(scene.waiting() as f64, 0),
    ]);
    let seen = scene.receiver.seen();
    ensure!(
        drained,
        "{} acknowledged records were not delivered {} s after the load had ended: the run is void",
        scene.waiting(),
        DRAIN_MAX.as_secs()
    );
    ensure!(scene.stage.metric("walhost_dlq_records", &[])? == 0.0, "records were given up: the run is void");
    sheet.note(format!(
        "Drain: {:.1} × the ingest rate. {} requests were failed, {} of {} records came more than once (connections cut \
         between delivery and answer), none was lost. The receiver's own cost: {:.1} µs of processor time a record.",
        rate_drained / rate as f64,
        seen.failed,
        seen.duplicated,
        scene.acknowledged.count(),
        seen.cpu_us / seen.delivered.count().max(1) as f64
    ));
    options.settings.publish(&sheet)
}
