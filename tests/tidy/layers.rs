//! Who may import whom: the table of ARCHITECTURE.md against every Cargo.toml.

use crate::files;
use std::collections::BTreeSet;

/// A crate's folder and the crates of ours that it may name.
const TABLE: [(&str, &[&str]); 17] = [
    ("host/core", &[]),
    ("host/net", &["walhost-core"]),
    ("host/load", &["walhost-core"]),
    ("host/log", &["walhost-core"]),
    ("host/embedded", &["walhost-core", "walhost-log"]),
    ("host/backends/http", &["walhost-core", "walhost-net"]),
    ("host/backends/memcached", &["walhost-core", "walhost-net"]),
    ("host/plugin", &["walhost-core", "walhost-net"]),
    ("host/delivery", &["walhost-core"]),
    (
        "host/server",
        &[
            "walhost-core",
            "walhost-net",
            "walhost-load",
            "walhost-log",
            "walhost-embedded",
            "walhost-http",
            "walhost-memcached",
            "walhost-plugin",
            "walhost-delivery",
            "walhost-build",
        ],
    ),
    ("sdk/build", &[]),
    ("sdk/rust", &[]),
    ("xtask", &["walhost-build", "walhost-load", "walhost-tests"]),
    ("tests", &["walhost-build", "walhost-core"]),
    ("tests/sim", &["walhost-core", "walhost-log", "walhost-embedded", "walhost-delivery"]),
    ("plugins/*", &["walhost-sdk"]),
    ("sdk/rust/template/*", &["walhost-sdk"]),
];

fn row(path: &str) -> Option<&'static [&'static str]> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    TABLE
        .iter()
        .find(|(name, _)| *name == folder || name.strip_suffix("/*").is_some_and(|up| folder.starts_with(up)))
        .map(|(_, allowed)| *allowed)
}

fn names(table: Option<&toml::Value>) -> BTreeSet<String> {
    table.and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn every_crate_imports_only_what_its_layer_allows() {
    let mut complaints = Vec::new();
    let mut seen = 0;
    for file in files::all("Cargo.toml") {
        let Ok(manifest) = file.text.parse::<toml::Table>() else { continue };
        if !manifest.contains_key("package") {
            continue;
        }
        let Some(allowed) = row(&file.path) else {
            complaints.push(format!("{}: not in the table of layers", file.path));
            continue;
        };
        seen += 1;
        for name in names(manifest.get("dependencies")).into_iter().chain(names(manifest.get("build-dependencies"))) {
            if name.starts_with("walhost") && !allowed.contains(&name.as_str()) {
                complaints.push(format!("{} imports {name}", file.path));
            }
        }
        for name in names(manifest.get("dev-dependencies")) {
            let fine = name == "walhost-core" || name == "walhost-build" || allowed.contains(&name.as_str());
            if name.starts_with("walhost") && !fine {
                complaints.push(format!("{} imports {name} in its tests", file.path));
            }
        }
    }
    assert!(seen >= 12, "only {seen} crates were seen");
    crate::report("layers", complaints);
}

/// Crates that only one room may name.
const VENDORS: [(&str, &[&str]); 6] = [
    ("wasmtime", &["host/plugin/"]),
    ("wasmtime-wasi", &["host/plugin/"]),
    ("memcache", &["host/backends/memcached/"]),
    ("rdkafka", &["host/backends/kafka/"]),
    ("scylla", &["host/backends/cassandra/"]),
    ("aws-sdk-sqs", &["host/backends/sqs/"]),
];

#[test]
fn a_vendor_is_known_in_one_room() {
    let mut complaints = Vec::new();
    for file in files::all("Cargo.toml") {
        let Ok(manifest) = file.text.parse::<toml::Table>() else { continue };
        for name in names(manifest.get("dependencies")) {
            if let Some((_, rooms)) = VENDORS.iter().find(|(vendor, _)| *vendor == name)
                && !rooms.iter().any(|room| file.path.starts_with(room))
            {
                complaints.push(format!("{} imports {name}", file.path));
            }
        }
    }
    crate::report("vendors", complaints);
}
