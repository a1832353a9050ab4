//! The host itself: what it is, how it is configured, who changed what, what a problem means.
//!
//! In: nothing, or a configuration to look at. Out: JSON; secrets masked (I40).

use super::Asked;
use crate::config;
use crate::http::error::{Code, Problem, explanation};
use crate::http::show::time;
use crate::http::token::Need;
use crate::http::{Answer, json};
use crate::limits::ADMIN_JSON_BYTES_MAX;
use http::StatusCode;
use serde_json::json as object;
use std::path::Path;
use std::sync::Arc;
use walhost_core::exec;

impl Asked<'_> {
    pub(super) fn info(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let host = self.host;
        let model = host.model.load();
        let uptime = host.clock.monotonic().saturating_sub(host.started_at);
        let kinds = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let info = object!({
            "version": env!("CARGO_PKG_VERSION"),
            "features": crate::builtin::features(),
            "queues": kinds(host.kinds.queues.iter().map(|kind| kind.name).collect()),
            "targets": kinds(host.kinds.targets.iter().map(|kind| kind.name).chain(["plugin"]).collect()),
            "wit_versions": walhost_plugin::versions(),
            "shard": model.shard.name,
            "config_managed": model.shard.config_managed,
            "durability": "fsync",
            "durability_note": "a record is on this host's disk before it is acknowledged; losing that disk loses what it had not delivered",
            "data_dir": model.shard.data_dir.display().to_string(),
            "clean_start": host.embedded.report().clean,
            "lost": host.embedded.report().damage.clone(),
            "ingest_url": format!("http://{}", host.addresses.ingest),
            "admin_url": format!("http://{}", host.addresses.admin),
            "pid": std::process::id(),
            "started_at": time(host.started_at_ms),
            "uptime_ms": u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        });
        Ok(json(StatusCode::OK, &info))
    }

    pub(super) fn config(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        Ok(json(StatusCode::OK, &config::show::show(&self.host.model.load())))
    }

    pub(super) async fn config_validate(self) -> Result<Answer, Problem> {
        self.allow("POST")?;
        // What it includes is read with the host's own rights, and told of in diagnostics.
        self.need(Need::Admin)?;
        let host = Arc::clone(self.host);
        let body = self.bytes(ADMIN_JSON_BYTES_MAX).await?;
        let text =
            String::from_utf8(body.to_vec()).map_err(|_| Problem::new(Code::BadRequest, "TOML is UTF-8 text"))?;
        let directory = host.config_path.as_deref().and_then(Path::parent).unwrap_or(Path::new(".")).to_owned();
        let kinds = host.kinds.clone();
        let read = exec::blocking(move || config::load_text("request.toml", &directory, &text, &kinds)).await;
        let read = read.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let diagnostics = match &read {
            Ok(loaded) => loaded.warnings.to_json(),
            Err(diagnostics) => diagnostics.to_json(),
        };
        Ok(json(StatusCode::OK, &object!({ "valid": read.is_ok(), "diagnostics": diagnostics })))
    }

    pub(super) async fn config_reload(self) -> Result<Answer, Problem> {
        self.allow("POST")?;
        let caller = self.need(Need::Admin)?;
        let answer = self.host.reload().await?;
        self.host.audit(&caller.name, "config.reload", "-", answer.clone()).await?;
        Ok(json(StatusCode::OK, &answer))
    }

    pub(super) async fn audit(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Admin)?;
        let limit = self.query.limit()?;
        let cursor = self.query.parse("cursor", "the `next` of the page before")?;
        let audit = Arc::clone(&self.host.audit);
        let read = exec::blocking(move || audit.page(cursor, limit)).await;
        let (items, next) = read
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?
            .map_err(|error| Problem::new(Code::Internal, format!("the audit log cannot be read: {error}")))?;
        Ok(json(StatusCode::OK, &object!({ "items": items, "next": next.map(|next| next.to_string()) })))
    }

    pub(super) fn problem(self, code: &str) -> Result<Answer, Problem> {
        self.allow("GET")?;
        let known = Code::ALL.iter().find(|known| known.as_str() == code);
        let (Some(known), Some(text)) = (known, explanation(code)) else {
            return Err(Problem::new(Code::NotFound, "there is no problem of that code"));
        };
        let shown = object!({ "code": code, "status": known.status(), "title": known.title(), "explanation": text });
        Ok(json(StatusCode::OK, &shown))
    }

    pub(super) fn openapi(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        Ok(json(StatusCode::OK, &super::openapi::document()))
    }

    pub(super) fn metrics(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let text = super::metrics::exposition(self.host);
        Ok(crate::http::raw(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into()))
    }
}
