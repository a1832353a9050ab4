//! Records: send, get, cancel, peek.
//!
//! In: values from arguments, files or standard input. Out: receipts and states.

use super::Session;
use super::arguments::{PeekArguments, SendArguments};
use super::client::{Ask, Door, escape};
use super::failure::Failure;
use http::Method;
use serde_json::Value;
use std::io::Read;

/// Path of a namespace's records at the ingest listener.
fn records(namespace: &str) -> String {
    format!("/v1/namespaces/{}/records", escape(namespace))
}

/// `walhost send`.
pub async fn send(session: &Session, arguments: &SendArguments) -> Result<u8, Failure> {
    let value = value(arguments)?;
    let content_type = match (&arguments.content_type, arguments.ndjson) {
        (_, true) => "application/x-ndjson",
        (Some(content_type), false) => content_type,
        (None, false) if serde_json::from_slice::<serde::de::IgnoredAny>(&value).is_ok() => "application/json",
        (None, false) if std::str::from_utf8(&value).is_ok() => "text/plain; charset=utf-8",
        (None, false) => "application/octet-stream",
    };
    let mut ask = Ask::new(Door::Ingest, Method::POST, records(&arguments.namespace));
    ask = if arguments.tombstone { ask.header("wal-tombstone", "true") } else { ask.body(content_type, value) };
    for (name, value) in [
        ("wal-key", &arguments.key),
        ("wal-delay", &arguments.delay),
        ("wal-deliver-at", &arguments.deliver_at),
        ("idempotency-key", &arguments.idempotency_key),
        ("wal-target", &arguments.target),
    ] {
        if let Some(value) = value {
            ask = ask.header(name, value);
        }
    }
    let mut names = Vec::new();
    for header in &arguments.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| Failure::usage(format!("`{header}` is not name:value")))?;
        names.push((format!("wal-header-{}", name.trim()), value.trim().to_owned()));
    }
    for (name, value) in &names {
        ask = ask.header(name, value);
    }
    let receipt = session.client.ask(ask).await?;
    session.output.one(&receipt)?;
    Ok(0)
}

fn value(arguments: &SendArguments) -> Result<Vec<u8>, Failure> {
    if arguments.tombstone {
        return Ok(Vec::new());
    }
    match (&arguments.data, &arguments.file) {
        (Some(data), _) => Ok(data.clone().into_bytes()),
        (None, Some(file)) if file.as_os_str() != "-" => {
            std::fs::read(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
        }
        (None, None) if arguments.stdin.is_none() => Err(Failure::usage("nothing to send: give -d DATA, -f FILE or -")),
        _ => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
    }
}

/// `walhost get`.
pub async fn get(session: &Session, namespace: &str, id: &str) -> Result<u8, Failure> {
    let path = format!("{}/{}", records(namespace), escape(id));
    let state = session.client.ask(Ask::new(Door::Ingest, Method::GET, path)).await?;
    session.output.one(&state)?;
    Ok(0)
}

/// `walhost cancel`.
pub async fn cancel(session: &Session, namespace: &str, id: &str) -> Result<u8, Failure> {
    let path = format!("{}/{}", records(namespace), escape(id));
    let state = session.client.ask(Ask::new(Door::Ingest, Method::DELETE, path)).await?;
    session.output.one(&state)?;
    Ok(0)
}

/// `walhost peek`.
pub async fn peek(session: &Session, arguments: &PeekArguments) -> Result<u8, Failure> {
    let path = format!("/admin/v1/namespaces/{}/records", escape(&arguments.namespace));
    let from = arguments.from.as_ref().map(|from| format!("&from={}", escape(from))).unwrap_or_default();
    // The cursor of this list is the place itself: it is given again as `from`, the later one wins.
    let mut answer = if arguments.limit <= walhost_core::limits::PAGE_MAX {
        session.client.get(format!("{path}?limit={}{from}", arguments.limit)).await?
    } else {
        session.client.pages(&path, &from, "from", arguments.limit).await?
    };
    if !session.output.is_json() {
        for row in answer.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            let shown = ["value_text", "value_json", "value_base64"].iter().find_map(|key| row.get(*key).cloned());
            row["value"] = shown.unwrap_or(Value::Null);
        }
    }
    session.output.list(
        &answer,
        &[("offset", "/offset"), ("id", "/id"), ("key", "/key"), ("appended", "/appended_at"), ("value", "/value")],
    )?;
    Ok(0)
}
