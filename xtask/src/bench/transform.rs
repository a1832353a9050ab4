//! B7: what a transform costs a record: in Wasm through the host's own way, and the same function natively.
//!
//! In: a walhost built for release, the plugins `identity` and `mask`. Out: nanoseconds a record of a loop
//! that does nothing, of the native function, of the component; for each size of value and of batch.

use crate::bench::settings::Settings;
use crate::bench::table::{Cell, Sheet, number as cell};
use crate::{cargo, plugins};
use anyhow::{Context, ensure};
use base64::Engine;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    settings: Settings,
}

/// Bytes of a value.
const SIZES: [usize; 3] = [128, 1_024, 16_384];
/// Records of a call.
const BATCHES: [usize; 3] = [1, 16, 128];
/// Different records of a file.
const RECORDS: usize = 16;
/// What `mask` is told to do.
const MASK: &str = r#"{"fields":["/email"]}"#;

/// One size of value.
struct Figures {
    /// Nanoseconds a record for each batch size: a loop that does nothing, the native transform. Empty: there is
    /// none.
    native: Vec<(f64, f64)>,
    /// What a call costs more where guests have threads of their own, in microseconds.
    hop_us: f64,
    /// For each batch size: nanoseconds a record and the call's p99 in microseconds.
    wasm: Vec<(usize, f64, f64)>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let settings = &options.settings;
    let (binary, components, native) = (settings.binary()?, plugins::build()?, native_build()?);
    let place = settings.place()?;
    let run_ms = settings.pick(1_000, 100);
    let title = "**B7: a record through a transform**, in Wasm and as the same function natively.";
    let mut sheet = Sheet::new(
        "transform",
        title,
        &[
            "transform",
            "value",
            "batch",
            "empty loop ns",
            "native ns",
            "Wasm ns",
            "native / Wasm",
            "p99 of a call µs",
            "hop µs a call",
        ],
    );
    for name in ["identity", "mask"] {
        for size in SIZES {
            settings.say(&format!("{name}, {size} B"));
            let file = place.path().join(format!("{size}.ndjson"));
            std::fs::write(&file, records(size))?;
            let component = components.join(format!("{name}.wasm"));
            let figures = measure(&binary, &component, name == "mask", &native, &file, run_ms)?;
            for (place, (batch, wasm_ns, p99_us)) in figures.wasm.into_iter().enumerate() {
                let (empty_ns, native_ns) = figures.native.get(place).copied().unwrap_or((f64::NAN, f64::NAN));
                sheet.row(vec![
                    name.into(),
                    Cell::Text(format!("{size} B")),
                    cell(batch as f64, 0),
                    cell(empty_ns, 1),
                    cell(native_ns, 0),
                    cell(wasm_ns, 0),
                    cell(native_ns / wasm_ns, 2),
                    cell(p99_us, 1),
                    cell(figures.hop_us, 0),
                ]);
            }
        }
    }
    sheet.note(
        "Nanoseconds a record, medians; a record has a key and two headers. The guest runs on the caller's thread; \
         in a host guests have threads of their own, which costs each call one hop more.",
    );
    sheet.note("`identity` is what the call costs: records into the guest's memory, outcomes back, all checks.");
    sheet.note("`mask` reads JSON, replaces a field and writes it; native is the same source and profile.");
    settings.publish(&sheet)
}

/// The example that runs `mask` natively.
fn native_build() -> anyhow::Result<PathBuf> {
    let target = cargo::target_dir().join("plugins");
    cargo::run(
        &cargo::root().join("plugins"),
        &["build", "--release", "--locked", "--package", "mask", "--example", "native"],
        &[("CARGO_TARGET_DIR", target.as_os_str())],
    )?;
    Ok(target.join("release/examples/native"))
}

fn measure(
    binary: &Path,
    component: &Path,
    is_mask: bool,
    native: &Path,
    file: &Path,
    run_ms: u64,
) -> anyhow::Result<Figures> {
    let sizes = if is_mask { &BATCHES[..] } else { &[] };
    let one = |batch: &usize| {
        let mut command = Command::new(native);
        command.arg(MASK).arg(file).args([batch.to_string(), run_ms.to_string()]);
        let shown = answer(command)?;
        Ok((number(&shown, "empty_ns")?, number(&shown, "native_ns")?))
    };
    let native = sizes.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
    let mut command = Command::new(binary);
    command.args(["-o", "json", "plugin", "bench"]).arg(component).arg("--records").arg(file);
    command.args(["--batch", &BATCHES.map(|batch| batch.to_string()).join(","), "--duration", &format!("{run_ms}ms")]);
    if is_mask {
        command.args(["--set", r#"fields=["/email"]"#]);
    }
    let shown = answer(command)?;
    ensure!(
        shown["answers"][if is_mask { "emit" } else { "pass" }] == RECORDS,
        "{} answered {}: the run is void",
        component.display(),
        shown["answers"]
    );
    let rows = shown["rows"].as_array().context("plugin bench has rows")?;
    let row = |row: &Value| {
        let batch = row["batch"].as_u64().context("a row has a batch")?;
        Ok((usize::try_from(batch)?, number(row, "us_per_record")? * 1e3, number(row, "call_p99_us")?))
    };
    Ok(Figures {
        native,
        hop_us: number(&shown, "hop_us")?,
        wasm: rows.iter().map(row).collect::<anyhow::Result<_>>()?,
    })
}

fn answer(mut command: Command) -> anyhow::Result<Value> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} answers JSON"))
}

fn number(shown: &Value, key: &str) -> anyhow::Result<f64> {
    shown[key].as_f64().with_context(|| format!("there is no number `{key}` in {shown}"))
}

/// Records with a key and two headers, as `walhost dlq export` writes them; each value is JSON of this size.
fn records(size: usize) -> String {
    let mut lines = String::new();
    for number in 0..RECORDS {
        let mut value = format!(r#"{{"id":{number},"email":"somebody@example.net","items":["#);
        for place in 0.. {
            let comma = if place > 0 { "," } else { "" };
            let element = format!(r#"{comma}{{"sku":"A-{place}","count":{},"price":12.50}}"#, place % 7 + 1);
            if value.len() + element.len() + 2 > size {
                break;
            }
            value.push_str(&element);
        }
        value.push_str("]}");
        let value = format!("{value:size$}");
        let line = json!({
            "record": format!("record-{number}"),
            "dead_at": "2027-01-01T00:00:00Z",
            "key": format!("customer-{number}"),
            "headers": [
                { "name": "content-type", "value": "application/json" },
                { "name": "traceparent", "value": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
            ],
            "value_base64": base64::engine::general_purpose::STANDARD.encode(value),
        });
        let _ = writeln!(lines, "{line}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_size_and_is_json() {
        for size in SIZES {
            let lines = records(size);
            assert_eq!(lines.lines().count(), RECORDS);
            for line in lines.lines() {
                let line: Value = serde_json::from_str(line).expect("a line is JSON");
                let value = line["value_base64"].as_str().expect("a line has a value");
                let value = base64::engine::general_purpose::STANDARD.decode(value).expect("it is Base64");
                assert_eq!(value.len(), size);
                assert!(serde_json::from_slice::<Value>(&value).is_ok());
            }
        }
    }
}
