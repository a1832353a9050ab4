//! B11: the oldest record of a long backlog never settles, all others do; then kill -9.
//!
//! In: how many records. Out: what was delivered again, how long the start took.

use super::Options;
use super::scene::Scene;
use crate::bench::cost;
use crate::bench::server::Server;
use crate::bench::table::{Sheet, number};
use anyhow::ensure;
use std::path::Path;
use std::time::Duration;
use walhost_load::receiver::Behaviour;

const BATCH: usize = 64;
const FILL_RATE: u64 = 20_000;
/// For the delivery of all but one.
const DELIVERY_MAX: Duration = Duration::from_secs(120);

pub fn run(options: &Options, binary: &Path, directory: &Path) -> anyhow::Result<()> {
    let records = options.small(options.records, options.records.min(10_000));
    // The request of the oldest record stays open longer than the bench runs.
    let mut scene = Scene::single(binary, directory, "timeout = \"10m\"\nconcurrency = 32\nbatch = { records = 1 }")?;
    scene.receiver.behave(Behaviour { hold: Some(0), ..Behaviour::default() });
    let fill = Duration::from_millis(records * 1_000 / FILL_RATE);
    scene.post(16, BATCH, Some(FILL_RATE), fill, 1, None)?;
    let acknowledged = scene.acknowledged.count();
    ensure!(scene.drain_to(1, DELIVERY_MAX), "{} records still wait: the run is void", scene.waiting());
    let before = scene.receiver.seen();
    ensure!(before.held > 0 && !before.delivered.has(0), "the oldest record was delivered");
    let memory = cost::anonymous_mib(scene.stage.id()?)?;
    scene.stage.kill();
    scene.receiver.behave(Behaviour::default());
    let launched_us = scene.timeline.now_us();
    let accepting = scene.restart()?;
    ensure!(scene.drain_to(0, Duration::from_secs(60)), "the oldest record was lost: the run is void");
    let delivering_us = scene.timeline.now_us() - launched_us;
    // Whatever else is delivered again comes at once.
    std::thread::sleep(Duration::from_secs(options.small(3, 1)));
    let seen = scene.receiver.seen();
    let title = "**B11: a hole at the beginning.** The oldest record of the backlog is never answered, all others are \
                 delivered; kill -9; start.";
    let mut sheet = Sheet::new(
        "backlog-holes",
        title,
        &[
            "what",
            "records",
            "delivered again",
            "accepting after ms",
            "the oldest delivered after ms",
            "memory before MiB (no files)",
        ],
    );
    sheet.row(vec![
        "walhost".into(),
        number(acknowledged as f64, 0),
        number((seen.duplicated - before.duplicated) as f64, 0),
        number(accepting.as_secs_f64() * 1e3, 0),
        number(delivering_us as f64 / 1e3, 0),
        number(memory, 0),
    ]);
    sheet.note(
        "The host is killed the moment the last of the others has arrived: what was settled within the last 50 ms may \
         come again.",
    );
    options.settings.publish(&sheet)
}
