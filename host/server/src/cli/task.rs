//! Long-running work of the host.
//!
//! In: ids. Out: how far it is.

use super::Session;
use super::arguments::TaskCommand;
use super::client::{Ask, Door, escape};
use super::failure::{FAILED, Failure};
use super::output::Column;
use http::Method;
use serde_json::Value;
use std::time::Duration;

/// Columns of a list of tasks.
const COLUMNS: [Column; 9] = [
    ("task", "/id"),
    ("kind", "/kind"),
    ("namespace", "/namespace"),
    ("state", "/state"),
    ("matched", "/matched"),
    ("moved", "/moved"),
    ("failed", "/failed"),
    ("remaining", "/remaining"),
    ("started", "/started_at"),
];

/// Between two looks at a task.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

fn path(id: &str) -> String {
    format!("/admin/v1/tasks/{}", escape(id))
}

/// `walhost task`.
pub async fn run(session: &Session, command: &TaskCommand) -> Result<u8, Failure> {
    match command {
        TaskCommand::List => session.output.list(&session.client.get("/admin/v1/tasks").await?, &COLUMNS)?,
        TaskCommand::Get { id } => session.output.one(&session.client.get(path(id)).await?)?,
        TaskCommand::Cancel { id } => {
            session.output.one(&session.client.ask(Ask::new(Door::Admin, Method::DELETE, path(id))).await?)?;
        }
    }
    Ok(0)
}

/// Waits until a task has ended and prints it; 1 when it failed.
pub async fn wait(session: &Session, id: &str) -> Result<u8, Failure> {
    loop {
        let task = session.client.get(path(id)).await?;
        match task.get("state").and_then(Value::as_str) {
            Some("running") => {
                walhost_core::Clock::sleep(&walhost_core::time::SystemClock::default(), LOOK_INTERVAL).await
            }
            state => {
                session.output.one(&task)?;
                return Ok(if state == Some("done") { 0 } else { FAILED });
            }
        }
    }
}
