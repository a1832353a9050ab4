//! The demo's own destinations: a webhook, and an index server that speaks the bulk API.
//!
//! In: requests of the host. Out: what each record's id was confirmed with, and how often.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use walhost_tests::http::{Received, Reply, serve};

/// What a destination has seen.
#[derive(Default)]
pub struct Seen {
    /// Confirmations by record (webhook) or document (index).
    pub records: HashMap<String, u64>,
    /// Confirmations in all.
    pub confirmed: u64,
}

impl Seen {
    fn confirm(&mut self, id: &str) {
        *self.records.entry(id.to_owned()).or_default() += 1;
        self.confirmed += 1;
    }

    /// Confirmations of what had been confirmed before.
    pub fn again(&self) -> u64 {
        self.confirmed - self.records.len() as u64
    }
}

/// Shared with the story.
pub type SharedSeen = Arc<Mutex<Seen>>;

/// Takes every record, by `webhook-id`.
pub async fn webhook() -> anyhow::Result<(SocketAddr, SharedSeen)> {
    let seen = SharedSeen::default();
    let state = Arc::clone(&seen);
    let address = serve(move |received: Received| {
        let Some(id) = received.headers.get("webhook-id").and_then(|id| id.to_str().ok()) else {
            return Reply::new(400, "{\"error\":\"no webhook-id\"}");
        };
        state.lock().expect("no handler panics").confirm(id);
        Reply::new(200, "{}")
    })
    .await?;
    Ok((address, seen))
}

/// Takes `_bulk` requests with external versions, as Elasticsearch and OpenSearch do: a version that is
/// lower than the one it has is a conflict.
pub async fn index() -> anyhow::Result<(SocketAddr, SharedSeen)> {
    let seen = SharedSeen::default();
    let state = Arc::clone(&seen);
    let versions = Mutex::new(HashMap::<String, u64>::new());
    let address = serve(move |received: Received| {
        if !received.path.ends_with("/_bulk") {
            return Reply::new(404, "{\"error\":\"only _bulk is spoken here\"}");
        }
        if received.value.last() != Some(&b'\n') {
            return Reply::new(400, "{\"error\":{\"type\":\"illegal_argument_exception\"}}");
        }
        let mut versions = versions.lock().expect("no handler panics");
        let mut lines = received.value.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut items = Vec::new();
        while let Some(action) = lines.next().and_then(|line| serde_json::from_slice::<Value>(line).ok()) {
            let Some((verb, meta)) = action.as_object().and_then(|action| action.iter().next()) else { break };
            let id = meta["_id"].as_str().unwrap_or_default().to_owned();
            let document = if verb == "delete" { None } else { lines.next() };
            let version = meta["version"].as_u64().unwrap_or(0);
            let status = match (document.map(serde_json::from_slice::<Value>), versions.get(&id)) {
                (Some(Err(_)), _) => 400,
                (_, Some(newer)) if *newer > version => 409,
                (_, Some(_)) => 200,
                (_, None) => 201,
            };
            if status < 300 {
                versions.insert(id.clone(), version);
                state.lock().expect("no handler panics").confirm(&id);
            }
            items.push(json!({ verb.as_str(): { "_index": meta["_index"], "_id": id, "status": status } }));
        }
        Reply::new(200, json!({ "took": 0, "errors": false, "items": items }).to_string())
    })
    .await?;
    Ok((address, seen))
}
