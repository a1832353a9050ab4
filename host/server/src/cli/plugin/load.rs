//! `walhost plugin load`: a component into a slot.
//!
//! In: a digest, its beginning, or a file; settings and grants. Out: the slot's new version, and what it
//! inherited from the one before.

use super::{pairs, push};
use crate::cli::Session;
use crate::cli::arguments::PluginLoadArguments;
use crate::cli::client::{Ask, Door, escape};
use crate::cli::failure::Failure;
use http::Method;
use serde_json::{Value, json};
use std::path::Path;
use walhost_core::attempt::Digest;

/// Digits of a digest that may stand for the whole, at least.
const DIGITS_MIN: usize = 8;

/// Loads it.
pub async fn run(session: &Session, arguments: &PluginLoadArguments) -> Result<(), Failure> {
    let slot = format!("/admin/v1/namespaces/{}/slots/{}", escape(&arguments.namespace), escape(&arguments.slot));
    let mut wanted = json!({ "digest": digest(session, &arguments.component).await? });
    // What is not given stays as it is in the slot.
    if !arguments.settings.is_empty() {
        wanted["settings"] = Value::Object(pairs(&arguments.settings)?);
    }
    if !arguments.allow.is_empty() {
        let http: Vec<Value> = arguments.allow.iter().map(|origin| json!({ "origin": origin })).collect();
        wanted["grants"] = json!({ "http": http });
    }
    let before = session.client.get(format!("{slot}/versions")).await;
    let query = if arguments.dry_run { "?dry_run=true" } else { "" };
    let ask = Ask::new(Door::Admin, Method::PUT, format!("{slot}{query}"));
    session.output.one(&session.client.ask(ask.body("application/json", wanted.to_string())).await?)?;
    for line in
        before.ok().and_then(|versions| loaded(&versions).map(|old| inherited(old, &wanted))).unwrap_or_default()
    {
        session.output.say(&line);
    }
    Ok(())
}

/// The digest that is meant: a whole one, the beginning of one in the store, or that of a file, which is
/// pushed first.
async fn digest(session: &Session, component: &str) -> Result<String, Failure> {
    if let Some(digest) = Digest::parse(component) {
        return Ok(digest.to_string());
    }
    if Path::new(component).exists() || beginning(component).is_none() {
        let pushed = push(session, Path::new(component)).await?;
        return Ok(pushed.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    found(component, &session.client.get("/admin/v1/plugins").await?)
}

/// The digits, when this is the beginning of a digest.
fn beginning(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_one = (DIGITS_MIN..64).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| digits.to_ascii_lowercase())
}

/// The one digest of the store that begins so.
fn found(component: &str, store: &Value) -> Result<String, Failure> {
    let wanted = format!("sha256:{}", beginning(component).unwrap_or_default());
    let all = store.get("items").and_then(Value::as_array).into_iter().flatten();
    let digests = all.filter_map(|plugin| plugin.get("digest")?.as_str()).filter(|digest| digest.starts_with(&wanted));
    match digests.collect::<Vec<_>>()[..] {
        [one] => Ok(one.to_owned()),
        [] => {
            Err(Failure::failed(format!("no plugin of the store begins with {component}, and there is no such file")))
        }
        ref several => Err(Failure::failed(format!(
            "{} plugins of the store begin with {component}:\n  {}",
            several.len(),
            several.join("\n  ")
        ))),
    }
}

fn loaded(versions: &Value) -> Option<&Value> {
    versions.get("items")?.as_array()?.iter().find(|version| version["loaded"] == true)
}

/// A line for each thing that the new version takes over because nothing else was said.
fn inherited(old: &Value, wanted: &Value) -> Vec<String> {
    let generation = &old["generation"];
    let is_something = |value: &Value| match value {
        Value::Object(members) => members.values().any(|value| match value {
            Value::Null => false,
            Value::Array(values) => !values.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        }),
        _ => false,
    };
    [("settings", "--set"), ("grants", "--allow"), ("limits", "")]
        .iter()
        .filter(|(name, _)| wanted.get(name).is_none() && old.get(name).is_some_and(is_something))
        .map(|(name, flag)| {
            let how = if flag.is_empty() { String::new() } else { format!("; {flag} replaces them") };
            format!("{name} stay as in generation {generation}: {}{how}", old[name])
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_digest_names_it_when_no_other_begins_so() {
        let (one, other) = (format!("sha256:abcdef01{}", "0".repeat(56)), format!("sha256:abcdef02{}", "0".repeat(56)));
        let store = json!({ "items": [{ "digest": one }, { "digest": other }] });
        assert_eq!(found("ABCDEF01", &store).unwrap(), one);
        assert_eq!(found("sha256:abcdef020", &store).unwrap(), other);
        assert!(found("abcdef03", &store).unwrap_err().message.contains("no plugin of the store begins with abcdef03"));
        let several = json!({ "items": [{ "digest": one }, { "digest": one.replace("0000", "0001") }] });
        let refusal = found("abcdef01", &several).unwrap_err().message;
        assert!(refusal.starts_with("2 plugins") && refusal.contains(&one), "{refusal}");
    }

    #[test]
    fn seven_digits_and_names_of_files_are_no_digest() {
        assert_eq!(beginning("abcdef0"), None);
        assert_eq!(beginning("my_transform.wasm"), None);
        assert_eq!(beginning("sha256:ABCDEF01").as_deref(), Some("abcdef01"));
    }

    #[test]
    fn what_is_taken_over_from_the_version_before_is_said() {
        let old = json!({ "generation": 3, "settings": { "mark": "seen" }, "grants": { "http": [], "secrets": {} },
            "limits": { "memory": null } });
        let said = inherited(&old, &json!({ "digest": "sha256:…" }));
        assert_eq!(said, ["settings stay as in generation 3: {\"mark\":\"seen\"}; --set replaces them"]);
        assert!(inherited(&old, &json!({ "settings": {} })).is_empty());
    }
}
