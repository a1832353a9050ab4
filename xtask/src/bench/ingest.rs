//! B1 and B2: how many records a second are durable before they are answered.
//!
//! In: a host built for release, on a disk directory of its own. Out: a table of single and batched ingest,
//! with what it cost, beside the disk's own floor in the same run. A lost record voids it.

use crate::bench::floor::{self, Floor};
use crate::cargo;
use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use walhost_tests::host::{Host, Ports};
use walhost_tests::http::Client;

#[derive(Args)]
pub struct Options {
    /// Runs of each row; the median is shown
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections, each with one request in flight
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Where the data directory is made; the floor is taken there too
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Use this walhost binary instead of building one for release
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// One run of one row.
struct Run {
    records_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    records_per_commit: f64,
    cpu_us_per_record: f64,
    resident_mib: f64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => cargo::build_walhost("release")?,
    };
    let directory =
        if options.directory.as_os_str() == "target" { cargo::target_dir() } else { options.directory.clone() };
    std::fs::create_dir_all(&directory)?;
    let place = tempfile::Builder::new().prefix("walhost-bench-").tempdir_in(&directory)?;
    println!(
        "walhost bench ingest: 1 KiB records, {} connections, durability fsync, {} runs of {} s, median",
        options.connections, options.runs, options.seconds
    );
    println!("generator and host share this machine's {} cores\n", std::thread::available_parallelism()?);
    let floors = [512, 4_096, 65_536].map(|bytes| floor::measure(place.path(), bytes, Duration::from_secs(2)));
    let mut rows = Vec::new();
    for batch in [1, 64] {
        let mut runs = Vec::new();
        for number in 0..options.runs {
            let data = place.path().join(format!("{batch}-{number}"));
            std::fs::create_dir(&data)?;
            let runtime = tokio::runtime::Runtime::new()?;
            runs.push(runtime.block_on(measure(options, &binary, &data, batch))?);
            std::fs::remove_dir_all(&data)?;
        }
        runs.sort_by(|a, b| a.records_per_second.total_cmp(&b.records_per_second));
        rows.push((batch, runs.swap_remove(runs.len() / 2)));
    }
    show(&floors.into_iter().collect::<anyhow::Result<Vec<_>>>()?, &rows);
    Ok(())
}

async fn measure(options: &Options, binary: &Path, data: &Path, batch: usize) -> anyhow::Result<Run> {
    let (ports, client) = (Ports::free()?, Client::new());
    let config = data.join("walhost.toml");
    let namespace = "[namespaces.bench]\nlimits = { backlog = \"500GiB\", batch = \"8MiB\" }\n\n\
                     [namespaces.bench.targets.paused]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n";
    std::fs::write(&config, ports.config("bench") + namespace)?;
    let mut host = Host::new(binary, &config, &ports, &client);
    host.start().await?;
    // Ingest alone: the target keeps its place and takes nothing.
    host.admin_json("POST", "/admin/v1/namespaces/bench/targets/paused:pause", &json!({})).await?;
    let id = host.process().context("the host runs")?.id();
    generate(options, binary, &host, batch, 1).await?;
    let before = (cpu_us(id)?, commits(&host).await?, accepted(&host).await?);
    let report = generate(options, binary, &host, batch, options.seconds).await?;
    let after = (cpu_us(id)?, commits(&host).await?, accepted(&host).await?);
    let records = report["acknowledged"].as_f64().context("the report counts records")?;
    ensure!(
        report["errors"].as_object().is_none_or(serde_json::Map::is_empty),
        "refused records void the run: {}",
        report["errors"]
    );
    ensure!(
        after.2 - before.2 == records,
        "acknowledged {records}, accounted for {}: the run is void",
        after.2 - before.2
    );
    let resident_mib = resident_mib(id)?;
    host.kill();
    host.start().await?;
    ensure!(accepted(&host).await? == after.2, "records are gone after kill -9: the run is void");
    let ms = |name: &str| report["acknowledgement"][name].as_f64().unwrap_or(f64::NAN) / 1e3;
    Ok(Run {
        records_per_second: report["records_per_second"].as_f64().context("the report has a rate")?,
        p50_ms: ms("p50_us"),
        p99_ms: ms("p99_us"),
        p999_ms: ms("p999_us"),
        records_per_commit: records / (after.1 - before.1),
        cpu_us_per_record: (after.0 - before.0) / records,
        resident_mib,
    })
}

/// The generator in a process of its own, as anyone would run it.
async fn generate(options: &Options, binary: &Path, host: &Host, batch: usize, seconds: u64) -> anyhow::Result<Value> {
    let mut command = Command::new(binary);
    command.args(["--url", &host.admin, "-o", "json", "bench", "bench", "--size", "1KiB"]);
    command.args([
        "--duration",
        &format!("{seconds}s"),
        "--connections",
        &options.connections.to_string(),
        "--batch",
        &batch.to_string(),
    ]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "walhost bench: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("walhost bench -o json answers JSON")
}

async fn commits(host: &Host) -> anyhow::Result<f64> {
    host.metric("walhost_wal_fsync_duration_seconds_count", &[]).await
}

async fn accepted(host: &Host) -> anyhow::Result<f64> {
    host.metric("walhost_accounting_records", &["state=\"accepted\""]).await
}

/// User and system time of a process so far, in microseconds.
fn cpu_us(id: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|place| fields.get(*place)?.parse::<f64>().ok()).sum();
    let ticks_per_second = Command::new("getconf").arg("CLK_TCK").output()?.stdout;
    let ticks_per_second: f64 =
        String::from_utf8(ticks_per_second)?.trim().parse().context("getconf CLK_TCK is a number")?;
    Ok(ticks * 1e6 / ticks_per_second)
}

fn resident_mib(id: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}

fn show(floors: &[Floor], rows: &[(usize, Run)]) {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "what",
        "records/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "records/commit",
        "CPU µs/record",
        "RSS MiB",
        "× floor",
    ]);
    for floor in floors {
        let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
        table.add_row([
            format!("floor: one {} B write, synced", floor.bytes),
            format!("{:.0}", floor.writes_per_second),
            ms(floor.p50),
            ms(floor.p99),
            String::new(),
            "1".into(),
            String::new(),
            String::new(),
            "1".into(),
        ]);
    }
    let floor = floors.iter().find(|floor| floor.bytes == 4_096).map_or(f64::NAN, |floor| floor.writes_per_second);
    for (batch, run) in rows {
        table.add_row([
            if *batch == 1 {
                "walhost, one record a POST".to_owned()
            } else {
                format!("walhost, {batch} records a POST")
            },
            format!("{:.0}", run.records_per_second),
            format!("{:.3}", run.p50_ms),
            format!("{:.3}", run.p99_ms),
            format!("{:.3}", run.p999_ms),
            format!("{:.1}", run.records_per_commit),
            format!("{:.2}", run.cpu_us_per_record),
            format!("{:.0}", run.resident_mib),
            format!("{:.1}", run.records_per_second / floor),
        ]);
    }
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    println!("\nThe floor is one thread that makes a write durable before the next; × compares with its 4 KiB row.");
}
