//! The schema of a whole file, put together from its parts.
//!
//! In: all kinds of this build. Out: JSON Schema 2020-12.

use super::of;
use crate::config::kinds::{Kinds, PLUGIN};
use crate::config::namespace::{RawNamespace, RawTest};
use crate::config::process::{RawPeer, RawPlugin, RawServer, RawShard};
use crate::config::target::{RawSink, RawTarget};
use serde_json::{Map, Value, json};
use walhost_core::name::NAME_BYTES_MAX;

/// Of one file: any table may stand in any file.
pub fn whole(kinds: &Kinds) -> Value {
    let mut namespace = of::<RawNamespace>();
    let properties = &mut namespace["properties"];
    properties["queue"] = queue(kinds);
    properties["targets"] = named(&target(kinds));
    properties["tests"] = json!({ "type": "array", "items": of::<RawTest>() });
    properties["ordering"] = json!({ "enum": ["none", "key"] });
    let mut plugin = of::<RawPlugin>();
    plugin["oneOf"] = json!([{ "required": ["ref"] }, { "required": ["digest"] }]);
    let mut peer = of::<RawPeer>();
    peer["required"] = json!(["url"]);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "walhost configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "include": {
                "type": "array", "items": { "type": "string" },
                "description": "Patterns of files, relative to this one; * and ? in the last part of the path."
            },
            "server": of::<RawServer>(),
            "shard": of::<RawShard>(),
            "shards": named(&peer),
            "plugins": named(&plugin),
            "namespaces": named(&namespace),
        }
    })
}

/// A table of tables by name.
fn named(one: &Value) -> Value {
    let pattern = format!("^[a-z0-9][a-z0-9-]{{0,{}}}$", NAME_BYTES_MAX - 1);
    json!({ "type": "object", "additionalProperties": false, "patternProperties": { pattern: one } })
}

/// One form for each kind, told apart by `type`; the backend's keys beside the common ones.
fn by_kind(common: &Map<String, Value>, kinds: Vec<(&'static str, Value)>) -> Value {
    let forms: Vec<Value> = kinds
        .into_iter()
        .map(|(kind, own)| {
            let mut properties = common.clone();
            properties.extend(own["properties"].as_object().cloned().unwrap_or_default());
            properties.insert("type".to_owned(), json!({ "const": kind }));
            // A backend that says nothing of its keys takes any.
            let closed = own["properties"].is_object();
            json!({ "properties": properties, "additionalProperties": !closed })
        })
        .collect();
    json!({ "type": "object", "required": ["type"], "oneOf": forms })
}

fn queue(kinds: &Kinds) -> Value {
    let common = Map::new();
    by_kind(&common, kinds.queues.iter().map(|kind| (kind.name, (kind.schema)())).collect())
}

fn target(kinds: &Kinds) -> Value {
    let mut common = of::<RawTarget>()["properties"].as_object().cloned().unwrap_or_default();
    common.insert("retry".to_owned(), of::<crate::config::model::Retry>());
    common.insert("breaker".to_owned(), of::<crate::config::model::Breaker>());
    let mut all: Vec<_> = kinds.targets.iter().map(|kind| (kind.name, (kind.schema)())).collect();
    all.push((PLUGIN, of::<RawSink>()));
    by_kind(&common, all)
}
