//! Which world a component targets, in which version, and what does not fit, in words.
//!
//! In: a component's bytes, validated here. Out: `Matched`, or the sentence that names the first thing
//! that is missing, unknown or different. Everything is read from the component's types; nothing of it
//! runs and nothing is compiled.

mod types;

use std::sync::LazyLock;
use walhost_core::plugin::PluginKind;
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem};

/// The WIT versions this host serves; each has its module in `api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `walhost:plugin@0.1.0`.
    V0_1,
}

/// The text of each, newest first.
const SERVED: [(Version, &str, &str); 1] = [(Version::V0_1, "0.1.0", include_str!("../../../wit/0.1.0/plugin.wit"))];

/// Numbers of the WIT versions this host serves, newest first.
pub fn versions() -> Vec<&'static str> {
    SERVED.iter().map(|(_, number, _)| *number).collect()
}

/// What a component turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    pub(crate) version: Version,
    /// Which kind.
    pub kind: PluginKind,
    /// `walhost:plugin/transform-plugin@0.1.0`.
    pub world: String,
    /// Every import, by name.
    pub imports: Vec<String>,
}

const PACKAGE: &str = "walhost:plugin/";

/// True for the import that needs a grant of origins.
pub(crate) fn is_http(import: &str) -> bool {
    import.strip_prefix(PACKAGE).is_some_and(|rest| rest.split('@').next() == Some("http"))
}

/// Finds version and world of a component. Takes time in proportion to its size: not for a runtime's worker.
pub fn read(component: &[u8]) -> Result<Matched, String> {
    // The decoder is made for components of honest tools: what makes it panic is refused, not passed on.
    let decoded = std::panic::catch_unwind(|| decode(component));
    let (resolve, world) = match decoded {
        Ok(Ok(DecodedWasm::Component(resolve, world))) => (resolve, world),
        Ok(Ok(DecodedWasm::WitPackage(..))) => {
            return Err("it is a WIT package, not a component: it has types and no code".into());
        }
        Ok(Err(error)) => return Err(format!("it is not a valid component: {}", clean(&format!("{error:#}")))),
        Err(_) => return Err("it is not a valid component: its types cannot be read".into()),
    };
    matched(&resolve, world)
}

fn clean(text: &str) -> String {
    walhost_core::attempt::clean(text, 400)
}

fn matched(found: &Resolve, world: WorldId) -> Result<Matched, String> {
    let exports = interfaces(found, world, Side::Exports);
    let (kind, asked) = kind_of(&exports)?;
    let (version, number, served) = SERVED
        .iter()
        .zip(&*PARSED)
        .find(|((_, number, _), _)| compatible(number, &asked))
        .map(|((version, number, _), parsed)| (*version, *number, parsed))
        .ok_or_else(|| format!("it is built for walhost:plugin@{asked}; this host serves {}", versions().join(", ")))?;
    let name = match kind {
        PluginKind::Transform => "transform-plugin",
        PluginKind::Sink => "sink-plugin",
    };
    let wanted = served.world(name);
    for (full, id) in interfaces(&served.resolve, wanted, Side::Exports) {
        let own = exports
            .iter()
            .find(|(name, _)| same_interface(name, &full))
            .ok_or_else(|| format!("it does not export `{full}`, which the world {name} needs"))?;
        types::exports_fit(&served.resolve, id, found, own.1).map_err(|what| format!("export `{}`: {what}", own.0))?;
    }
    let offered = interfaces(&served.resolve, wanted, Side::Imports);
    let mut imports = Vec::new();
    for import in items(found, world) {
        let (full, id) = import?;
        check_import(&full, id, found, &offered, &served.resolve, kind)?;
        imports.push(full);
    }
    imports.sort();
    Ok(Matched { version, kind, world: format!("{PACKAGE}{name}@{number}"), imports })
}

