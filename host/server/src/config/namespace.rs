//! One namespace's table.
//!
//! In: its node, and what stands around it. Out: `Namespace`, complete; what is wrong with it, key by key
//! and across keys (I21).

use super::Chosen;
use super::de;
use super::diagnostics::Diagnostic;
use super::kinds::{FEATURES, Kinds, QUEUE_DEFAULT, QueueKind};
use super::model::{
    Breaker, Dlq, Idempotency, Namespace, NamespaceLimits, OnExhausted, Ordering, Retry, Target, Test, TestExpect,
    TestInput,
};
use super::node::{Kind, Node, Place};
use super::process::{duration, range};
use super::target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use walhost_core::config::{Duration, Size};
use walhost_core::queue::{QueueContext, QueuePolicy};
use walhost_core::{NamespaceName, ShardName, TargetName};

/// What a namespace refers to.
pub(super) struct Surroundings<'a> {
    pub kinds: &'a Kinds,
    /// Names of `[plugins]`.
    pub plugins: Vec<String>,
    /// Names of `[shards]`, and the own one.
    pub shards: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawNamespace {
    shard: Option<ShardName>,
    /// Read by its kind; here so that the key is known.
    queue: Option<IgnoredAny>,
    ordering: Ordering,
    key: Option<String>,
    limits: NamespaceLimits,
    idempotency: Idempotency,
    history: Option<Duration>,
    retry: Retry,
    breaker: Breaker,
    concurrency: Option<u64>,
    dlq: Dlq,
    /// Read one by one; here so that the key is known.
    targets: Option<IgnoredAny>,
    /// Read one by one; here so that the key is known.
    tests: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct RawTest {
    name: String,
    target: TargetName,
    input: TestInput,
    expect: Vec<TestExpect>,
}

/// Reads a namespace. `None` only comes with a diagnostic.
pub(super) fn read(
    name: &NamespaceName,
    node: &Node,
    surroundings: &Surroundings<'_>,
    found: &mut Vec<Diagnostic>,
) -> Option<Namespace> {
    let (raw, troubles) = de::read::<RawNamespace>(node);
    found.extend(troubles);
    let mut raw = raw?;
    fit(&mut raw, node, surroundings.kinds);
    check(&raw, node, surroundings, found);
    let (queue, durability) = queue(name, &raw, node, surroundings, found);
    let targets = targets(&raw, node, surroundings, found);
    if targets.is_empty() && node.at("targets").is_none_or(|targets| targets.members().is_empty()) {
        let message = "this namespace has no targets: its records are kept for nobody";
        found.push(
            Diagnostic::warning("no-targets", node.place.clone(), message).help("add [namespaces.NAME.targets.NAME]"),
        );
    }
    let tests = tests(node, found);
    Some(Namespace {
        name: name.clone(),
        shard: raw.shard,
        queue: queue?,
        durability,
        ordering: raw.ordering,
        key: raw.key,
        limits: raw.limits,
        idempotency: raw.idempotency,
        history: raw.history.unwrap_or(HISTORY),
        dlq: raw.dlq,
        targets,
        tests,
        table: node.to_json(),
    })
}

const HISTORY: Duration = Duration(86_400_000);

/// What is wrong although each key can be read.
fn check(raw: &RawNamespace, node: &Node, surroundings: &Surroundings<'_>, found: &mut Vec<Diagnostic>) {
    if let Some(shard) = &raw.shard
        && !surroundings.shards.iter().any(|known| known == shard.as_str())
    {
        let message = format!("nobody knows where shard `{shard}` is: producers get 421 without an address");
        found.push(
            Diagnostic::warning("unknown-shard", node.near("shard"), message)
                .help(format!("add [shards.{shard}] with its `url`")),
        );
    }
    if let Some(key) = &raw.key
        && !is_pointer(key)
    {
        let message = format!("`{}` is not a JSON pointer: it begins with `/`, as in \"/id\"", key.escape_debug());
        found.push(Diagnostic::error("bad-value", node.near("key"), message));
    }
    let limits = &raw.limits;
    size(node, "limits.record", limits.record, walhost_core::limits::RECORD_BYTES_HARD_MAX, found);
    size(node, "limits.batch", limits.batch, walhost_core::limits::BATCH_BYTES_HARD_MAX, found);
    size(node, "limits.backlog", limits.backlog, usize::MAX, found);
    duration(node, "limits.delay", Some(limits.delay), 0, found);
    if limits.batch < limits.record {
        let message = format!("a batch of at most {} cannot hold a record of {}", limits.batch, limits.record);
        let key = if node.at("limits.batch").is_some() { "limits.batch" } else { "limits.record" };
        found.push(
            Diagnostic::error("batch-below-record", node.near(key), message).help("make `batch` at least `record`"),
        );
    }
    if limits.backlog < limits.batch {
        let message = format!("a backlog of at most {} cannot hold a batch of {}", limits.backlog, limits.batch);
        let key = if node.at("limits.backlog").is_some() { "limits.backlog" } else { "limits.batch" };
        found.push(
            Diagnostic::error("backlog-below-batch", node.near(key), message).help("make `backlog` at least `batch`"),
        );
    }
    duration(node, "idempotency.window", Some(raw.idempotency.window), 1, found);
    range(raw.idempotency.keys, 1, u64::MAX, || node.near("idempotency.keys"), found);
    duration(node, "history", raw.history, 0, found);
    duration(node, "dlq.retention", Some(raw.dlq.retention), 1, found);
    target::check_retry(&raw.retry, node, found);
    target::check_park(&raw.retry, raw.ordering, node, found);
    target::check_breaker(&raw.breaker, node, found);
    target::check_concurrency(raw.concurrency, node, found);
}

fn size(node: &Node, key: &str, value: Size, most: usize, found: &mut Vec<Diagnostic>) {
    let most = most as u64;
    if value.bytes() < 1 || value.bytes() > most {
        let message = if most == usize::MAX as u64 {
            "`0B` is out of range: at least 1B".to_owned()
        } else {
            format!("`{value}` is out of range: 1B to {}", Size(most))
        };
        found.push(Diagnostic::error("out-of-range", node.near(key), message));
    }
}

/// Whether it is a JSON pointer (RFC 6901).
pub(super) fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escapes
}

