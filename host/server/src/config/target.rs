//! One target's table, and the rules that targets and namespaces share.
//!
//! In: its node and its namespace's. Out: `Target`, with the namespace's retry and breaker below its own.

use super::Chosen;
use super::de;
use super::diagnostics::Diagnostic;
use super::kinds::PLUGIN;
use super::limits;
use super::model::{Batch, Breaker, Destination, OnExhausted, Ordering, PluginUse, Retry, Target};
use super::namespace::{Surroundings, kind_of, unknown_kind};
use super::node::{Kind, Node};
use super::process::{duration, range};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::net::IpAddr;
use walhost_core::config::Rate;
use walhost_core::plugin::{Grants, PluginLimits};
use walhost_core::queue::From;
use walhost_core::{PluginName, TargetName};

/// Keys that every target has; the others are its backend's.
pub(super) const COMMON: [&str; 9] =
    ["type", "transform", "retry", "breaker", "concurrency", "batch", "rate", "auto_rollback", "from"];

/// The namespace around a target.
pub(super) struct Above<'a> {
    pub namespace: &'a Node,
    pub ordering: Ordering,
    pub concurrency: u64,
    pub surroundings: &'a Surroundings<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawTarget {
    /// Read before; here so that the key is known.
    r#type: Option<IgnoredAny>,
    transform: Option<RawUse>,
    /// Read with the namespace's; here so that the key is known.
    retry: Option<IgnoredAny>,
    /// Read with the namespace's; here so that the key is known.
    breaker: Option<IgnoredAny>,
    concurrency: Option<u64>,
    batch: Batch,
    rate: Option<Rate>,
    auto_rollback: bool,
    from: Start,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum Start {
    #[default]
    Latest,
    Earliest,
}

#[derive(Deserialize)]
pub(super) struct RawUse {
    plugin: PluginName,
    #[serde(default)]
    settings: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    grants: Option<Grants>,
    #[serde(default)]
    limits: Option<PluginLimits>,
}

/// The keys of `type = "plugin"`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawSink {
    plugin: Option<PluginName>,
    settings: Option<serde_json::Map<String, serde_json::Value>>,
    grants: Option<Grants>,
    limits: Option<PluginLimits>,
}

/// Reads a target. `None` only comes with a diagnostic.
pub(super) fn read(name: &TargetName, node: &Node, above: &Above<'_>, found: &mut Vec<Diagnostic>) -> Option<Target> {
    if !matches!(node.kind, Kind::Table(_)) {
        let message = format!("{} stands where a table is wanted", node.kind.name());
        found.push(Diagnostic::error("wrong-type", node.place.clone(), message));
        return None;
    }
    let common = node.only(&COMMON);
    let (raw, troubles) = de::read::<RawTarget>(&common);
    found.extend(troubles);
    let destination = destination(node, above, found);
    let retry = layered::<Retry>(node, above.namespace, "retry", found);
    let breaker = layered::<Breaker>(node, above.namespace, "breaker", found);
    if let (Some(retry), Some(_)) = (&retry, node.at("retry")) {
        check_retry(retry, node, found);
    }
    if let (Some(breaker), Some(_)) = (&breaker, node.at("breaker")) {
        check_breaker(breaker, node, found);
    }
    if let (Some(retry), Some(_)) = (&retry, node.at("retry.on_exhausted")) {
        check_park(retry, above.ordering, node, found);
    }
    let mut raw = raw?;
    if node.at("batch.records").is_none() {
        let kind = destination.as_ref().map(Destination::kind);
        let known = above.surroundings.kinds.targets.iter().find(|known| Some(known.name) == kind);
        raw.batch.records = known.map_or(raw.batch.records, |kind| kind.batch_records);
    }
    check_concurrency(raw.concurrency, node, found);
    range(raw.batch.records as u64, 1, limits::BATCH_RECORDS_MAX, || node.near("batch.records"), found);
    range(raw.batch.bytes.bytes(), 1, u64::MAX, || node.near("batch.bytes"), found);
    duration(node, "batch.linger", Some(raw.batch.linger), 0, found);
    let transform = raw.transform.map(|one| {
        known_plugin(&one.plugin, node, "transform.plugin", above.surroundings, found);
        in_slot(one.plugin, one.settings, one.grants, one.limits, node, "transform.", found)
    });
    Some(Target {
        name: name.clone(),
        destination: destination?,
        transform,
        retry: retry?,
        breaker: breaker?,
        concurrency: usize::try_from(raw.concurrency.unwrap_or(above.concurrency)).unwrap_or(1),
        batch: raw.batch,
        rate: raw.rate,
        auto_rollback: raw.auto_rollback,
        from: match raw.from {
            Start::Latest => From::Latest,
            Start::Earliest => From::Earliest,
        },
    })
}

