//! B13: a start with a large backlog after kill -9.
//!
//! In: how large. Out: until the first record is taken, and until the first is delivered.

use super::Options;
use super::scene::Scene;
use crate::bench::cost;
use crate::bench::measure::{self, VALUE_BYTES};
use crate::bench::peer::{nats, rabbitmq, redis};
use crate::bench::server::{Ask, Kind, Server};
use crate::bench::settings::Peers;
use crate::bench::table::{Cell, Sheet, number};
use anyhow::ensure;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::receiver::Behaviour;
use walhost_load::{Timeline, Values};

const BATCH: usize = 64;
const OUTSTANDING: usize = 32;
/// For filling one server; a slower one has a smaller backlog, which the table says.
const FILL_MAX: Duration = Duration::from_secs(25);
const PORTION: Duration = Duration::from_millis(500);

pub fn run(options: &Options, binary: &Path, directory: &Path) -> anyhow::Result<()> {
    let gigabytes = options.small(options.gigabytes, 0.125);
    let records = (gigabytes * f64::from(1 << 30) / VALUE_BYTES as f64) as u64;
    let title = "**B13: a start with a backlog after kill -9.** Records of 1 KiB, none of them delivered before.";
    let mut sheet = Sheet::new(
        "backlog-restart",
        title,
        &["what", "an answer means", "backlog GiB", "accepting after ms", "delivering after ms", "RSS after MiB"],
    );
    sheet.row(ours(options, binary, &directory.join("walhost"), records)?);
    std::fs::remove_dir_all(directory.join("walhost"))?;
    if let Some(binary) = asked(options, Peers::Nats, || nats::find(&options.settings)) {
        options.settings.say(&format!("{} beside it", binary.display()));
        let place = fresh(directory, "nats")?;
        let mut nats = nats::Nats::new(&options.settings, &place, false, 1)?;
        let held = fill(&mut nats, records)?;
        let (begun, accepting) = (Instant::now(), nats.start()?);
        ensure!(nats.first_delivery()?, "NATS delivered nothing");
        sheet.row(row(&nats, &Kind::Nats, held, accepting, begun.elapsed())?);
        drop(nats);
        std::fs::remove_dir_all(&place)?;
    }
    if asked(options, Peers::Redis, redis::find).is_some() {
        let place = fresh(directory, "redis")?;
        let mut redis = redis::Redis::new(&place, false)?;
        let held = fill(&mut redis, records)?;
        // It reads everything into memory before it answers: then it delivers too.
        let accepting = redis.start()?;
        sheet.row(row(&redis, &Kind::RedisSecond, held, accepting, accepting)?);
        drop(redis);
        std::fs::remove_dir_all(&place)?;
    }
    if asked(options, Peers::Rabbitmq, rabbitmq::find).is_some() {
        let mut rabbit = rabbitmq::Rabbit::new(&fresh(directory, "rabbitmq")?, 1)?;
        let held = fill(&mut rabbit, records)?;
        let (begun, accepting) = (Instant::now(), rabbit.start()?);
        ensure!(rabbit.first_delivery()?, "RabbitMQ delivered nothing");
        let delivering = begun.elapsed();
        // The consumer is gone; what it was given comes back to the queue.
        std::thread::sleep(Duration::from_secs(1));
        sheet.row(row(&rabbit, &Kind::RabbitQuorum, held, accepting, delivering)?);
    }
    sheet.note(
        "Files are in the page cache, as after the end of a process; not after the end of a machine. Accepting: the first \
         record is acknowledged (walhost), the stream or server answers (the others).",
    );
    options.settings.publish(&sheet)
}

/// The program, when it is asked for and can be had.
fn asked(options: &Options, peer: Peers, find: impl FnOnce() -> anyhow::Result<PathBuf>) -> Option<PathBuf> {
    let found = options.settings.wants(peer).then(find)?;
    found.map_err(|missing| options.settings.say(&format!("{missing:#}"))).ok()
}

fn fresh(directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let place = directory.join(name);
    std::fs::create_dir(&place)?;
    Ok(place)
}

fn ours(options: &Options, binary: &Path, directory: &Path, records: u64) -> anyhow::Result<Vec<Cell>> {
    std::fs::create_dir(directory)?;
    let mut scene = Scene::single(binary, directory, "concurrency = 8")?;
    scene.receiver.behave(Behaviour { down: true, ..Behaviour::default() });
    let begun = Instant::now();
    while scene.acknowledged.count() < records && begun.elapsed() < FILL_MAX {
        scene.post(OUTSTANDING, BATCH, None, PORTION, 1, None)?;
    }
    options.settings.say("killing walhost");
    scene.stage.kill();
    let earlier = scene.receiver.delivered();
    scene.receiver.forget()?;
    scene.receiver.behave(Behaviour::default());
    let launched_us = scene.timeline.now_us();
    let accepting = scene.restart()?;
    let begun = Instant::now();
    let first_us = loop {
        if let Some(first_us) = scene.receiver.seen().first_us {
            break first_us;
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "nothing was delivered after the start");
        std::thread::sleep(Duration::from_millis(1));
    };
    let id = scene.stage.id()?;
    // The record of the first POST is one more.
    let held = scene.stage.count()?;
    ensure!(
        held == scene.acknowledged.count() + 1,
        "acknowledged {}, holds {held} after kill -9 ({earlier} were delivered before): the run is void",
        scene.acknowledged.count()
    );
    Ok(vec![
        "walhost".into(),
        Kind::Walhost.promise().into(),
        number(scene.acknowledged.count() as f64 * VALUE_BYTES as f64 / f64::from(1 << 30), 2),
        number(accepting.as_secs_f64() * 1e3, 0),
        number((first_us - launched_us) as f64 / 1e3, 0),
        number(cost::resident_mib(id)?, 0),
    ])
}

/// Fills a server beside walhost and kills it; answers how many records it acknowledged.
fn fill(server: &mut dyn Server, records: u64) -> anyhow::Result<u64> {
    server.start()?;
    let (timeline, values) = (Timeline::default(), Arc::new(Values::new(1, VALUE_BYTES)?));
    let (mut first, mut held, begun) = (0, 0, Instant::now());
    while held < records && begun.elapsed() < FILL_MAX {
        let ask = Ask { outstanding: OUTSTANDING, batch: BATCH, rate: None, duration: PORTION, streams: 1, first };
        let run = measure::run(server, &ask, &timeline, &values)?;
        first = run.next.next_multiple_of(64);
        held += run.records;
    }
    server.kill();
    Ok(held)
}

fn row(
    server: &dyn Server,
    kind: &Kind,
    acknowledged: u64,
    accepting: Duration,
    delivering: Duration,
) -> anyhow::Result<Vec<Cell>> {
    let held = server.count()?;
    let whole = held == acknowledged || (!kind.syncs() && held < acknowledged);
    ensure!(whole, "{}: acknowledged {acknowledged}, holds {held}: the run is void", server.name());
    Ok(vec![
        kind.label().into(),
        kind.promise().into(),
        number(held as f64 * VALUE_BYTES as f64 / f64::from(1 << 30), 2),
        number(accepting.as_secs_f64() * 1e3, 0),
        number(delivering.as_secs_f64() * 1e3, 0),
        number(cost::resident_mib(server.id()?)?, 0),
    ])
}
