//! Targets: state, breaker, backlog, accounts, last error; paused, resumed, checked, deleted.
//!
//! In: names. Out: `{"name","type","state","breaker",…}`.

use super::Asked;
use crate::catalogue::Pause;
use crate::catalogue::state::{SlotKind, SlotName};
use crate::host::{Host, Running, RunningTarget};
use crate::http::error::Problem;
use crate::http::show::{self, time, time_or_null};
use crate::http::token::Need;
use crate::http::{Answer, json};
use http::{Method, StatusCode};
use serde_json::{Value, json as object};
use std::sync::Arc;
use walhost_core::TargetName;
use walhost_core::queue::Accounting;
use walhost_delivery::{PauseReason, TargetState};

impl Asked<'_> {
    pub(super) fn targets(self, namespace: &str) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let running = Arc::clone(self.host.directory.load().kept(namespace)?);
        let mut items: Vec<Value> = running.targets.values().map(|target| shown(self.host, &running, target)).collect();
        items.extend(self.host.left_over(&running).iter().map(|name| left_over(&running, name)));
        Ok(json(StatusCode::OK, &show::list(items)))
    }

    pub(super) async fn target(self, namespace: &str, target: &str) -> Result<Answer, Problem> {
        self.allow("GET, DELETE")?;
        if *self.method() == Method::DELETE {
            let caller = self.need(Need::Admin)?;
            let cancelled = self.host.delete_target(namespace, target).await?;
            let subject = format!("{namespace}/{target}");
            self.host.audit(&caller.name, "target.delete", &subject, object!({ "cancelled": cancelled })).await?;
            return Ok(json(StatusCode::OK, &object!({ "name": target, "deleted": true, "cancelled": cancelled })));
        }
        self.need(Need::Read)?;
        self.shown_target(namespace, target)
    }

    fn shown_target(&self, namespace: &str, target: &str) -> Result<Answer, Problem> {
        let found = self.host.target(namespace, target);
        let shown = match found {
            Ok((running, target)) => shown(self.host, &running, &target),
            Err(problem) => {
                let running = Arc::clone(self.host.directory.load().kept(namespace)?);
                let left = self.host.left_over(&running).into_iter().find(|name| name.as_str() == target);
                left_over(&running, &left.ok_or(problem)?)
            }
        };
        Ok(json(StatusCode::OK, &shown))
    }

    pub(super) async fn pause_target(self, namespace: &str, target: &str) -> Result<Answer, Problem> {
        self.allow("POST")?;
        let caller = self.need(Need::Operate)?;
        let (running, found) = self.host.target(namespace, target)?;
        self.host.pause_target(running.name(), &found.name, Pause::Operator).await?;
        self.host.audit(&caller.name, "target.pause", &format!("{namespace}/{target}"), object!({})).await?;
        self.shown_target(namespace, target)
    }

    pub(super) async fn resume_target(self, namespace: &str, target: &str) -> Result<Answer, Problem> {
        self.allow("POST")?;
        let caller = self.need(Need::Operate)?;
        self.host.resume_target(namespace, target).await?;
        self.host.audit(&caller.name, "target.resume", &format!("{namespace}/{target}"), object!({})).await?;
        self.shown_target(namespace, target)
    }

    pub(super) async fn check_target(self, namespace: &str, target: &str) -> Result<Answer, Problem> {
        self.allow("POST")?;
        self.need(Need::Operate)?;
        let checked = self.host.check_target(namespace, target).await?;
        let shown = match checked {
            Ok(sentence) => object!({ "ok": true, "message": sentence }),
            Err(why) => object!({ "ok": false, "message": why }),
        };
        Ok(json(StatusCode::OK, &shown))
    }
}

/// The one word for what a target does.
pub(super) fn word(running: &Running, target: &RunningTarget) -> &'static str {
    if target.is_removed() || running.removed {
        return "removed";
    }
    if running.paused {
        return TargetState::Paused { reason: PauseReason::Operator }.as_str();
    }
    target.worker.status().state.as_str()
}