/// A target's table over its namespace's, key by key. What is wrong with the namespace's own keys was
/// reported with the namespace.
fn layered<T: serde::de::DeserializeOwned + Default>(
    target: &Node,
    namespace: &Node,
    key: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<T> {
    match (target.at(key), namespace.at(key)) {
        (Some(own), below) => {
            let (_, troubles) = de::read::<T>(own);
            let clean = troubles.is_empty();
            found.extend(troubles);
            let whole = below.filter(|_| clean).map_or_else(|| own.clone(), |below| own.over(below));
            de::read::<T>(&whole).0
        }
        (None, Some(below)) => de::read::<T>(below).0,
        (None, None) => Some(T::default()),
    }
}

fn destination(node: &Node, above: &Above<'_>, found: &mut Vec<Diagnostic>) -> Option<Destination> {
    let kinds = &above.surroundings.kinds.targets;
    let known: Vec<&str> = kinds.iter().map(|kind| kind.name).chain([PLUGIN]).collect();
    let (word, place) = kind_of(node, &known, "a target", found)?;
    let own = node.without(&COMMON);
    let (troubles, destination) = if word == PLUGIN {
        let (raw, troubles) = de::read::<RawSink>(&own);
        let sink = raw.map(|raw| {
            raw.plugin.map(|plugin| {
                known_plugin(&plugin, node, "plugin", above.surroundings, found);
                in_slot(plugin, raw.settings, raw.grants, raw.limits, node, "", found)
            })
        });
        (troubles, sink.map(Destination::Plugin))
    } else {
        let Some(kind) = kinds.iter().find(|kind| kind.name == word) else {
            found.push(unknown_kind(&word, place, &known, "target"));
            return None;
        };
        let findings = (kind.read)(&own);
        for complaint in findings.complaints {
            let diagnostic = Diagnostic::error("bad-value", own.near(&complaint.key), complaint.what);
            found.push(diagnostic.help(complaint.help));
        }
        let clean = findings.troubles.is_empty();
        let chosen = clean.then(|| Chosen { kind: word, table: own.to_json() });
        (findings.troubles, chosen.map(Destination::Backend))
    };
    // The backend knows only its own keys; one that every target has may have been meant.
    for mut trouble in troubles {
        if trouble.code == "unknown-key"
            && !trouble.help.as_ref().is_some_and(|help| help.starts_with("did you mean"))
            && let Some(member) = own.members().iter().find(|member| member.key_place == trouble.place)
            && let Some(meant) = de::closest(&member.key, COMMON)
        {
            trouble.help = Some(format!("did you mean `{meant}`?"));
        }
        found.push(trouble);
    }
    destination
}

fn known_plugin(
    name: &PluginName,
    node: &Node,
    key: &str,
    surroundings: &Surroundings<'_>,
    found: &mut Vec<Diagnostic>,
) {
    if node.at(key).is_none() || surroundings.plugins.iter().any(|known| known == name.as_str()) {
        return;
    }
    let message = format!("there is no plugin `{name}`");
    let help = match de::closest(name.as_str(), surroundings.plugins.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add [plugins.{name}]"),
    };
    found.push(Diagnostic::error("unknown-plugin", node.near(key), message).help(help));
}

fn in_slot(
    plugin: PluginName,
    settings: Option<serde_json::Map<String, serde_json::Value>>,
    grants: Option<Grants>,
    own_limits: Option<PluginLimits>,
    node: &Node,
    prefix: &str,
    found: &mut Vec<Diagnostic>,
) -> PluginUse {
    if let Some(grants) = &grants {
        check_grants(grants, node, &format!("{prefix}grants"), found);
    }
    if let Some(own) = &own_limits {
        check_limits(own, node, &format!("{prefix}limits"), found);
    }
    PluginUse { plugin, settings: settings.unwrap_or_default().into(), grants, limits: own_limits }
}

/// Retry rules, of a namespace or a target.
pub(super) fn check_retry(retry: &Retry, node: &Node, found: &mut Vec<Diagnostic>) {
    if retry.factor < 1.0 || retry.factor > 100.0 {
        let message = format!("{} is out of range: 1 to 100", retry.factor);
        found.push(Diagnostic::error("out-of-range", node.near("retry.factor"), message));
    }
    range(u64::from(retry.max_attempts), 1, u64::from(u32::MAX), || node.near("retry.max_attempts"), found);
    duration(node, "retry.initial", Some(retry.initial), 1, found);
    duration(node, "retry.max_interval", Some(retry.max_interval), 1, found);
    duration(node, "retry.max_age", Some(retry.max_age), 1, found);
    if retry.initial > retry.max_interval {
        let message = format!("the first wait, {}, is longer than the longest, {}", retry.initial, retry.max_interval);
        let key = if node.at("retry.initial").is_some() { "retry.initial" } else { "retry.max_interval" };
        found.push(Diagnostic::error("out-of-range", node.near(key), message));
    }
}

/// Parking means something only where keys have an order.
pub(super) fn check_park(retry: &Retry, ordering: Ordering, node: &Node, found: &mut Vec<Diagnostic>) {
    if retry.on_exhausted == OnExhausted::Park && ordering != Ordering::Key {
        let message = "only a namespace with `ordering = \"key\"` can park a key";
        let diagnostic = Diagnostic::error("park-without-order", node.near("retry.on_exhausted"), message);
        found.push(diagnostic.help("set `ordering = \"key\"`, or use `on_exhausted = \"dead-letter\"`"));
    }
}

/// Breaker rules, of a namespace or a target.
pub(super) fn check_breaker(breaker: &Breaker, node: &Node, found: &mut Vec<Diagnostic>) {
    range(u64::from(breaker.failures), 1, u64::from(u32::MAX), || node.near("breaker.failures"), found);
    duration(node, "breaker.open", Some(breaker.open), 1, found);
    duration(node, "breaker.max_open", Some(breaker.max_open), 1, found);
    if breaker.open > breaker.max_open {
        let message = format!("the first pause, {}, is longer than the longest, {}", breaker.open, breaker.max_open);
        let key = if node.at("breaker.open").is_some() { "breaker.open" } else { "breaker.max_open" };
        found.push(Diagnostic::error("out-of-range", node.near(key), message));
    }
}

/// Concurrency, of a namespace or a target.
pub(super) fn check_concurrency(concurrency: Option<u64>, node: &Node, found: &mut Vec<Diagnostic>) {
    if let Some(value) = concurrency {
        range(value, 1, limits::CONCURRENCY_MAX, || node.near("concurrency"), found);
    }
}

/// Grants: origins are exact, addresses are ranges.
pub(super) fn check_grants(grants: &Grants, node: &Node, key: &str, found: &mut Vec<Diagnostic>) {
    for (place, grant) in grants.http.iter().enumerate() {
        let written = node.at(&format!("{key}.http.{place}.origin")).is_some();
        if written && !is_origin(&grant.origin) {
            let message = format!(
                "`{}` is not an origin: write scheme, host and port, and no path, as in \"https://search.internal:9200\"",
                grant.origin.escape_debug()
            );
            found.push(Diagnostic::error("bad-value", node.near(&format!("{key}.http.{place}.origin")), message));
        }
        for (number, cidr) in grant.cidrs.iter().enumerate().filter(|(_, cidr)| !is_cidr(cidr)) {
            let message =
                format!("`{}` is not a range of addresses: write one as in \"10.0.0.0/8\"", cidr.escape_debug());
            found.push(Diagnostic::error(
                "bad-value",
                node.near(&format!("{key}.http.{place}.cidrs.{number}")),
                message,
            ));
        }
        for name in grant.headers.keys().filter(|name| http::HeaderName::try_from(name.as_str()).is_err()) {
            let message = format!("`{}` is not the name of an HTTP header", name.escape_debug());
            found.push(Diagnostic::error(
                "bad-value",
                node.near(&format!("{key}.http.{place}.headers.{name}")),
                message,
            ));
        }
    }
}

/// Limits of a plugin: nothing of it may be zero.
pub(super) fn check_limits(own: &PluginLimits, node: &Node, key: &str, found: &mut Vec<Diagnostic>) {
    for (name, size) in [("memory", own.memory), ("output", own.output)] {
        if size.is_some_and(|size| size.bytes() == 0) {
            found.push(Diagnostic::error(
                "out-of-range",
                node.near(&format!("{key}.{name}")),
                "`0B` is out of range: at least 1B",
            ));
        }
    }
    duration(node, &format!("{key}.deadline"), own.deadline, 1, found);
    duration(node, &format!("{key}.cpu"), own.cpu, 1, found);
    if let Some(instances) = own.instances {
        range(u64::from(instances), 1, limits::CONCURRENCY_MAX, || node.near(&format!("{key}.instances")), found);
    }
}

fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && uri.path_and_query().is_none_or(|path| path == "/")
        && !text.ends_with('/')
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    }
}
