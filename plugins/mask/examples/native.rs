//! What the transform costs without Wasm and without a host: what `cargo xtask bench transform` compares with.
//!
//! In: settings as JSON, a file of records, the records of a batch, milliseconds. Out: nanoseconds a record,
//! as JSON, of a loop that does nothing and of the transform.

#[path = "../src/lib.rs"]
mod mask;

use std::hint::black_box;
use std::time::{Duration, Instant};
use walhost_sdk::{Outcome, Record, Transform, Value, json, testing};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [settings, file, batch, time_ms] = &arguments[..] else {
        return Err("native SETTINGS FILE BATCH MILLISECONDS".into());
    };
    let transform: mask::Mask = testing::transform(serde(settings)?)?;
    let records = testing::ndjson(&std::fs::read_to_string(file)?);
    let batch: Vec<Record> = records.iter().cycle().take(batch.parse()?).cloned().collect();
    let time = Duration::from_millis(time_ms.parse()?);
    let empty_ns =
        median_ns(&batch, time / 4, |batch| batch.iter().map(|record| black_box(record).attempt).sum::<u32>());
    let native_ns = median_ns(&batch, time, |batch| {
        let outcomes = transform.apply_batch(batch);
        assert!(outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Reject(_))), "it rejects");
        outcomes
    });
    let shown = json!({"empty_ns": empty_ns, "native_ns": native_ns}).to_string();
    Ok(std::io::Write::write_all(&mut std::io::stdout(), shown.as_bytes())?)
}

fn serde(text: &str) -> Result<Value, walhost_sdk::serde_json::Error> {
    walhost_sdk::serde_json::from_str(text)
}

/// The median over many batches, in nanoseconds a record.
fn median_ns<T>(batch: &[Record], time: Duration, mut work: impl FnMut(&[Record]) -> T) -> f64 {
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        // So many rounds that the clock itself costs nothing.
        let (rounds, started) = (256_usize.div_ceil(batch.len()), Instant::now());
        for _ in 0..rounds {
            black_box(work(black_box(batch)));
        }
        taken.push(started.elapsed().as_nanos() as f64 / (rounds * batch.len()) as f64);
    }
    taken.sort_unstable_by(f64::total_cmp);
    taken.get(taken.len() / 2).copied().unwrap_or(f64::NAN)
}