/// The queue's kind and keys, and the durability it asks for.
fn queue(
    name: &NamespaceName,
    raw: &RawNamespace,
    node: &Node,
    surroundings: &Surroundings<'_>,
    found: &mut Vec<Diagnostic>,
) -> (Option<Chosen>, Option<String>) {
    let nothing = Node { place: node.place.clone(), kind: Kind::Table(Vec::new()) };
    let table = node.at("queue").unwrap_or(&nothing);
    if !matches!(table.kind, Kind::Table(_)) {
        let message = format!("{} stands where a table is wanted", table.kind.name());
        found.push(
            Diagnostic::error("wrong-type", table.place.clone(), message).help("write queue = { type = \"embedded\" }"),
        );
        return (None, None);
    }
    let known: Vec<&str> = surroundings.kinds.queues.iter().map(|kind| kind.name).collect();
    let word = match node.at("queue") {
        Some(_) => kind_of(table, &known, "a queue", found),
        None => Some((QUEUE_DEFAULT.to_owned(), table.place.clone())),
    };
    let Some((word, place)) = word else { return (None, None) };
    let Some(kind) = surroundings.kinds.queues.iter().find(|kind| kind.name == word) else {
        found.push(unknown_kind(&word, place, &known, "queue"));
        return (None, None);
    };
    let durability = match table.at("durability").map(|node| &node.kind) {
        Some(Kind::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let context = QueueContext {
        namespace: name.clone(),
        policy: QueuePolicy {
            ordered: raw.ordering == Ordering::Key,
            durability: durability.clone(),
            backlog_bytes_max: raw.limits.backlog.bytes(),
            idempotency_window_ms: raw.idempotency.window.ms(),
            idempotency_keys_max: raw.idempotency.keys,
            history_ms: raw.history.unwrap_or(HISTORY).ms(),
            dlq_retention_ms: raw.dlq.retention.ms(),
        },
    };
    let own = table.without(&["type"]);
    let findings = (kind.read)(&own, &context);
    let clean = findings.troubles.is_empty();
    found.extend(findings.troubles);
    for complaint in findings.complaints {
        // About a key of the queue's own, or about one of the namespace that the queue cannot keep.
        let place = match table.at(&complaint.key) {
            None if node.at(&complaint.key).is_some() => node.near(&complaint.key),
            _ => table.near(&complaint.key),
        };
        found.push(Diagnostic::error("unsupported-by-queue", place, complaint.what).help(complaint.help));
    }
    capability(kind, raw, node, table, found);
    (clean.then(|| Chosen { kind: kind.name.to_owned(), table: own.to_json() }), durability)
}

/// Limits that nobody wrote are lowered to what the queue can do.
fn fit(raw: &mut RawNamespace, node: &Node, kinds: &Kinds) {
    let word = match node.at("queue.type").map(|node| &node.kind) {
        Some(Kind::Text(word)) => word,
        _ => QUEUE_DEFAULT,
    };
    let can = kinds.queues.iter().find(|kind| kind.name == word).and_then(|kind| kind.capability.as_ref());
    let Some(can) = can else { return };
    let limits = &mut raw.limits;
    if node.at("limits.record").is_none() {
        limits.record = limits.record.min(Size(can.record_bytes_max));
    }
    if node.at("limits.batch").is_none() {
        limits.batch = limits.batch.min(Size(can.batch_bytes_max));
    }
    if let Some(most) = can.delay_ms_max
        && node.at("limits.delay").is_none()
    {
        limits.delay = limits.delay.min(Duration(most));
    }
}

/// I21: what is asked for beyond what the queue can do.
fn capability(kind: &QueueKind, raw: &RawNamespace, node: &Node, table: &Node, found: &mut Vec<Diagnostic>) {
    let mut refuse = |key: &str, what: String, help: &str| {
        let place = if node.at(key).is_some() { node.near(key) } else { table.place.clone() };
        // What is out of any range is refused already.
        if found.iter().any(|known| known.code == "out-of-range" && known.place == place) {
            return;
        }
        found.push(Diagnostic::error("unsupported-by-queue", place, what).help(help));
    };
    if raw.retry.on_exhausted == OnExhausted::Park && raw.ordering == Ordering::Key && !kind.parks {
        let what = format!("the queue `{}` cannot park a key", kind.name);
        refuse("retry.on_exhausted", what, "use `on_exhausted = \"dead-letter\"`, or another queue");
    }
    let Some(can) = &kind.capability else { return };
    if raw.ordering == Ordering::Key && !can.ordered {
        let what = format!("the queue `{}` cannot keep records of a key in order", kind.name);
        refuse("ordering", what, "use `ordering = \"none\"`, or another queue");
    }
    if let Some(most) = can.delay_ms_max
        && raw.limits.delay.ms() > most
    {
        let what = format!("the queue `{}` cannot delay a record for longer than {}", kind.name, Duration(most));
        refuse("limits.delay", what, "lower `limits.delay`, or use another queue");
    }
    for (key, asked, most) in [
        ("limits.record", raw.limits.record, can.record_bytes_max),
        ("limits.batch", raw.limits.batch, can.batch_bytes_max),
    ] {
        if asked.bytes() > most {
            let what = format!("the queue `{}` cannot take {asked} at once: at most {}", kind.name, Size(most));
            refuse(key, what, "lower the limit, or use another queue");
        }
    }
}

/// The word and place of a table's `type`.
pub(super) fn kind_of(
    table: &Node,
    known: &[&str],
    what: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<(String, Place)> {
    match table.at("type").map(|node| (&node.kind, &node.place)) {
        Some((Kind::Text(word), place)) => return Some((word.clone(), place.clone())),
        Some((other, place)) => {
            let message = format!("{} stands where the kind of {what} is wanted", other.name());
            found.push(
                Diagnostic::error("wrong-type", place.clone(), message).help(format!("use one of {}", de::list(known))),
            );
        }
        None => {
            let message = "the key `type` is missing".to_owned();
            let help = format!("say which kind of {what} it is: {}", de::list(known));
            found.push(Diagnostic::error("missing-key", table.place.clone(), message).help(help));
        }
    }
    None
}

/// A kind that this build does not have: none of the known ones, or one whose feature is left out.
pub(super) fn unknown_kind(word: &str, place: Place, known: &[&str], what: &str) -> Diagnostic {
    let elsewhere = match what {
        "queue" => ["kafka", "sqs"].as_slice(),
        _ => ["http", "memcached", "kafka", "cassandra"].as_slice(),
    };
    match FEATURES.iter().find(|(kind, _)| *kind == word && elsewhere.contains(kind)) {
        Some((kind, feature)) => {
            let message =
                format!("this build of walhost lacks the feature `{feature}`, which the {what} `{kind}` needs");
            let help = format!("build it with `--features {feature}`, or use one of {}", de::list(known));
            Diagnostic::error("missing-feature", place, message).help(help)
        }
        None => {
            let message = format!("there is no {what} `{}`", word.escape_debug());
            let help = match de::closest(word, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`? this build has {}", de::list(known)),
                None => format!("this build has {}", de::list(known)),
            };
            Diagnostic::error("unknown-kind", place, message).help(help)
        }
    }
}

fn targets(
    raw: &RawNamespace,
    node: &Node,
    surroundings: &Surroundings<'_>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<TargetName, Target> {
    let mut targets = BTreeMap::new();
    let Some(table) = node.at("targets") else { return targets };
    if !matches!(table.kind, Kind::Table(_)) {
        let message = format!("{} stands where a table of tables is wanted", table.kind.name());
        found.push(
            Diagnostic::error("wrong-type", table.place.clone(), message).help("write [namespaces.NAME.targets.NAME]"),
        );
        return targets;
    }
    if table.members().len() > walhost_core::limits::TARGETS_MAX {
        let message = format!("more than {} targets", walhost_core::limits::TARGETS_MAX);
        found.push(Diagnostic::error("out-of-range", table.place.clone(), message));
    }
    let above = target::Above {
        namespace: node,
        ordering: raw.ordering,
        concurrency: raw.concurrency.unwrap_or(16),
        surroundings,
    };
    for member in table.members() {
        let name = TargetName::new(&member.key);
        if let Err(error) = &name {
            found.push(Diagnostic::error("bad-name", member.key_place.clone(), error.to_string()));
        }
        // What stands under a bad name is read all the same, to find all that is wrong.
        let (good, name) = (name.is_ok(), name.or_else(|_| TargetName::new("unnamed")));
        if let Ok(name) = name
            && let Some(target) = target::read(&name, &member.node, &above, found)
            && good
        {
            targets.insert(name, target);
        }
    }
    targets
}

fn tests(node: &Node, found: &mut Vec<Diagnostic>) -> Vec<Test> {
    let Some(table) = node.at("tests") else { return Vec::new() };
    let Kind::List(nodes) = &table.kind else {
        found.push(Diagnostic::error(
            "wrong-type",
            table.place.clone(),
            "`tests` is a list: write [[namespaces.NAME.tests]]",
        ));
        return Vec::new();
    };
    let known: Vec<&str> =
        node.at("targets").into_iter().flat_map(Node::members).map(|member| member.key.as_str()).collect();
    let mut tests: Vec<Test> = Vec::new();
    for one in nodes {
        let (raw, troubles) = de::read::<RawTest>(one);
        found.extend(troubles);
        let Some(RawTest { name, target, input, expect }) = raw else { continue };
        if one.at("target").is_some() && !known.contains(&target.as_str()) {
            let message = format!("the namespace has no target `{target}`");
            let diagnostic = Diagnostic::error("unknown-target", one.near("target"), message);
            found.push(match de::closest(target.as_str(), known.iter().copied()) {
                Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
                None => diagnostic.help("use the name of one of its targets"),
            });
        }
        if [input.json.is_some(), input.text.is_some(), input.base64.is_some()].iter().filter(|given| **given).count()
            != 1
            && one.at("input").is_some()
        {
            let message = "a test's input has exactly one of `json`, `text` and `base64`";
            found.push(Diagnostic::error("one-too-many", one.near("input"), message));
        }
        if let Some(first) = tests.iter().position(|test| test.name == name) {
            let message = format!("the test `{}` is defined twice", name.escape_debug());
            found.push(
                Diagnostic::error("defined-twice", one.near("name"), message)
                    .also(nodes[first].near("name"), "the first time here"),
            );
        }
        tests.push(Test { name, target, input, expect });
    }
    tests
}
