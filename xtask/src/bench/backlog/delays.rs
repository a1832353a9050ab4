//! B12: many records that wait for their time.
//!
//! In: how many, over which time they are spread. Out: how late they came, what they cost in memory.

use super::Options;
use super::scene::Scene;
use crate::bench::cost;
use crate::bench::server::Server;
use crate::bench::table::{Sheet, ms, number};
use anyhow::ensure;
use std::path::Path;
use std::time::Duration;

/// Records of one request, which share a due time.
const BATCH: usize = 16;
const FILL_RATE: u64 = 20_000;

pub fn run(options: &Options, binary: &Path, directory: &Path) -> anyhow::Result<()> {
    let records = options.small(options.delayed, options.delayed.min(5_000));
    let spread = Duration::from_secs(options.small(options.spread, 3));
    let mut scene = Scene::single(binary, directory, "concurrency = 32")?;
    // Buffers and pools have their size before memory is compared.
    scene.post(16, BATCH, Some(FILL_RATE), Duration::from_millis(500), 1, None)?;
    ensure!(scene.drain_to(0, Duration::from_secs(60)), "the first records did not arrive");
    let warm = scene.acknowledged.count();
    scene.receiver.forget()?;
    scene.acknowledged = walhost_load::Numbers::default();
    let id = scene.stage.id()?;
    let before = cost::anonymous_mib(id)?;
    let fill = Duration::from_millis(records * 1_000 / FILL_RATE);
    // None is due before all are in: twice the time, where the machine is slow.
    let least = fill * 2 + Duration::from_secs(2);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let window = (millis(least), millis(least + spread));
    scene.post(16, BATCH, Some(FILL_RATE), fill, 1, Some(window))?;
    let waiting = scene.waiting();
    let memory = (cost::anonymous_mib(id)? - before) * f64::from(1 << 20) / waiting.max(1) as f64;
    let patience = least + spread + Duration::from_secs(30);
    ensure!(scene.drain_to(0, patience), "{} records did not come: the run is void", scene.waiting());
    let seen = scene.receiver.seen();
    ensure!(seen.early == 0, "{} records came before their time: the run is void", seen.early);
    let title = format!(
        "**B12: delayed records.** {} records of 1 KiB, {BATCH} a request with one due time each, due within {} s of each \
         other.",
        scene.acknowledged.count(),
        spread.as_secs()
    );
    let mut sheet = Sheet::new(
        "backlog-delays",
        &title,
        &[
            "what",
            "waiting records",
            "due/s",
            "lateness p50 ms",
            "lateness p99 ms",
            "lateness p99.9 ms",
            "memory B/record",
            "early",
            "twice",
        ],
    );
    let latency = seen.latency();
    sheet.row(vec![
        "walhost".into(),
        number(waiting as f64, 0),
        number(scene.acknowledged.count() as f64 / spread.as_secs_f64(), 0),
        ms(latency.p50_us as f64),
        ms(latency.p99_us as f64),
        ms(latency.p999_us as f64),
        number(memory, 0),
        number(seen.early as f64, 0),
        number(seen.duplicated as f64, 0),
    ]);
    sheet.note(format!(
        "Lateness: from the moment when the record was to be sent plus its delay, to its arrival at the target; so it \
         has the way in and the way out in it. Memory: growth of the memory that is no file's while they were posted, \
         after {warm} records without a delay."
    ));
    options.settings.publish(&sheet)
}