/// Which of the two kinds it exports, and the version it says.
fn kind_of(exports: &[(String, InterfaceId)]) -> Result<(PluginKind, String), String> {
    let find = |kind: &str| {
        exports.iter().find_map(|(name, _)| {
            let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
            (interface == kind).then(|| clean(version))
        })
    };
    match (find("transform"), find("sink")) {
        (Some(version), None) => Ok((PluginKind::Transform, version)),
        (None, Some(version)) => Ok((PluginKind::Sink, version)),
        (Some(_), Some(_)) => Err("it exports both `transform` and `sink`: a plugin is one of the two".into()),
        (None, None) => {
            let has = match exports {
                [] => "it exports no interface".to_owned(),
                _ => format!(
                    "it exports {}",
                    exports.iter().take(8).map(|(name, _)| format!("`{}`", clean(name))).collect::<Vec<_>>().join(", ")
                ),
            };
            let newest = SERVED[0].1;
            Err(format!("{has}; a plugin exports `{PACKAGE}transform@{newest}` or `{PACKAGE}sink@{newest}`"))
        }
    }
}

fn check_import(
    full: &str,
    id: Option<InterfaceId>,
    found: &Resolve,
    offered: &[(String, InterfaceId)],
    served: &Resolve,
    kind: PluginKind,
) -> Result<(), String> {
    let shown = clean(full);
    let Some(id) = id else {
        return Err(format!(
            "it imports `{shown}`, which no host offers: only interfaces of walhost:plugin and WASI 0.2 are linked"
        ));
    };
    if full.starts_with("wasi:") {
        return match crate::wasi::links(full) {
            true => Ok(()),
            false => {
                Err(format!("it imports `{shown}`, which is not linked: only WASI 0.2 without files and sockets is"))
            }
        };
    }
    if let Some((name, offer)) = offered.iter().find(|(name, _)| same_interface(full, name)) {
        debug_assert!(name.starts_with(PACKAGE));
        return types::imports_fit(served, *offer, found, id).map_err(|what| format!("import `{shown}`: {what}"));
    }
    if kind == PluginKind::Transform && is_http(full) {
        return Err(format!("it imports `{shown}`, which a transform may not: only sinks talk to others"));
    }
    Err(format!("it imports `{shown}`, which is unknown: only interfaces of walhost:plugin and WASI 0.2 are linked"))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Imports,
    Exports,
}

fn interfaces(resolve: &Resolve, world: WorldId, side: Side) -> Vec<(String, InterfaceId)> {
    let world = &resolve.worlds[world];
    let items = if side == Side::Imports { &world.imports } else { &world.exports };
    items
        .iter()
        .filter_map(|(key, item)| match item {
            WorldItem::Interface { id, .. } => Some((resolve.name_world_key(key), *id)),
            _ => None,
        })
        .collect()
}

/// All imports; a function or a type that is imported outside of any interface has none.
fn items(
    resolve: &Resolve,
    world: WorldId,
) -> impl Iterator<Item = Result<(String, Option<InterfaceId>), String>> + '_ {
    resolve.worlds[world].imports.iter().filter_map(|(key, item)| {
        let name = resolve.name_world_key(key);
        match item {
            WorldItem::Interface { id, .. } => Some(Ok((name, Some(*id)))),
            WorldItem::Function(_) => Some(Ok((name, None))),
            WorldItem::Type { .. } => None,
        }
    })
}

/// The same interface in versions that fit: `a:b/c@0.1.0` and `a:b/c@0.1.3`.
fn same_interface(one: &str, other: &str) -> bool {
    match (one.split_once('@'), other.split_once('@')) {
        (Some((one, first)), Some((other, second))) => one == other && compatible(first, second),
        _ => false,
    }
}

/// Versions of one track: the first part that is not 0 is the same, and what is before it.
fn compatible(one: &str, other: &str) -> bool {
    let track = |version: &str| {
        let mut parts = Vec::new();
        for part in version.split(['.', '-', '+']) {
            parts.push(part.to_owned());
            if part != "0" {
                break;
            }
        }
        parts
    };
    // A version that is not released fits only itself.
    let released = |version: &str| !version.contains(['-', '+']);
    one == other || (released(one) && released(other) && track(one) == track(other))
}

struct Parsed {
    resolve: Resolve,
    package: wit_parser::PackageId,
}

impl Parsed {
    fn world(&self, name: &str) -> WorldId {
        *self.resolve.packages[self.package].worlds.get(name).expect("the frozen WIT has both worlds")
    }
}

static PARSED: LazyLock<Vec<Parsed>> = LazyLock::new(|| {
    SERVED
        .iter()
        .map(|(_, number, text)| {
            let mut resolve = Resolve::default();
            let package = resolve.push_source(&format!("{number}/plugin.wit"), text).expect("the frozen WIT parses");
            Parsed { resolve, package }
        })
        .collect()
});

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