/// One target.
pub(super) fn shown(host: &Host, running: &Running, target: &RunningTarget) -> Value {
    let status = target.worker.status();
    let stats = running.queue().stats().targets.get(&target.name).copied().unwrap_or_default();
    let now_ms = host.clock.now_ms();
    let (paused_because, until_ms) = match &status.state {
        TargetState::Paused { reason: PauseReason::Gone(failure) } => {
            (Some(format!("{}: {}", failure.code, failure.message)), None)
        }
        TargetState::Paused { .. } => (Some("paused by an operator".to_owned()), None),
        TargetState::Open { until_ms, .. } | TargetState::Throttled { until_ms } => (None, Some(*until_ms)),
        _ => (None, None),
    };
    let (kind, refusals) = {
        let parts = target.parts.lock();
        let mut refusals: serde_json::Map<String, Value> =
            parts.refusals.iter().map(|(kind, why)| (kind.as_str().to_owned(), why.clone().into())).collect();
        if let Some(why) = &parts.refusal {
            refusals.insert("target".to_owned(), why.clone().into());
        }
        (parts.model.destination.kind().to_owned(), refusals)
    };
    let mut slots = serde_json::Map::new();
    for kind in [SlotKind::Transform, SlotKind::Sink] {
        let name = SlotName { target: target.name.clone(), kind };
        if let Some(version) = host.slot(running.name(), &name).loaded() {
            slots.insert(
                kind.as_str().to_owned(),
                object!({
                    "digest": version.digest.to_string(),
                    "name": version.name,
                    "generation": version.generation,
                    "source": version.source.as_str(),
                }),
            );
        }
    }
    object!({
        "name": target.name,
        "type": kind,
        "state": word(running, target),
        "paused_because": paused_because,
        "until": time_or_null(until_ms),
        "breaker": {
            "state": status.breaker.state.as_str(),
            "failures": status.breaker.failures,
            "rejects": status.breaker.rejects,
            "code": status.breaker.code,
            "opened_at": time_or_null(status.breaker.opened_at_ms),
            "next_probe_at": time_or_null(status.breaker.next_probe_at_ms),
        },
        "backlog": {
            "pending": stats.accounting.pending,
            "ready": stats.ready,
            "in_flight": stats.in_flight,
            "retrying": stats.retrying,
            "scheduled": stats.scheduled,
        },
        "oldest_due_age_ms": stats.oldest_due_at_ms.map(|due| now_ms.saturating_sub(due)),
        "last_error": status.last_error.as_ref().map(|error| object!({
            "code": error.failure.code,
            "message": error.failure.message,
            "at": time(error.at_ms),
        })),
        "last_delivered_at": time_or_null(status.last_delivered_at_ms),
        "in_flight_batches": status.in_flight,
        "concurrency": status.concurrency,
        "generation": status.generation,
        "alarm": status.alarm.as_ref().map(|alarm| object!({
            "since": time(alarm.since_ms), "error": alarm.error, "batches": alarm.batches,
        })),
        "accounting": accounting(&stats.accounting),
        "slots": slots,
        "refused": refusals,
    })
}

fn accounting(accounting: &Accounting) -> Value {
    object!({
        "accepted": accounting.accepted,
        "delivered": accounting.delivered,
        "dead": accounting.dead,
        "pending": accounting.pending,
        "filtered": accounting.filtered,
        "purged": accounting.purged,
        "expired": accounting.expired,
        "cancelled": accounting.cancelled,
    })
}

/// A target that nobody configures any more and that no worker has since the last start: its records are kept
/// until it is configured again, or deleted.
fn left_over(running: &Running, name: &TargetName) -> Value {
    let stats = running.queue().stats().targets.get(name).copied().unwrap_or_default();
    object!({ "name": name, "state": "removed", "accounting": accounting(&stats.accounting) })
}
