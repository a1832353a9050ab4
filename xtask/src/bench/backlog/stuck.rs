//! B16: one namespace's target is gone, ninety-nine flow.
//!
//! In: seconds of load. Out: how much is written for each byte taken, and how much disk for each byte that
//! waits.

use super::Options;
use super::scene::Scene;
use crate::bench::cost;
use crate::bench::server::Server;
use crate::bench::stage::{WIDE, names};
use crate::bench::table::{Sheet, number};
use anyhow::ensure;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Large ones, so that many segments are filled by few requests.
const VALUE_BYTES: usize = 16 * 1_024;
const NAMESPACES: u64 = 100;
const RATE: u64 = 1_500;
/// A port that nobody listens on.
const NOBODY: &str = "http://127.0.0.1:9/";

pub fn run(options: &Options, binary: &Path, directory: &Path) -> anyhow::Result<()> {
    let time = Duration::from_secs(options.small(options.stuck, 3));
    let mut scene = Scene::start(binary, directory, VALUE_BYTES, |url| {
        let mut text = String::new();
        for (number, name) in names(NAMESPACES).iter().enumerate() {
            let url = if number == 0 { NOBODY } else { url };
            let _ = write!(
                text,
                "[namespaces.{name}]\n{WIDE}\n[namespaces.{name}.targets.out]\ntype = \"http\"\nurl = \"{url}\"\n\
                 concurrency = 2\n\n"
            );
        }
        text
    })?;
    let id = scene.stage.id()?;
    // The files that are made ready at the start are not this load's.
    std::thread::sleep(Duration::from_secs(1));
    let written = cost::written_bytes(id)?;
    let outcome = scene.post(64, 1, Some(RATE), time, NAMESPACES, None)?;
    let stuck =
        (0..outcome.next).step_by(NAMESPACES as usize).filter(|number| outcome.acknowledged.has(*number)).count();
    ensure!(
        scene.drain_to(stuck as u64, Duration::from_secs(60)),
        "{} records wait, {stuck} of them in the stuck namespace",
        scene.waiting()
    );
    // Released segments are given back a moment later.
    std::thread::sleep(Duration::from_secs(options.small(4, 1)));
    let taken = outcome.acknowledged.count() as f64 * VALUE_BYTES as f64;
    let written = cost::written_bytes(id)? - written;
    let live = stuck as f64 * VALUE_BYTES as f64;
    let disk = scene.stage.metric("walhost_wal_disk_bytes", &[])?;
    let title = format!(
        "**B16: one namespace is stuck.** {NAMESPACES} namespaces take {RATE} records of 16 KiB a second in turn for {} s; \
         the target of one of them is gone.",
        time.as_secs()
    );
    let mut sheet = Sheet::new(
        "backlog-stuck",
        &title,
        &[
            "what",
            "taken MiB",
            "written MiB",
            "written/taken",
            "waiting MiB",
            "log on disk MiB",
            "disk/waiting",
            "ingest p99 ms",
            "twice",
        ],
    );
    let mib = |bytes: f64| number(bytes / f64::from(1 << 20), 1);
    sheet.row(vec![
        "walhost".into(),
        mib(taken),
        mib(written),
        number(written / taken, 2),
        mib(live),
        mib(disk),
        number(disk / live.max(1.0), 1),
        number(outcome.latency.p99_us as f64 / 1e3, 3),
        number(scene.receiver.seen().duplicated as f64, 0),
    ]);
    sheet.note(
        "Written: bytes that the process caused to be written to the disk, everything included. The log on disk has \
         segments of 64 MiB that are kept ready, however little waits.",
    );
    options.settings.publish(&sheet)
}
