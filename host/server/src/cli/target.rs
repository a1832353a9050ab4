//! Targets of a namespace.
//!
//! In: names. Out: states; pauses, resumes, checks.

use super::Session;
use super::arguments::TargetCommand;
use super::ask::{can_ask, sure};
use super::client::{Ask, Door, escape};
use super::failure::{FAILED, Failure};
use super::output::Column;
use http::Method;
use serde_json::{Value, json};

/// Columns of a list of targets.
pub const COLUMNS: [Column; 10] = [
    ("target", "/name"),
    ("type", "/type"),
    ("state", "/state"),
    ("accepted", "/accounting/accepted"),
    ("delivered", "/accounting/delivered"),
    ("pending", "/accounting/pending"),
    ("retrying", "/backlog/retrying"),
    ("dead", "/accounting/dead"),
    ("oldest due ms", "/oldest_due_age_ms"),
    ("last error", "/last_error/code"),
];

/// Path of a namespace's targets at the admin listener.
pub fn targets(namespace: &str) -> String {
    format!("/admin/v1/namespaces/{}/targets", escape(namespace))
}

/// `walhost target`.
pub async fn run(session: &Session, command: &TargetCommand) -> Result<u8, Failure> {
    let client = &session.client;
    let path = |namespace: &str, target: &str| format!("{}/{}", targets(namespace), escape(target));
    match command {
        TargetCommand::List { namespace } => {
            session.output.list(&client.get(targets(namespace)).await?, &COLUMNS)?;
        }
        TargetCommand::Get { namespace, target } => session.output.one(&client.get(path(namespace, target)).await?)?,
        TargetCommand::Pause { namespace, target } => {
            session.output.one(&client.post(format!("{}:pause", path(namespace, target)), &json!({})).await?)?;
        }
        TargetCommand::Resume { namespace, target } => {
            session.output.one(&client.post(format!("{}:resume", path(namespace, target)), &json!({})).await?)?;
        }
        TargetCommand::Check { namespace, target } => {
            let answer = client.post(format!("{}:check", path(namespace, target)), &json!({})).await?;
            session.output.one(&answer)?;
            if answer.get("ok") == Some(&Value::Bool(false)) {
                return Ok(FAILED);
            }
        }
        TargetCommand::Delete { namespace, target } => {
            can_ask(session, &format!("deletes the target {namespace}/{target} and cancels what is pending for it"))?;
            let pending = client.get(path(namespace, target)).await.ok();
            let pending = pending.and_then(|target| target.pointer("/accounting/pending").and_then(Value::as_u64));
            let what = match pending {
                Some(pending) => {
                    format!("deletes the target {namespace}/{target} and cancels {pending} pending records for it")
                }
                None => format!("deletes the target {namespace}/{target} and cancels what is pending for it"),
            };
            sure(session, &what)?;
            let answer = client.ask(Ask::new(Door::Admin, Method::DELETE, path(namespace, target))).await?;
            session.output.one(&answer)?;
        }
    }
    Ok(0)
}
