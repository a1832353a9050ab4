//! Plugins and slots: uploaded, listed, loaded, rolled back.
//!
//! In: components and what they may do. Out: digests, versions, what changed.

use super::Asked;
use super::query::bad;
use crate::catalogue::state::{Slot, SlotKind, SlotName};
use crate::host::slot::Put;
use crate::http::error::{Code, Problem};
use crate::http::show::{list, time};
use crate::http::token::Need;
use crate::http::{Answer, json};
use crate::limits::PLUGIN_BYTES_MAX;
use http::{Method, StatusCode};
use serde_json::{Value, json as object};
use std::sync::Arc;
use walhost_core::Digest;

impl Asked<'_> {
    pub(super) async fn plugins(self) -> Result<Answer, Problem> {
        self.allow("GET, POST")?;
        if *self.method() != Method::POST {
            self.need(Need::Read)?;
            return Ok(json(StatusCode::OK, &list(self.host.list_plugins().await?)));
        }
        let caller = self.need(Need::Plugins(None))?;
        let kind = self.head.headers.get(http::header::CONTENT_TYPE).map(|kind| kind.as_bytes().to_vec());
        if !kind
            .as_deref()
            .is_some_and(|kind| kind.starts_with(b"application/wasm") || kind.starts_with(b"application/octet-stream"))
        {
            return Err(Problem::new(Code::UnsupportedMediaType, "a component is sent as application/wasm"));
        }
        let host = Arc::clone(self.host);
        let component = self.bytes(PLUGIN_BYTES_MAX).await?;
        let info = host.store_plugin(component).await?;
        host.audit(&caller.name, "plugin.store", &info.digest.to_string(), object!({ "size": info.size_bytes }))
            .await?;
        Ok(json(StatusCode::CREATED, &host.plugin(info.digest).await?))
    }

    pub(super) async fn plugin(self, digest: &str) -> Result<Answer, Problem> {
        self.allow("GET, DELETE")?;
        let parsed = Digest::parse(digest)
            .ok_or_else(|| Problem::new(Code::NotFound, "a digest is sha256: and 64 hexadecimal digits"));
        if *self.method() != Method::DELETE {
            self.need(Need::Read)?;
            return Ok(json(StatusCode::OK, &self.host.plugin(parsed?).await?));
        }
        let caller = self.need(Need::Admin)?;
        let parsed = parsed?;
        self.host.delete_plugin(parsed).await?;
        self.host.audit(&caller.name, "plugin.delete", digest, object!({})).await?;
        Ok(json(StatusCode::OK, &object!({ "digest": parsed.to_string(), "deleted": true })))
    }

    pub(super) fn slots(self, namespace: &str) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let running = Arc::clone(self.host.directory.load().kept(namespace)?);
        let mut items = Vec::new();
        for target in running.targets.keys() {
            for kind in [SlotKind::Transform, SlotKind::Sink] {
                let name = SlotName { target: target.clone(), kind };
                let slot = self.host.slot(running.name(), &name);
                if !slot.versions.is_empty() {
                    items.push(shown(&name, &slot));
                }
            }
        }
        Ok(json(StatusCode::OK, &list(items)))
    }

    pub(super) async fn slot(self, namespace: &str, slot: &str) -> Result<Answer, Problem> {
        self.allow("GET, PUT")?;
        let name = slot_name(slot)?;
        if *self.method() != Method::PUT {
            self.need(Need::Read)?;
            let (running, _) = self.host.target(namespace, name.target.as_str())?;
            let kept = self.host.slot(running.name(), &name);
            return Ok(json(StatusCode::OK, &shown(&name, &kept)));
        }
        let caller = self.need(Need::Plugins(Some(namespace)))?;
        self.host.may_change()?;
        let dry_run = self.query.flag("dry_run")?;
        let host = Arc::clone(self.host);
        let put: Put = self.json().await?;
        if put.settings.as_ref().is_some_and(|settings| !settings.is_object()) {
            return Err(bad("settings", "a JSON object"));
        }
        let answer = host.put_slot(namespace, &name, put, dry_run, caller.admin).await?;
        if !dry_run {
            host.audit(&caller.name, "slot.put", &format!("{namespace}/{name}"), answer.clone()).await?;
        }
        Ok(json(StatusCode::OK, &answer))
    }

    pub(super) fn versions(self, namespace: &str, slot: &str) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let name = slot_name(slot)?;
        let (running, _) = self.host.target(namespace, name.target.as_str())?;
        let slot = self.host.slot(running.name(), &name);
        Ok(json(StatusCode::OK, &list(versions(&slot))))
    }

    pub(super) async fn roll_back(self, namespace: &str, slot: &str) -> Result<Answer, Problem> {
        self.allow("POST")?;
        let caller = self.need(Need::Plugins(Some(namespace)))?;
        self.host.may_change()?;
        let name = slot_name(slot)?;
        let answer = self.host.roll_back(namespace, &name).await?;
        self.host.audit(&caller.name, "slot.rollback", &format!("{namespace}/{name}"), answer.clone()).await?;
        Ok(json(StatusCode::OK, &answer))
    }
}

fn slot_name(text: &str) -> Result<SlotName, Problem> {
    text.parse().map_err(|why: String| Problem::new(Code::NotFound, why))
}

fn shown(name: &SlotName, slot: &Slot) -> Value {
    let loaded = slot.loaded();
    object!({
        "slot": name.to_string(),
        "digest": loaded.map(|version| version.digest.to_string()),
        "generation": loaded.map(|version| version.generation),
        "source": loaded.map(|version| version.source.as_str()),
        "versions": slot.versions.len(),
    })
}

/// The newest first. Grants show places of secrets, never the secrets.
fn versions(slot: &Slot) -> Vec<Value> {
    slot.versions
        .iter()
        .rev()
        .map(|version| {
            let mut settings = version.settings.clone();
            crate::config::show::mask(&mut settings);
            object!({
                "generation": version.generation,
                "digest": version.digest.to_string(),
                "name": version.name,
                "settings": settings,
                "grants": version.grants,
                "limits": version.limits,
                "at": time(version.at_ms),
                "source": version.source.as_str(),
                "loaded": Some(version.generation) == slot.current,
                "taken_back": version.taken_back,
            })
        })
        .collect()
}
