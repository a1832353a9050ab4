//! Dead letters: list, groups, get, redrive, purge, export.
//!
//! In: filters. Out: pages; tasks.

use super::Session;
use super::arguments::{DeadLetterCommand, FilterArguments};
use super::ask::{can_ask, sure};
use super::client::escape;
use super::failure::Failure;
use super::{output, task};
use serde_json::{Map, Value, json};
use walhost_core::config::Duration;

fn path(namespace: &str, rest: &str) -> String {
    format!("/admin/v1/namespaces/{}/dlq{rest}", escape(namespace))
}

/// `walhost dlq`.
pub async fn run(session: &Session, command: &DeadLetterCommand) -> Result<u8, Failure> {
    let client = &session.client;
    match command {
        DeadLetterCommand::List { namespace, filter, limit } => {
            let letters = client.pages(&path(namespace, ""), &query(filter)?, "cursor", *limit).await?;
            let columns = [
                ("id", "/id"),
                ("record", "/record"),
                ("target", "/target"),
                ("code", "/code"),
                ("attempts", "/attempts"),
                ("exhausted", "/exhausted"),
                ("plugin", "/digest"),
                ("dead at", "/dead_at"),
                ("message", "/message"),
            ];
            session.output.list(&letters, &columns)?;
        }
        DeadLetterCommand::Groups { namespace } => {
            let columns = [
                ("count", "/count"),
                ("code", "/code"),
                ("target", "/target"),
                ("plugin", "/digest"),
                ("oldest", "/oldest_at"),
                ("newest", "/newest_at"),
            ];
            session.output.list(&client.get(path(namespace, "/groups")).await?, &columns)?;
        }
        DeadLetterCommand::Get { namespace, id } => {
            session.output.one(&client.get(path(namespace, &format!("/{}", escape(id)))).await?)?;
        }
        DeadLetterCommand::Redrive { namespace, filter, rate, max, dry_run, wait } => {
            let asked = json!({ "filter": parts(filter)?, "rate": rate, "max": max, "dry_run": dry_run });
            let answer = client.post(path(namespace, ":redrive"), &asked).await?;
            if *wait || *dry_run {
                let id = answer.get("task").and_then(Value::as_str).unwrap_or_default();
                return task::wait(session, id).await;
            }
            session.output.one(&answer)?;
        }
        DeadLetterCommand::Purge { namespace, filter } => {
            can_ask(session, &format!("removes dead letters of {namespace} for good"))?;
            let letters = client.pages(&path(namespace, ""), &query(filter)?, "cursor", usize::MAX).await?;
            let count = letters.get("items").and_then(Value::as_array).map_or(0, Vec::len);
            sure(session, &format!("removes {count} dead letters of {namespace} for good"))?;
            let asked = json!({ "filter": parts(filter)?, "expect_count": count });
            session.output.one(&client.post(path(namespace, ":purge"), &asked).await?)?;
        }
        DeadLetterCommand::Export { namespace, filter, limit } => {
            let letters = client.pages(&path(namespace, ""), &query(filter)?, "cursor", *limit).await?;
            for letter in letters.get("items").and_then(Value::as_array).into_iter().flatten() {
                let id = letter.get("id").and_then(Value::as_str).unwrap_or_default();
                let whole = client.get(path(namespace, &format!("/{}", escape(id)))).await?;
                output::print(&format!("{whole}\n"))?;
            }
        }
    }
    Ok(0)
}

/// The filter as JSON, times absolute.
fn parts(filter: &FilterArguments) -> Result<Map<String, Value>, Failure> {
    let mut parts = Map::new();
    for (name, value) in [
        ("target", filter.target.clone()),
        ("code", filter.code.clone()),
        ("since", filter.since.as_deref().map(time).transpose()?),
        ("until", filter.until.as_deref().map(time).transpose()?),
        ("digest", filter.digest.clone()),
    ] {
        if let Some(value) = value {
            parts.insert(name.to_owned(), value.into());
        }
    }
    Ok(parts)
}

/// The filter as a query, each part begun with `&`.
fn query(filter: &FilterArguments) -> Result<String, Failure> {
    let parts = parts(filter)?;
    Ok(parts.iter().map(|(name, value)| format!("&{name}={}", escape(value.as_str().unwrap_or_default()))).collect())
}

/// RFC 3339 as it is; a duration counts back from now.
fn time(text: &str) -> Result<String, Failure> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let ago: Duration =
        text.parse().map_err(|_| Failure::usage(format!("`{text}` is no RFC 3339 time and no duration as in `2h`")))?;
    let clock = walhost_core::time::SystemClock::default();
    let at_ms = walhost_core::Clock::now_ms(&clock).saturating_sub(ago.ms());
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    Ok(at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_so_long_ago() {
        assert_eq!(time("2027-01-01T00:00:00Z").unwrap(), "2027-01-01T00:00:00Z");
        let ago: jiff::Timestamp = time("1h").unwrap().parse().unwrap();
        assert!(ago < jiff::Timestamp::now());
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn a_filter_names_only_what_was_given() {
        let filter =
            FilterArguments { code: Some("http-400".into()), digest: Some("sha256:a b".into()), ..Default::default() };
        assert_eq!(query(&filter).unwrap(), "&code=http-400&digest=sha256:a%20b");
    }
}
