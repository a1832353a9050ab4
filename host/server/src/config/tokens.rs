//! The file of tokens that a listener names.
//!
//! In: `[[tokens]] name, hash, scopes, expires`. Out: checked tokens; what is wrong is reported at its
//! place in that file.

use super::de;
use super::diagnostics::Diagnostic;
use super::files::{Files, absolute};
use super::model::{Scope, Token};
use super::node::{Kind, Place};
use super::process::DigestText;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use walhost_core::NamespaceName;

#[derive(Deserialize)]
struct RawToken {
    name: String,
    hash: DigestText,
    scopes: Vec<Scope>,
    #[serde(default)]
    expires: Option<Expires>,
}

/// An instant, in milliseconds since the Unix epoch.
struct Expires(u64);

impl<'de> Deserialize<'de> for Expires {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let instant = text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
        instant.map(Expires).ok_or_else(|| {
            let text = text.escape_debug();
            D::Error::custom(format!(
                "`{text}` is not an instant: write date, time and offset, as in 2027-01-01T00:00:00Z"
            ))
        })
    }
}

/// Tokens of a file; those that could be read.
pub(super) fn read(files: &mut Files, path: &Path, asked: &Place) -> Vec<Token> {
    let file = absolute(path);
    if let Some(known) = files.paths.iter().position(|known| *known == file) {
        // Both listeners name it: what is wrong with it is reported once.
        let text = files.sources[known].text.clone();
        let (node, _) = super::node::Node::from_toml(known, &text);
        return tokens(&node, &mut Vec::new());
    }
    let Some((_, node)) = files.open(path, file, Some(asked)) else { return Vec::new() };
    let mut found = Vec::new();
    let tokens = tokens(&node, &mut found);
    if tokens.is_empty() && found.is_empty() {
        found.push(Diagnostic::warning("no-tokens", node.place.clone(), "this file has no tokens: nobody can get in"));
    }
    files.found.extend(found);
    tokens
}

fn tokens(root: &super::node::Node, found: &mut Vec<Diagnostic>) -> Vec<Token> {
    for member in root.members().iter().filter(|member| member.key != "tokens") {
        found.push(de::unknown_key(&member.key, &member.key_place, &["tokens"]));
    }
    let Some(member) = root.get("tokens") else { return Vec::new() };
    let Kind::List(nodes) = &member.node.kind else {
        found.push(Diagnostic::error("wrong-type", member.node.place.clone(), "`tokens` is a list: write [[tokens]]"));
        return Vec::new();
    };
    let mut tokens: Vec<Token> = Vec::new();
    for node in nodes {
        let (raw, troubles) = de::read::<RawToken>(node);
        found.extend(troubles);
        let Some(raw) = raw else { continue };
        if let Some(first) = tokens.iter().position(|token| token.name == raw.name) {
            let message = format!("the token `{}` is defined twice", raw.name.escape_debug());
            let diagnostic = Diagnostic::error("defined-twice", node.near("name"), message);
            found.push(diagnostic.also(nodes[first].near("name"), "the first time here"));
        }
        if raw.scopes.is_empty()
            && node.at("scopes").is_some_and(|node| matches!(&node.kind, Kind::List(nodes) if nodes.is_empty()))
        {
            found.push(Diagnostic::warning("no-scopes", node.near("scopes"), "a token without scopes opens nothing"));
        }
        let expires_ms = raw.expires.map(|expires| expires.0);
        tokens.push(Token { name: raw.name, hash: raw.hash.0, scopes: raw.scopes, expires_ms });
    }
    tokens
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Scope, String> {
        let namespace = |name: &str| match name {
            "*" => Ok(None),
            name => NamespaceName::new(name).map(Some).map_err(|error| error.to_string()),
        };
        match text.split_once(':') {
            None if text == "read" => Ok(Scope::Read),
            None if text == "operate" => Ok(Scope::Operate),
            None if text == "admin" => Ok(Scope::Admin),
            Some(("ingest", name)) => namespace(name).map(Scope::Ingest),
            Some(("plugins", name)) => namespace(name).map(Scope::Plugins),
            _ => Err(format!(
                "`{}` is not a scope: use `ingest:NAMESPACE`, `read`, `operate`, `plugins:NAMESPACE` or `admin`",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &Option<NamespaceName>| name.as_ref().map_or("*".to_owned(), ToString::to_string);
        match self {
            Scope::Ingest(namespace) => write!(formatter, "ingest:{}", name(namespace)),
            Scope::Read => formatter.write_str("read"),
            Scope::Operate => formatter.write_str("operate"),
            Scope::Plugins(namespace) => write!(formatter, "plugins:{}", name(namespace)),
            Scope::Admin => formatter.write_str("admin"),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
