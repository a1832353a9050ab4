//! What is wrong with a configuration, and how it is shown.
//!
//! In: places in a tree and sentences. Out: text with file, line, column, the line itself and a caret; or
//! JSON for machines. All of them in one go, in the order of the files.

use super::node::{FileId, Place};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// Whether it can be served all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Refused.
    Error,
    /// Served, but probably not what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Whether it can be served all the same.
    pub severity: Severity,
    /// Stable, kebab-case.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to do.
    pub help: Option<String>,
    /// Another place that has to do with it, and what it is.
    pub also: Option<(Place, String)>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, code, message: message.into(), place, help: None, also: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, place, message) }
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// With another place.
    #[must_use]
    pub fn also(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        self.also = Some((place, label.into()));
        self
    }
}

/// One file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// As it is shown.
    pub name: String,
    /// What it holds; empty when it could not be read.
    pub text: Arc<str>,
}

/// Where a diagnostic stands, for a person: line and column count from 1, columns are characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// Everything that is wrong, with the texts it is about.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Diagnostics {
    /// In the order of the files.
    pub list: Vec<Diagnostic>,
    /// By [`FileId`].
    pub sources: Arc<Vec<Source>>,
}

impl Diagnostics {
    /// Sorts by place and leaves out repetitions.
    pub fn new(mut list: Vec<Diagnostic>, sources: Arc<Vec<Source>>) -> Diagnostics {
        list.sort_by_key(|diagnostic| match &diagnostic.place {
            Place::Text(file, span) => (*file, span.start, String::new()),
            Place::Pointer(pointer) => (FileId::MAX, 0, pointer.clone()),
        });
        list.dedup();
        // Of what is not TOML only a part could be read: what seems to be missing may stand in the rest.
        let torn: Vec<Place> =
            list.iter().filter(|one| one.code == "toml-syntax").map(|one| one.place.clone()).collect();
        let file = |place: &Place| match place {
            Place::Text(file, _) => Some(*file),
            Place::Pointer(_) => None,
        };
        list.retain(|one| {
            let guess = one.severity == Severity::Warning || one.code == "missing-key";
            one.code == "toml-syntax"
                || !torn.iter().any(|place| *place == one.place || (guess && file(place) == file(&one.place)))
        });
        Diagnostics { list, sources }
    }

    /// True when something is refused.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Of one of them; none when it is about a JSON document.
    pub fn position(&self, place: &Place) -> Option<Position> {
        let Place::Text(file, span) = place else { return None };
        let source = self.sources.get(*file)?;
        let before = source.text.get(..span.start.min(source.text.len()))?;
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Some(Position { file: source.name.clone(), line, column })
    }

    /// As a person reads them: every one with its line and a caret.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for diagnostic in &self.list {
            text.push_str(&self.render_one(&renderer, diagnostic));
            text.push_str("\n\n");
        }
        text
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level
            .primary_title(&diagnostic.message)
            .id(diagnostic.code)
            .elements(Vec::<annotate_snippets::Element<'_>>::new());
        if let Some(snippet) = self.snippet(&diagnostic.place, AnnotationKind::Primary, None) {
            group = group.element(snippet);
        }
        if let Some((place, label)) = &diagnostic.also
            && let Some(snippet) = self.snippet(place, AnnotationKind::Context, Some(label))
        {
            group = group.element(snippet);
        }
        if let Place::Pointer(pointer) = &diagnostic.place {
            group = group.element(Level::NOTE.message(format!("at `{pointer}`")));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    fn snippet<'a>(
        &'a self,
        place: &Place,
        kind: AnnotationKind,
        label: Option<&'a String>,
    ) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let Place::Text(file, span) = place else { return None };
        let source = self.sources.get(*file)?;
        let length = source.text.len();
        let (start, end) = (span.start.min(length), span.end.clamp(span.start.min(length), length));
        // One line is shown: a table's braces may span many.
        let end = source.text[start..end].find('\n').map_or(end, |newline| start + newline);
        let mut annotation = kind.span(start..end);
        if let Some(label) = label {
            annotation = annotation.label(label.as_str());
        }
        Some(Snippet::source(&*source.text).path(source.name.as_str()).annotation(annotation))
    }

    /// As `config:validate` answers: `[{"file","line","column","pointer","code","severity","message","help"}]`.
    pub fn to_json(&self) -> Value {
        let one = |diagnostic: &Diagnostic| {
            let position = self.position(&diagnostic.place);
            let pointer = match &diagnostic.place {
                Place::Pointer(pointer) => Some(pointer),
                Place::Text(..) => None,
            };
            json!({
                "file": position.as_ref().map(|position| &position.file),
                "line": position.as_ref().map(|position| position.line),
                "column": position.as_ref().map(|position| position.column),
                "pointer": pointer,
                "code": diagnostic.code,
                "severity": if diagnostic.severity == Severity::Error { "error" } else { "warning" },
                "message": diagnostic.message,
                "help": diagnostic.help,
            })
        };
        self.list.iter().map(one).collect()
    }
}

/// One line each: `file:line:column: code: message`.
impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.list {
            match (&diagnostic.place, self.position(&diagnostic.place)) {
                (_, Some(Position { file, line, column })) => write!(formatter, "{file}:{line}:{column}: ")?,
                (Place::Pointer(pointer), _) => write!(formatter, "{pointer}: ")?,
                (Place::Text(..), None) => {}
            }
            writeln!(formatter, "{}: {}", diagnostic.code, diagnostic.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
