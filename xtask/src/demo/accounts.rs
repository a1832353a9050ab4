//! The closing table: every record of every target, by the host's durable accounts and by what the
//! destinations themselves have seen.
//!
//! In: the metrics page. Out: a table, or what does not balance.

use crate::demo::stage::Stage;
use anyhow::{Context, ensure};
use comfy_table::{CellAlignment, Table, presets};
use std::collections::BTreeMap;

/// The states of `walhost_accounting_records`, in the order of the table.
pub const STATES: [&str; 7] = ["delivered", "dead", "pending", "filtered", "purged", "expired", "cancelled"];

/// One target's account: state to records.
pub type Account = BTreeMap<String, u64>;

/// Reads the accounts of all targets of namespace `catalog`.
pub async fn read(stage: &Stage) -> anyhow::Result<BTreeMap<String, Account>> {
    let answer = stage.client.get(&format!("{}/metrics", stage.host.admin)).await?;
    let text = String::from_utf8_lossy(&answer.text).into_owned();
    let mut accounts = BTreeMap::<String, Account>::new();
    for line in text.lines().filter(|line| line.starts_with("walhost_accounting_records{")) {
        let label = |name: &str| {
            let rest = line.split_once(&format!("{name}=\""))?.1;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let value = line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
        let (Some(namespace), Some(target), Some(state), Some(value)) =
            (label("namespace"), label("target"), label("state"), value)
        else {
            continue;
        };
        if namespace == "catalog" {
            accounts.entry(target).or_default().insert(state, value as u64);
        }
    }
    ensure!(!accounts.is_empty(), "the metrics have no walhost_accounting_records");
    Ok(accounts)
}

/// The sum of one state over all targets.
pub fn sum(accounts: &BTreeMap<String, Account>, state: &str) -> u64 {
    accounts.values().map(|account| account.get(state).copied().unwrap_or(0)).sum()
}

/// Prints the table and checks it: each account balances, everything was accepted `records` times, nothing
/// is left, and each destination holds what was delivered to it.
pub async fn close(stage: &Stage, records: u64) -> anyhow::Result<()> {
    let accounts = read(stage).await?;
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let mut header = vec!["target", "accepted"];
    header.extend(STATES);
    header.extend(["balance", "at the destination", "delivered again"]);
    table.set_header(header);
    let mut wrong = Vec::new();
    for target in stage.targets() {
        let account = accounts.get(target).with_context(|| format!("no account of target {target}"))?;
        let count = |state: &str| account.get(state).copied().unwrap_or(0);
        let accounted: u64 = STATES.iter().map(|state| count(state)).sum();
        let (holds, again) = match target {
            "cache" => (stage.cache.as_ref().context("the cache runs")?.values().await?, None),
            "search" => seen(&stage.index),
            _ => seen(&stage.webhook),
        };
        let balances = count("accepted") == accounted;
        let mut row = vec![target.to_owned(), count("accepted").to_string()];
        row.extend(STATES.iter().map(|state| count(state).to_string()));
        row.extend([
            if balances { "ok".to_owned() } else { format!("{accounted} accounted for") },
            holds.to_string(),
            again.map_or_else(|| "–".to_owned(), |again| again.to_string()),
        ]);
        table.add_row(row);
        if !balances {
            wrong.push(format!("{target}: accepted {} but accounted for {accounted}", count("accepted")));
        }
        if count("accepted") != records {
            wrong.push(format!("{target}: {} accepted of {records}", count("accepted")));
        }
        if count("dead") + count("pending") > 0 {
            wrong.push(format!("{target}: {} dead and {} pending are left", count("dead"), count("pending")));
        }
        if holds != count("delivered") {
            wrong.push(format!("{target}: delivered {} but the destination holds {holds}", count("delivered")));
        }
    }
    for column in 1..12 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    ensure!(wrong.is_empty(), "the accounts do not close:\n  {}", wrong.join("\n  "));
    Ok(())
}

fn seen(destination: &crate::demo::receivers::SharedSeen) -> (u64, Option<u64>) {
    let seen = destination.lock().expect("no handler panics");
    (seen.records.len() as u64, Some(seen.again()))
}
