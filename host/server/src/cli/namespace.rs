//! Namespaces.
//!
//! In: names, tables. Out: states; changes that the host keeps.

use super::Session;
use super::arguments::NamespaceCommand;
use super::ask::{can_ask, sure};
use super::client::{Ask, Door, escape};
use super::failure::Failure;
use super::{output, target};
use crate::config::node::Node;
use http::Method;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Between two looks of `stats --watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

fn path(namespace: &str) -> String {
    format!("/admin/v1/namespaces/{}", escape(namespace))
}

/// `walhost ns`.
pub async fn run(session: &Session, command: &NamespaceCommand) -> Result<u8, Failure> {
    let client = &session.client;
    match command {
        NamespaceCommand::List => {
            let columns = [
                ("namespace", "/name"),
                ("state", "/state"),
                ("queue", "/queue"),
                ("source", "/source"),
                ("targets", "/targets"),
                ("backlog", "/backlog_records"),
                ("dead", "/dead"),
            ];
            session.output.list(&client.get("/admin/v1/namespaces").await?, &columns)?;
        }
        NamespaceCommand::Get { namespace } => session.output.one(&client.get(path(namespace)).await?)?,
        NamespaceCommand::Apply { file, namespace, if_match } => {
            for (name, table) in tables(file, namespace.as_deref())? {
                let mut ask =
                    Ask::new(Door::Admin, Method::PUT, path(&name)).body("application/json", table.to_string());
                if let Some(tag) = if_match {
                    ask = ask.header("if-match", format!("\"{}\"", tag.trim_matches('"')));
                }
                session.output.one(&client.ask(ask).await?)?;
            }
        }
        NamespaceCommand::Delete { namespace } => {
            can_ask(session, &format!("deletes the namespace {namespace} with all its records"))?;
            let now = client.get(path(namespace)).await?;
            let records = now.get("backlog_records").and_then(Value::as_u64).unwrap_or(0);
            sure(
                session,
                &format!(
                    "deletes the namespace {namespace} with its dead letters and {records} records that are not delivered"
                ),
            )?;
            session.output.one(&client.ask(Ask::new(Door::Admin, Method::DELETE, path(namespace))).await?)?;
        }
        NamespaceCommand::Pause { namespace, ingest } => {
            let query = if *ingest { "?ingest=true" } else { "" };
            session.output.one(&client.post(format!("{}:pause{query}", path(namespace)), &json!({})).await?)?;
        }
        NamespaceCommand::Resume { namespace } => {
            session.output.one(&client.post(format!("{}:resume", path(namespace)), &json!({})).await?)?;
        }
        NamespaceCommand::Stats { namespace, watch } => loop {
            session.output.list(&client.get(target::targets(namespace)).await?, &target::COLUMNS)?;
            if !watch {
                break;
            }
            walhost_core::Clock::sleep(&walhost_core::time::SystemClock::default(), WATCH_INTERVAL).await;
            if !session.output.is_json() {
                output::print("\n")?;
            }
        },
    }
    Ok(0)
}

/// The tables of a file: every `[namespaces.NAME]` of TOML, or one as JSON.
fn tables(file: &Path, namespace: Option<&str>) -> Result<Vec<(String, Value)>, Failure> {
    let name = file.display().to_string();
    let text = if name == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(|error| Failure::failed(format!("{name}: {error}")))?
    };
    if name.ends_with(".json") {
        let table = serde_json::from_str(&text).map_err(|error| Failure::bad_config(format!("{name}: {error}")))?;
        let namespace =
            namespace.ok_or_else(|| Failure::usage("a JSON file holds one table: say of which namespace"))?;
        return Ok(vec![(namespace.to_owned(), table)]);
    }
    let (mut root, troubles) = Node::from_toml(0, &text);
    if let Some((message, span)) = troubles.first() {
        let line = text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
        return Err(Failure::bad_config(format!("{name}:{line}: {message}")));
    }
    root.resolve_paths(
        &std::path::absolute(file).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default(),
    );
    let all = root.get("namespaces").map(|member| member.node.members()).unwrap_or_default();
    let chosen: Vec<_> = all
        .iter()
        .filter(|member| namespace.is_none_or(|namespace| namespace == member.key))
        .map(|member| (member.key.clone(), member.node.to_json()))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::failed(format!("{name} has no [namespaces.{}]", namespace.unwrap_or("NAME"))));
    }
    Ok(chosen)
}
