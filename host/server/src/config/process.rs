//! The tables of the process: `[server]`, `[shard]`, `[shards.*]`, `[plugins.*]`; and the whole model.
//!
//! In: the merged tables. Out: `Model`; what is wrong goes to the files' findings.

use super::de;
use super::diagnostics::Diagnostic;
use super::files::{Files, Merged};
use super::kinds::Kinds;
use super::limits;
use super::model::{Listener, ListenerLimits, Model, Peer, Plugin, PluginSource, Server, Shard, Tls, Tokens};
use super::namespace::{self, Surroundings};
use super::node::{Kind, Member, Node, Place};
use super::{target, tokens};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use walhost_core::config::{Duration, Size};
use walhost_core::plugin::{Grants, PluginLimits};
use walhost_core::{Digest, NamespaceName, PluginName, ShardName};

/// Where the ingest listener is when nobody says.
pub const INGEST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// Where the admin listener is when nobody says.
pub const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7071);

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawServer {
    ingest: RawListener,
    admin: RawListener,
    drain_timeout: Option<Duration>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawListener {
    listen: Option<Address>,
    limits: ListenerLimits,
    tokens: Option<RawTokens>,
    tls: Option<Tls>,
}

#[derive(Deserialize)]
struct RawTokens {
    file: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawShard {
    name: Option<ShardName>,
    data_dir: Option<PathBuf>,
    min_free: Option<Size>,
    config_managed: bool,
}

#[derive(Deserialize)]
pub(super) struct RawPeer {
    url: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawPlugin {
    r#ref: Option<PathBuf>,
    digest: Option<DigestText>,
    grants: Grants,
    limits: PluginLimits,
}

/// An IP address and a port; `localhost` is 127.0.0.1.
struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let numeric = text.strip_prefix("localhost:").map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
        numeric.parse().map(Address).map_err(|_| {
            let text = text.escape_debug();
            serde::de::Error::custom(format!("`{text}` is not an address: write IP and port, as in \"127.0.0.1:7070\""))
        })
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub(super) struct DigestText(pub Digest);

impl<'de> Deserialize<'de> for DigestText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = text.starts_with("sha256:").then(|| Digest::parse(&text)).flatten();
        digest.map(DigestText).ok_or_else(|| {
            let text = text.escape_debug();
            serde::de::Error::custom(format!("`{text}` is not a digest: write sha256: and 64 hexadecimal digits"))
        })
    }
}

/// Reads everything. `None` only comes with a diagnostic.
pub(super) fn read(files: &mut Files, merged: &Merged, directory: &Path, kinds: &Kinds) -> Option<Model> {
    let server = server(files, merged.single.get("server"));
    let found = &mut files.found;
    let shard = shard(merged.single.get("shard"), directory, found);
    let shards = named(merged, "shards", found, peer);
    let plugins = named(merged, "plugins", found, plugin);
    let names = |table| merged.named.get(table).into_iter().flatten().map(|member: &Member| member.key.clone());
    let surroundings = Surroundings {
        kinds,
        plugins: names("plugins").collect(),
        shards: names("shards")
            .chain(shard.as_ref().and_then(|shard| shard.name.as_ref()).map(ToString::to_string))
            .collect(),
    };
    let namespaces = named(merged, "namespaces", found, |name: &NamespaceName, node, found| {
        namespace::read(name, node, &surroundings, found)
    });
    if namespaces.len() > limits::NAMESPACES_MAX {
        let message = format!("more than {} namespaces", limits::NAMESPACES_MAX);
        found.push(Diagnostic::error("out-of-range", Place::Text(0, 0..0), message));
    }
    Some(Model { server: server?, shard: shard?, shards, plugins, namespaces })
}

/// Every table of one sort, by checked name.
fn named<N: FromStr + Ord, T>(
    merged: &Merged,
    table: &str,
    found: &mut Vec<Diagnostic>,
    mut read: impl FnMut(&N, &Node, &mut Vec<Diagnostic>) -> Option<T>,
) -> BTreeMap<N, T>
where
    N::Err: ToString,
{
    let mut all = BTreeMap::new();
    for member in merged.named.get(table).into_iter().flatten() {
        let name = member.key.parse::<N>();
        if let Err(error) = &name {
            found.push(Diagnostic::error("bad-name", member.key_place.clone(), error.to_string()));
        }
        // What stands under a bad name is read all the same, to find all that is wrong.
        let (good, name) = (name.is_ok(), name.or_else(|_| "unnamed".parse::<N>()));
        if let Ok(name) = name
            && let Some(value) = read(&name, &member.node, found)
            && good
        {
            all.insert(name, value);
        }
    }
    all
}

fn server(files: &mut Files, member: Option<&Member>) -> Option<Server> {
    let nothing = Node { place: Place::Text(0, 0..0), kind: Kind::Table(Vec::new()) };
    let node = member.map_or(&nothing, |member| &member.node);
    let (raw, found) = de::read::<RawServer>(node);
    files.found.extend(found);
    let raw = raw?;
    let ingest = listener(files, node, "ingest", raw.ingest, INGEST);
    let admin = listener(files, node, "admin", raw.admin, ADMIN);
    if ingest.listen == admin.listen && ingest.listen.port() != 0 {
        let message = format!("both listeners want {}", admin.listen);
        let place =
            if node.at("admin.listen").is_some() { node.near("admin.listen") } else { node.near("ingest.listen") };
        files.found.push(Diagnostic::error("same-address", place, message).help("give one of them another port"));
    }
    let drain_timeout = raw.drain_timeout.unwrap_or(Duration(30_000));
    duration(node, "drain_timeout", Some(drain_timeout), 0, &mut files.found);
    Some(Server { ingest, admin, drain_timeout })
}

fn listener(files: &mut Files, server: &Node, name: &str, raw: RawListener, default: SocketAddr) -> Listener {
    let listen = raw.listen.map_or(default, |address| address.0);
    let own = raw.tokens.map(|tokens| {
        let asked = server.at(&format!("{name}.tokens.file")).map(|node| node.place.clone());
        let tokens_read = asked.map(|place| tokens::read(files, &tokens.file, &place)).unwrap_or_default();
        Tokens { tokens: tokens_read, file: tokens.file }
    });
    if !listen.ip().is_loopback() && own.is_none() {
        let message = format!("{listen} can be reached from outside, and server.{name} asks for no tokens");
        let place = server.near(&format!("{name}.listen"));
        let help = format!("add `{name}.tokens = {{ file = \"tokens.toml\" }}`, or listen on 127.0.0.1");
        files.found.push(Diagnostic::error("no-tokens", place, message).help(help));
    }
    let limits = raw.limits;
    for (key, value) in [("header", limits.header), ("body", limits.body), ("idle", limits.idle)] {
        duration(server, &format!("{name}.limits.{key}"), Some(value), 1, &mut files.found);
    }
    let place = || server.near(&format!("{name}.limits.connections"));
    range(limits.connections as u64, 1, limits::CONNECTIONS_MAX, place, &mut files.found);
    for (key, file) in raw.tls.iter().flat_map(|tls| [("cert", &tls.cert), ("key", &tls.key)]) {
        if let Some(node) = server.at(&format!("{name}.tls.{key}")) {
            exists(file, node.place.clone(), &mut files.found);
        }
    }
    Listener { listen, limits, tokens: own, tls: raw.tls }
}

fn shard(member: Option<&Member>, directory: &Path, found: &mut Vec<Diagnostic>) -> Option<Shard> {
    let raw = match member {
        Some(member) => {
            let (raw, troubles) = de::read::<RawShard>(&member.node);
            found.extend(troubles);
            raw?
        }
        None => RawShard::default(),
    };
    Some(Shard {
        name: raw.name,
        data_dir: raw.data_dir.unwrap_or_else(|| directory.join("data")),
        min_free: raw.min_free.unwrap_or(Size(1 << 30)),
        config_managed: raw.config_managed,
    })
}

fn peer(_: &ShardName, node: &Node, found: &mut Vec<Diagnostic>) -> Option<Peer> {
    let (raw, troubles) = de::read::<RawPeer>(node);
    found.extend(troubles);
    let url = raw?.url;
    let uri = url.parse::<http::Uri>().ok();
    if node.at("url").is_some()
        && !uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
    {
        let message = format!(
            "`{}` is not a URL: write scheme, host and port, as in \"http://ads.wal.internal:7070\"",
            url.escape_debug()
        );
        found.push(Diagnostic::error("bad-value", node.near("url"), message));
    }
    Some(Peer { url })
}

fn plugin(name: &PluginName, node: &Node, found: &mut Vec<Diagnostic>) -> Option<Plugin> {
    let (raw, troubles) = de::read::<RawPlugin>(node);
    let clean = troubles.is_empty();
    found.extend(troubles);
    let raw = raw?;
    target::check_grants(&raw.grants, node, "grants", found);
    target::check_limits(&raw.limits, node, "limits", found);
    let source = match (raw.r#ref, raw.digest) {
        (Some(path), None) => {
            exists(&path, node.near("ref"), found);
            PluginSource::Ref(path)
        }
        (None, Some(digest)) => PluginSource::Digest(digest.0),
        (None, None) => {
            if clean {
                let message = format!("plugin `{name}` has neither `ref` nor `digest`");
                let help = "add `ref = \"plugins/NAME.wasm\"`, or `digest = \"sha256:…\"` of one that is in the store";
                found.push(Diagnostic::error("missing-key", node.place.clone(), message).help(help));
            }
            return None;
        }
        (Some(path), Some(_)) => {
            let message = format!("plugin `{name}` has both `ref` and `digest`");
            found.push(Diagnostic::error("one-too-many", node.near("digest"), message).help("keep one of them"));
            PluginSource::Ref(path)
        }
    };
    Some(Plugin { source, grants: raw.grants, limits: raw.limits })
}

/// That a file is there and is a file.
fn exists(path: &Path, place: Place, found: &mut Vec<Diagnostic>) {
    if !path.is_file() {
        let message = format!("there is no file {}", path.display());
        found.push(
            Diagnostic::error("no-such-file", place, message).help("paths are relative to the file they stand in"),
        );
    }
}

/// That a number is within bounds, both inclusive.
pub(super) fn range(value: u64, least: u64, most: u64, place: impl FnOnce() -> Place, found: &mut Vec<Diagnostic>) {
    if value < least || value > most {
        let message = match most {
            4_294_967_295.. => format!("{value} is out of range: at least {least}"),
            _ => format!("{value} is out of range: {least} to {most}"),
        };
        found.push(Diagnostic::error("out-of-range", place(), message));
    }
}

/// That a duration is at least so many milliseconds and no longer than ten years.
pub(super) fn duration(node: &Node, key: &str, value: Option<Duration>, least_ms: u64, found: &mut Vec<Diagnostic>) {
    let Some(value) = value else { return };
    if value.ms() < least_ms || value.ms() > limits::DURATION_MS_MAX {
        let (least, most) = (Duration(least_ms), Duration(limits::DURATION_MS_MAX));
        let message = format!("`{value}` is out of range: {least} to {most}");
        found.push(Diagnostic::error("out-of-range", node.near(key), message));
    }
}
