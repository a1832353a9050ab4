//! The files of one configuration, merged.
//!
//! In: the path of the first file. Out: its tables and those of every included file, each name once,
//! relative paths absolute.

use super::de::unknown_key;
use super::diagnostics::{Diagnostic, Diagnostics, Source};
use super::limits;
use super::node::{FileId, Kind, Member, Node, Place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tables that any file may hold.
pub const TABLES: [&str; 6] = ["include", "server", "shard", "shards", "plugins", "namespaces"];

/// What was read and found.
#[derive(Default)]
pub struct Files {
    /// By [`FileId`].
    pub sources: Vec<Source>,
    /// The files themselves, absolute, in the same order.
    pub paths: Vec<PathBuf>,
    /// Everything found.
    pub found: Vec<Diagnostic>,
}

/// The tables of all files.
#[derive(Default)]
pub struct Merged {
    /// `[server]` and `[shard]`.
    pub single: BTreeMap<&'static str, Member>,
    /// `[shards.*]`, `[plugins.*]` and `[namespaces.*]`, by name, in the order of the files.
    pub named: BTreeMap<&'static str, Vec<Member>>,
}

impl Files {
    /// Reads a file whose text is given; answers its id and tree.
    pub fn parse(&mut self, name: String, path: PathBuf, text: &str) -> (FileId, Node) {
        let file = self.sources.len();
        self.sources.push(Source { name, text: text.into() });
        self.paths.push(path);
        let (node, troubles) = Node::from_toml(file, text);
        for (message, span) in troubles {
            self.found.push(syntax(file, &message, span, text));
        }
        (file, node)
    }

    /// Reads a file. `None`, and a diagnostic, when it cannot be read; `asked` is where its name stands.
    pub fn open(&mut self, name: &Path, path: PathBuf, asked: Option<&Place>) -> Option<(FileId, Node)> {
        let read = std::fs::metadata(&path).and_then(|metadata| {
            if metadata.len() > limits::FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!("it is larger than {} bytes", limits::FILE_BYTES_MAX)));
            }
            std::fs::read(&path)
        });
        let text = match read.map(String::from_utf8) {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(_)) => Err("it is not UTF-8 text".to_owned()),
            Err(error) => Err(reason(&error)),
        };
        match text {
            Ok(text) => Some(self.parse(name.display().to_string(), path, &text)),
            Err(why) => {
                let place = asked.cloned().unwrap_or_else(|| {
                    self.sources.push(Source { name: name.display().to_string(), text: Arc::from("") });
                    self.paths.push(path);
                    Place::Text(self.sources.len() - 1, 0..0)
                });
                let message = format!("{} cannot be read: {why}", name.display());
                self.found.push(Diagnostic::error("unreadable-file", place, message));
                None
            }
        }
    }

    /// Merges a file and all that it includes.
    pub fn gather(&mut self, name: &Path, merged: &mut Merged) {
        let path = absolute(name);
        if let Some((file, root)) = self.open(name, path, None) {
            self.take(file, root, merged);
        }
    }

    /// Merges a text that stands in no file.
    pub fn gather_text(&mut self, name: &str, directory: &Path, text: &str, merged: &mut Merged) {
        let (file, root) = self.parse(name.to_owned(), directory.join(name), text);
        self.take(file, root, merged);
    }

    fn take(&mut self, file: FileId, root: Node, merged: &mut Merged) {
        let directory = self.paths[file].parent().unwrap_or(Path::new("/")).to_owned();
        let mut included = Vec::new();
        let Kind::Table(members) = root.kind else { return };
        for mut member in members {
            member.node.resolve_paths(&directory);
            let Some(table) = TABLES.into_iter().find(|table| *table == member.key) else {
                self.found.push(unknown_key(&member.key, &member.key_place, &TABLES));
                continue;
            };
            match table {
                "include" => included = self.patterns(&member, file, &directory),
                "server" | "shard" => {
                    if table == "shard" {
                        resolve(&mut member.node, "data_dir", &directory);
                    }
                    match merged.single.get(table) {
                        Some(first) => self.found.push(twice(&member, first, &format!("[{table}]"))),
                        None => drop(merged.single.insert(table, member)),
                    }
                }
                _ => self.take_named(table, member, &directory, merged),
            }
        }
        for (name, path, place) in included {
            if self.paths.contains(&path) {
                continue;
            }
            if self.paths.len() >= limits::FILES_MAX {
                let message = format!("more than {} files", limits::FILES_MAX);
                self.found.push(Diagnostic::error("too-many-files", place, message));
                return;
            }
            if let Some((file, root)) = self.open(&name, path, Some(&place)) {
                self.take(file, root, merged);
            }
        }
    }

    fn take_named(&mut self, table: &'static str, member: Member, directory: &Path, merged: &mut Merged) {
        let Kind::Table(members) = member.node.kind else {
            let message = format!("{} stands where a table of tables is wanted", member.node.kind.name());
            let help = format!("write [{table}.NAME]");
            self.found.push(Diagnostic::error("wrong-type", member.node.place, message).help(help));
            return;
        };
        let named = merged.named.entry(table).or_default();
        for mut member in members {
            if table == "plugins" {
                resolve(&mut member.node, "ref", directory);
            }
            match named.iter().find(|first| first.key == member.key) {
                Some(first) => self.found.push(twice(&member, first, &format!("[{table}.{}]", member.key))),
                None => named.push(member),
            }
        }
    }

    fn patterns(&mut self, member: &Member, file: FileId, directory: &Path) -> Vec<(PathBuf, PathBuf, Place)> {
        let (patterns, found) = super::de::read::<Vec<String>>(&member.node);
        self.found.extend(found);
        let Kind::List(nodes) = &member.node.kind else { return Vec::new() };
        let shown = Path::new(&self.sources[file].name).parent().unwrap_or(Path::new("")).to_owned();
        let mut files = Vec::new();
        for (pattern, node) in patterns.unwrap_or_default().iter().zip(nodes) {
            match expand(pattern, directory) {
                Ok(names) if names.is_empty() => {
                    let message = format!("no file matches `{}`", pattern.escape_debug());
                    self.found.push(Diagnostic::warning("no-match", node.place.clone(), message));
                }
                Ok(names) => files.extend(
                    names.into_iter().map(|name| (shown.join(&name), directory.join(&name), node.place.clone())),
                ),
                Err(why) => self.found.push(Diagnostic::error("bad-pattern", node.place.clone(), why)),
            }
        }
        files
    }

    /// Everything found, with the texts.
    pub fn diagnostics(self) -> Diagnostics {
        Diagnostics::new(self.found, Arc::new(self.sources))
    }
}

