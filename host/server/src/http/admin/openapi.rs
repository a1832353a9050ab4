//! `GET /openapi.json`: every path of both listeners, from one table.
//!
//! In: nothing. Out: OpenAPI 3.1.

use crate::http::error::Code;
use serde_json::{Map, Value, json};

/// Method, path, status of success, what it does.
const PATHS: [(&str, &str, u16, &str); 44] = [
    (
        "post",
        "/v1/namespaces/{ns}/records",
        202,
        "Appends one record, or with application/x-ndjson one a line. Ingest listener.",
    ),
    ("get", "/v1/namespaces/{ns}", 200, "A namespace's public limits. Ingest listener."),
    ("get", "/v1/namespaces/{ns}/records/{id}", 200, "A record's state for each target. Ingest listener."),
    ("delete", "/v1/namespaces/{ns}/records/{id}", 200, "Cancels a record. Ingest listener."),
    (
        "patch",
        "/v1/namespaces/{ns}/records/{id}",
        200,
        "Gives a record another time: {\"deliver_at\":\"…\"}. Ingest listener.",
    ),
    ("get", "/livez", 200, "The process lives. Both listeners."),
    ("get", "/readyz", 200, "The host takes records; ?verbose shows each check. Both listeners."),
    ("get", "/startupz", 200, "Every namespace runs. Both listeners."),
    ("get", "/metrics", 200, "Prometheus text."),
    ("get", "/openapi.json", 200, "This document."),
    ("get", "/problems/{code}", 200, "What a problem means and what to do."),
    ("get", "/admin/v1/info", 200, "Version, features, durability, addresses, uptime."),
    ("get", "/admin/v1/namespaces", 200, "All namespaces."),
    ("get", "/admin/v1/namespaces/{ns}", 200, "A namespace with its configuration and ETag."),
    ("put", "/admin/v1/namespaces/{ns}", 200, "Makes or changes a namespace; If-Match and If-None-Match are heeded."),
    ("delete", "/admin/v1/namespaces/{ns}", 200, "Deletes a namespace with all its records."),
    ("post", "/admin/v1/namespaces/{ns}:pause", 200, "Pauses delivery; ?ingest=true ingest too."),
    ("post", "/admin/v1/namespaces/{ns}:resume", 200, "Resumes delivery and ingest."),
    ("get", "/admin/v1/namespaces/{ns}/targets", 200, "All targets of a namespace."),
    ("get", "/admin/v1/namespaces/{ns}/targets/{target}", 200, "State, breaker, backlog, accounts, last error."),
    (
        "delete",
        "/admin/v1/namespaces/{ns}/targets/{target}",
        200,
        "Deletes a target that is no longer configured; its pending records are cancelled.",
    ),
    ("post", "/admin/v1/namespaces/{ns}/targets/{target}:pause", 200, "Pauses a target."),
    ("post", "/admin/v1/namespaces/{ns}/targets/{target}:resume", 200, "Resumes a target and closes its breaker."),
    (
        "post",
        "/admin/v1/namespaces/{ns}/targets/{target}:check",
        200,
        "Asks the destination whether it would take records.",
    ),
    ("get", "/admin/v1/plugins", 200, "Components that are kept."),
    ("post", "/admin/v1/plugins", 201, "Uploads a component (application/wasm)."),
    ("get", "/admin/v1/plugins/{digest}", 200, "One component."),
    ("delete", "/admin/v1/plugins/{digest}", 200, "Forgets a component that nothing has loaded."),
    ("get", "/admin/v1/namespaces/{ns}/slots", 200, "Slots that have had a plugin."),
    ("get", "/admin/v1/namespaces/{ns}/slots/{slot}", 200, "What a slot has loaded."),
    ("put", "/admin/v1/namespaces/{ns}/slots/{slot}", 200, "Loads a plugin; ?dry_run=true only tries it."),
    ("get", "/admin/v1/namespaces/{ns}/slots/{slot}/versions", 200, "A slot's versions, the newest first."),
    ("post", "/admin/v1/namespaces/{ns}/slots/{slot}:rollback", 200, "Loads the version before."),
    ("get", "/admin/v1/namespaces/{ns}/records", 200, "Records at rest; ?from= and ?limit=."),
    (
        "get",
        "/admin/v1/namespaces/{ns}/dlq",
        200,
        "Dead letters; filters target, code, since, until, digest; cursor, limit.",
    ),
    ("get", "/admin/v1/namespaces/{ns}/dlq/groups", 200, "Dead letters by code, target and digest."),
    ("get", "/admin/v1/namespaces/{ns}/dlq/{id}", 200, "One dead letter with its record and history."),
    ("post", "/admin/v1/namespaces/{ns}/dlq:redrive", 202, "Sends dead letters through again; answers a task."),
    (
        "post",
        "/admin/v1/namespaces/{ns}/dlq:purge",
        200,
        "Removes dead letters for good, when there are as many as expected.",
    ),
    ("get", "/admin/v1/tasks", 200, "All tasks, the newest first."),
    ("get", "/admin/v1/tasks/{id}", 200, "One task."),
    ("delete", "/admin/v1/tasks/{id}", 200, "Cancels a task."),
    ("get", "/admin/v1/config", 200, "The configuration, secrets masked."),
    ("get", "/admin/v1/audit", 200, "Changes, the newest first."),
];

const CONFIG_PATHS: [(&str, &str, u16, &str); 2] = [
    ("post", "/admin/v1/config:validate", 200, "Checks a configuration (TOML)."),
    ("post", "/admin/v1/config:reload", 200, "Reads the files again; answers what changed."),
];

/// The document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, status, summary) in PATHS.iter().chain(&CONFIG_PATHS) {
        let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let parameters: Vec<Value> = names
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                status.to_string(): { "description": "It worked." },
                "default": {
                    "description": "A problem (RFC 9457).",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        });
        let methods = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        methods[*method] = operation;
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "walhost", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail", "code", "request_id"],
                    "properties": {
                        "type": { "type": "string" },
                        "title": { "type": "string" },
                        "status": { "type": "integer" },
                        "detail": { "type": "string" },
                        "code": { "enum": codes },
                        "request_id": { "type": "string" },
                        "limit": { "type": "integer" },
                        "location": { "type": "string" },
                        "errors": { "type": "array", "items": {
                            "type": "object",
                            "properties": { "line": { "type": "integer" }, "pointer": { "type": "string" }, "detail": { "type": "string" } },
                        } },
                    },
                },
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_parameters_and_a_problem() {
        let document = document();
        let slot = &document["paths"]["/admin/v1/namespaces/{ns}/slots/{slot}:rollback"]["post"];
        assert_eq!(slot["parameters"].as_array().map(Vec::len), Some(2));
        let all = document["paths"].as_object().map_or(0, Map::len);
        assert!(all > 30 && slot["responses"]["default"].is_object());
    }
}
