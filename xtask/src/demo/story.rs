//! The story itself, in the order in which an operator would live it.

use crate::cargo;
use crate::demo::Options;
use crate::demo::accounts;
use crate::demo::stage::Stage;
use crate::demo::steps::Steps;
use anyhow::{Context, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Records of one POST.
const BATCH_RECORDS: usize = 50;

/// Tells it from the first record to the closing table.
pub async fn tell(options: &Options, binary: &Path, components: &Path) -> anyhow::Result<()> {
    let movies = movies()?;
    let records = movies.iter().map(|batch| batch.records).sum::<u64>();
    let mut steps = Steps::new();

    steps.begin("a host with the embedded queue, a cache, an index server and a webhook, all on loopback");
    let mut stage = Stage::set(binary, components).await?;
    let ready = stage.host.start().await?;
    steps.say(format!(
        "ingest {}, admin {}, ready after {} ms",
        stage.host.ingest,
        stage.host.admin,
        ready.as_millis()
    ));
    steps.say(format!("config and host log: {}", stage.directory().display()));
    steps.end("start");

    steps.begin(&format!(
        "the first half of {records} movies goes in; version 1 of the transform rejects what is dirty"
    ));
    let half = movies.len() / 2;
    let mut producer = Producer { pace: Pace::new(options.rate), repeated: 0, deduplicated: 0 };
    let bar = steps.bar(records);
    for batch in &movies[..half - 1] {
        producer.post(&stage, batch).await?;
        bar.inc(batch.records);
    }
    steps.end("first half");

    steps.begin("kill -9 while a batch is on its way, and a restart");
    let id = stage.host.process().context("the host runs")?.id();
    let url = format!("{}/v1/namespaces/catalog/records", stage.host.ingest);
    let torn = {
        let (client, batch) = (stage.client.clone(), &movies[half - 1]);
        let (key, value) = (batch.key.clone(), batch.value.clone());
        tokio::spawn(async move {
            client
                .send("POST", &url, &[("content-type", "application/x-ndjson"), ("idempotency-key", &key)], value)
                .await
        })
    };
    stage.host.kill();
    let answered = torn.await?.is_ok_and(|answer| answer.status == 202);
    steps.say(format!(
        "process {id} is gone; the batch on its way was {}",
        if answered { "answered" } else { "not answered" }
    ));
    let ready = stage.host.start().await?;
    steps.say(format!("a new process is ready after {} ms", ready.as_millis()));
    // The producer does what a careful one does: the same batch again, under the same idempotency key.
    producer.post(&stage, &movies[half - 1]).await?;
    bar.inc(movies[half - 1].records);
    steps.end("kill -9 and restart");

    steps.begin("what version 1 has given up on: `walhost dlq groups catalog`");
    steps.say(walhost(binary, &stage, &["dlq", "groups", "catalog"])?);
    let dead = accounts::sum(&accounts::read(&stage).await?, "dead");
    ensure!(dead > 0, "version 1 of the transform should have rejected dirty records");
    steps.end("dead letters");

    steps.begin("the second half goes in, and version 2 of the transform is loaded while it flows");
    let digest = push(&stage, &components.join("catalog_v2.wasm")).await?;
    for (number, batch) in movies[half..].iter().enumerate() {
        if number == (movies.len() - half) / 3 {
            for target in ["search", "webhook"] {
                let begun = Instant::now();
                let answer = load(&stage, target, &digest).await?;
                bar.suspend(|| {
                    steps.say(format!(
                        "{target}.transform: generation {} after {} ms, {} → {}",
                        answer["generation"],
                        begun.elapsed().as_millis(),
                        short(&answer["old_digest"]),
                        short(&answer["new_digest"])
                    ));
                });
            }
        }
        producer.post(&stage, batch).await?;
        bar.inc(batch.records);
    }
    bar.finish_and_clear();
    settled(&stage, Duration::from_secs(60)).await?;
    let again = producer.repeated;
    steps.say(format!(
        "all {records} records are acknowledged; {again} batches were posted again, {} of them known by their key",
        producer.deduplicated
    ));
    steps.end("second half, hot load");

    steps.begin("version 2 knows what to do with the dirty ones: redrive");
    let dead = accounts::sum(&accounts::read(&stage).await?, "dead");
    steps.say(redrive(&stage).await?);
    settled(&stage, Duration::from_secs(60)).await?;
    let left = accounts::sum(&accounts::read(&stage).await?, "dead");
    steps.say(format!("{dead} dead letters before, {left} after"));
    steps.end("redrive");

    println!("\nEvery record, by target: the host's durable accounts beside what the destination holds\n");
    accounts::close(&stage, records).await?;
    println!();
    for (step, took) in steps.taken() {
        println!("{step:<24} {:>7.2} s", took.as_secs_f64());
    }
    let status = stage.host.stop().await?;
    ensure!(status.success(), "the host should end with 0 on SIGTERM, not with {status}");
    if options.keep {
        println!("\nkept: {}", stage.keep().display());
    }
    println!("\nThe accounts close: nothing was lost.");
    Ok(())
}

/// One POST's worth of movies.
struct Batch {
    key: String,
    value: Bytes,
    records: u64,
}

fn movies() -> anyhow::Result<Vec<Batch>> {
    let path = cargo::root().join("tests/data/movies.ndjson");
    let text = std::fs::read(&path).with_context(|| format!("{} belongs to the project", path.display()))?;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let batch = |(number, lines): (usize, &[&[u8]])| Batch {
        key: format!("movies-{number}"),
        value: lines.concat().into(),
        records: lines.len() as u64,
    };
    Ok(lines.chunks(BATCH_RECORDS).enumerate().map(batch).collect())
}

/// Keeps a producer at its rate.
struct Pace {
    begun: Instant,
    posted: u64,
    rate: u64,
}

impl Pace {
    fn new(rate: u64) -> Pace {
        Pace { begun: Instant::now(), posted: 0, rate: rate.max(1) }
    }

    async fn wait(&mut self, records: u64) {
        let due = Duration::from_secs_f64(self.posted as f64 / self.rate as f64);
        let ahead = due.saturating_sub(self.begun.elapsed());
        if ahead.is_zero() {
            // A stop is not made up for by a burst.
            (self.begun, self.posted) = (Instant::now(), 0);
        }
        self.posted += records;
        tokio::time::sleep(ahead).await;
    }
}

struct Producer {
    pace: Pace,
    repeated: u64,
    deduplicated: u64,
}

impl Producer {
    /// Posts a batch until it is acknowledged, each time under the same idempotency key.
    async fn post(&mut self, stage: &Stage, batch: &Batch) -> anyhow::Result<()> {
        self.pace.wait(batch.records).await;
        let url = format!("{}/v1/namespaces/catalog/records", stage.host.ingest);
        let headers = [("content-type", "application/x-ndjson"), ("idempotency-key", batch.key.as_str())];
        for attempt in 1..=20_u32 {
            match stage.client.send("POST", &url, &headers, batch.value.clone()).await {
                Ok(answer) if answer.status == 202 => {
                    if answer.json()?["deduplicated"] == Value::Bool(true) {
                        self.deduplicated += 1;
                    }
                    return Ok(());
                }
                Ok(answer) if answer.status != 503 && answer.status != 429 && answer.status != 409 => {
                    answer.success().context("a batch of movies was refused")?;
                }
                _ => {}
            }
            self.repeated += 1;
            tokio::time::sleep(Duration::from_millis(50 * u64::from(attempt))).await;
        }
        anyhow::bail!("batch {} was not acknowledged in 20 attempts", batch.key)
    }
}

async fn push(stage: &Stage, component: &Path) -> anyhow::Result<String> {
    let component = Bytes::from(std::fs::read(component)?);
    let url = format!("{}/admin/v1/plugins", stage.host.admin);
    let answer =
        stage.client.send("POST", &url, &[("content-type", "application/wasm")], component).await?.success()?;
    Ok(answer["digest"].as_str().context("an uploaded plugin has a digest")?.to_owned())
}

async fn load(stage: &Stage, target: &str, digest: &str) -> anyhow::Result<Value> {
    let url = format!("{}/admin/v1/namespaces/catalog/slots/{target}.transform", stage.host.admin);
    stage.client.json("PUT", &url, &json!({ "digest": digest })).await
}

async fn redrive(stage: &Stage) -> anyhow::Result<String> {
    let url = format!("{}/admin/v1/namespaces/catalog/dlq:redrive", stage.host.admin);
    let answer = stage.client.json("POST", &url, &json!({ "filter": {} })).await?;
    let task = answer["task"].as_str().context("a redrive is a task")?.to_owned();
    let url = format!("{}/admin/v1/tasks/{task}", stage.host.admin);
    let begun = Instant::now();
    loop {
        let task = stage.client.get(&url).await?.success()?;
        match task["state"].as_str() {
            Some("running") if begun.elapsed() < Duration::from_secs(60) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some("done") => {
                return Ok(format!("matched {}, moved {}, failed {}", task["matched"], task["moved"], task["failed"]));
            }
            _ => anyhow::bail!("the redrive did not end well: {task}"),
        }
    }
}

/// Waits until nothing is pending at any target.
async fn settled(stage: &Stage, at_most: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let pending = accounts::sum(&accounts::read(stage).await?, "pending");
        if pending == 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < at_most, "{pending} deliveries are pending after {} s", at_most.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the operator's own command prints.
fn walhost(binary: &Path, stage: &Stage, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary).arg("--url").arg(&stage.host.admin).args(arguments).output()?;
    ensure!(output.status.success(), "walhost {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn short(digest: &Value) -> String {
    digest
        .as_str()
        .map_or_else(|| "none".to_owned(), |digest| digest.trim_start_matches("sha256:").chars().take(12).collect())
}