/// The path from the root of the file system, whether the file is there or not.
pub fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// What the operating system says, without its number.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn resolve(table: &mut Node, key: &str, directory: &Path) {
    if let Kind::Table(members) = &mut table.kind
        && let Some(member) = members.iter_mut().find(|member| member.key == key)
    {
        member.node.resolve_path(directory);
    }
}

fn twice(second: &Member, first: &Member, what: &str) -> Diagnostic {
    Diagnostic::error("defined-twice", second.key_place.clone(), format!("{what} is defined twice"))
        .also(first.key_place.clone(), "the first time here")
        .help("keep one of them")
}

/// What is not TOML. A key that is there twice is shown with its first place.
fn syntax(file: FileId, message: &str, span: std::ops::Range<usize>, text: &str) -> Diagnostic {
    let place = Place::Text(file, span.clone());
    if !message.contains("duplicate key") {
        return Diagnostic::error("toml-syntax", place, message.to_owned());
    }
    let key = text.get(span.clone()).unwrap_or("").trim_matches(['"', '\'']);
    let diagnostic = Diagnostic::error("defined-twice", place, format!("`{}` is defined twice", key.escape_debug()));
    match earlier(text, key, span.start) {
        Some(start) => diagnostic.also(Place::Text(file, start..start + key.len()), "the first time here"),
        None => diagnostic,
    }
    .help("keep one of them")
}

/// Where a key stands for the first time: the parser keeps only its last place, so it is found by the line.
/// A header's line is the same; of a key it is the last one before that begins with it.
fn earlier(text: &str, key: &str, end: usize) -> Option<usize> {
    let line_start = text.get(..end)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next()?.trim();
    let mut at = 0;
    let mut found = None;
    for other in text[..line_start].split_inclusive('\n') {
        let trimmed = other.trim();
        let begins = trimmed.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        if if line.starts_with('[') { trimmed == line } else { begins } {
            found =
                other.rfind(key).filter(|_| line.starts_with('[')).or_else(|| other.find(key)).map(|place| at + place);
        }
        at += other.len();
    }
    found
}

/// The files that a pattern names, sorted; `*` and `?` in the last part of the path.
fn expand(pattern: &str, directory: &Path) -> Result<Vec<PathBuf>, String> {
    let (parent, name) = pattern.rsplit_once('/').map_or(("", pattern), |(parent, name)| (parent, name));
    if parent.contains(['*', '?']) || pattern.contains("**") || pattern.contains(['[', '{']) || name.is_empty() {
        let pattern = pattern.escape_debug();
        return Err(format!(
            "`{pattern}` is no pattern that is known: use * and ? in the last part of the path, as in \"conf.d/*.toml\""
        ));
    }
    if !name.contains(['*', '?']) {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let mut names: Vec<PathBuf> = match std::fs::read_dir(directory.join(parent)) {
        Ok(listing) => listing
            .filter_map(|file| file.ok()?.file_name().into_string().ok())
            .filter(|file| !file.starts_with('.') && matches(name.as_bytes(), file.as_bytes()))
            .map(|file| if parent.is_empty() { PathBuf::from(file) } else { Path::new(parent).join(file) })
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("`{}` cannot be listed: {}", parent.escape_debug(), reason(&error))),
    };
    names.sort();
    Ok(names)
}

/// Whether a name matches a pattern of `*`, `?` and plain bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => matches(rest, name) || (!name.is_empty() && matches(pattern, &name[1..])),
        (Some((b'?', rest)), Some((_, name))) => matches(rest, name),
        (Some((byte, rest)), Some((first, name))) => byte == first && matches(rest, name),
        _ => false,
    }
}
