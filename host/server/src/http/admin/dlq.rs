//! Records at rest: peeked at; dead letters: listed, grouped, read, redriven, purged; tasks.
//!
//! In: filters, cursors. Out: pages; names of tasks.

use super::Asked;
use super::query::bad;
use crate::host::Running;
use crate::host::task::Redrive;
use crate::http::error::{Code, Problem};
use crate::http::ingest::headers::parse_time;
use crate::http::show::{self, list, page};
use crate::http::token::Need;
use crate::http::{Answer, json};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json as object;
use std::sync::Arc;
use walhost_core::config::Rate;
use walhost_core::inspect::{DeadLetterFilter, DeadLetterId};
use walhost_core::{Digest, RecordId, TargetName};

/// A filter as JSON has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    target: Option<String>,
    code: Option<String>,
    since: Option<String>,
    until: Option<String>,
    digest: Option<String>,
    ids: Option<Vec<String>>,
}

impl Filter {
    fn read(self) -> Result<DeadLetterFilter, Problem> {
        let time = |name: &str, text: Option<String>| {
            text.map(|text| parse_time(&text).ok_or_else(|| bad(name, "an RFC 3339 time"))).transpose()
        };
        let target = self.target.map(|text| TargetName::new(&text).map_err(|_| bad("target", "the name of a target")));
        let digest = self
            .digest
            .map(|text| Digest::parse(&text).ok_or_else(|| bad("digest", "sha256: and 64 hexadecimal digits")));
        Ok(DeadLetterFilter {
            target: target.transpose()?,
            code: self.code,
            since_ms: time("since", self.since)?,
            until_ms: time("until", self.until)?,
            digest: digest.transpose()?,
            ids: self.ids.map(|ids| ids.into_iter().map(DeadLetterId).collect()),
        })
    }
}

impl Asked<'_> {
    fn reading(&self, namespace: &str) -> Result<Arc<Running>, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        self.host.directory.load().kept(namespace).cloned()
    }

    pub(super) async fn peek(self, namespace: &str) -> Result<Answer, Problem> {
        let running = self.reading(namespace)?;
        let records = running.queue().peek(self.query.get("from"), self.query.limit()?).await?;
        Ok(json(StatusCode::OK, &page(records, show::peeked)))
    }

    pub(super) async fn record(self, namespace: &str, id: &str) -> Result<Answer, Problem> {
        let running = self.reading(namespace)?;
        let found = running.queue().find(&RecordId::new(id)).await?;
        let state = found.ok_or_else(|| {
            Problem::new(Code::NotFound, format!("{namespace} knows no such record, or its history has ended"))
        })?;
        let now_ms = self.host.clock.now_ms();
        Ok(json(StatusCode::OK, &show::record_state(running.name(), &state, now_ms, |target| running.standing(target))))
    }

    pub(super) async fn dead_letters(self, namespace: &str) -> Result<Answer, Problem> {
        let running = self.reading(namespace)?;
        let owned = |name: &str| self.query.get(name).map(str::to_owned);
        let filter = Filter {
            target: owned("target"),
            code: owned("code"),
            since: owned("since"),
            until: owned("until"),
            digest: owned("digest"),
            ids: None,
        };
        let letters =
            running.queue().dead_letters(&filter.read()?, self.query.get("cursor"), self.query.limit()?).await?;
        Ok(json(StatusCode::OK, &page(letters, show::dead_letter)))
    }

    pub(super) async fn dead_letter_groups(self, namespace: &str) -> Result<Answer, Problem> {
        let running = self.reading(namespace)?;
        let groups = running.queue().dead_letter_groups().await?;
        Ok(json(StatusCode::OK, &list(groups.iter().map(show::dead_letter_group).collect())))
    }

    pub(super) async fn dead_letter(self, namespace: &str, id: &str) -> Result<Answer, Problem> {
        let running = self.reading(namespace)?;
        let found = running.queue().dead_letter(&DeadLetterId(id.to_owned())).await?;
        let detail = found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such dead letter (any more)"))?;
        Ok(json(StatusCode::OK, &show::dead_letter_detail(&detail)))
    }

    pub(super) async fn redrive(self, namespace: &str) -> Result<Answer, Problem> {
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Wanted {
            filter: Filter,
            rate: Option<Rate>,
            max: Option<u64>,
            dry_run: bool,
        }
        self.allow("POST")?;
        let caller = self.need(Need::Operate)?;
        let dry_run_asked = self.query.flag("dry_run")?;
        let host = Arc::clone(self.host);
        let wanted: Wanted = self.json().await?;
        let redrive = Redrive {
            filter: wanted.filter.read()?,
            rate_per_second: wanted.rate.map(Rate::per_second),
            max: wanted.max,
            dry_run: wanted.dry_run || dry_run_asked,
        };
        let detail =
            object!({ "filter": format!("{:?}", redrive.filter), "max": redrive.max, "dry_run": redrive.dry_run });
        let task = host.begin_redrive(namespace, redrive).await?;
        host.audit(&caller.name, "dlq.redrive", namespace, object!({ "task": task, "asked": detail })).await?;
        Ok(json(StatusCode::ACCEPTED, &object!({ "task": task })))
    }

    pub(super) async fn purge(self, namespace: &str) -> Result<Answer, Problem> {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            #[serde(default)]
            filter: Filter,
            expect_count: u64,
        }
        self.allow("POST")?;
        let caller = self.need(Need::Operate)?;
        let host = Arc::clone(self.host);
        let wanted: Wanted = self.json().await?;
        let filter = wanted.filter.read()?;
        let purged = host.purge(namespace, &filter, wanted.expect_count).await?;
        let detail = object!({ "filter": format!("{filter:?}"), "purged": purged });
        host.audit(&caller.name, "dlq.purge", namespace, detail).await?;
        Ok(json(StatusCode::OK, &object!({ "purged": purged })))
    }

    pub(super) fn tasks(self) -> Result<Answer, Problem> {
        self.allow("GET")?;
        self.need(Need::Read)?;
        let tasks = self.host.list_tasks();
        Ok(json(StatusCode::OK, &list(tasks.iter().map(crate::host::task::Task::shown).collect())))
    }

    pub(super) async fn task(self, id: &str) -> Result<Answer, Problem> {
        self.allow("GET, DELETE")?;
        let task = if *self.method() == Method::DELETE {
            let caller = self.need(Need::Operate)?;
            let task = self.host.cancel_task(id)?;
            self.host.audit(&caller.name, "task.cancel", id, object!({})).await?;
            task
        } else {
            self.need(Need::Read)?;
            self.host.task(id)?
        };
        Ok(json(StatusCode::OK, &task.shown()))
    }
}
