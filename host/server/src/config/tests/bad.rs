//! Bad configurations, each with exactly what is said about it.
//!
//! `bad.txt` holds cases: `=== name`, the text (further files after `@@ name`), `---`, then every expected
//! line `file:line:column: code: message`. With `UPDATE_GOLDEN=1` the expected lines are written anew, to
//! be read before they are kept.

use super::kinds::kinds;
use crate::config::load;
use std::fmt::Write as _;
use std::path::Path;

struct Case {
    name: String,
    input: String,
    expected: String,
}

fn cases(text: &str) -> Vec<Case> {
    let split = |case: &str| {
        let (name, rest) = case.split_once('\n').unwrap();
        let (input, expected) = rest.split_once("---\n").unwrap();
        Case { name: name.to_owned(), input: input.to_owned(), expected: expected.trim_end().to_owned() }
    };
    text.split("=== ").skip(1).map(split).collect()
}

/// What is said about a case, with the temporary directory left out.
fn said(input: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(directory.path()).unwrap();
    for (place, part) in input.split("@@ ").enumerate() {
        let (name, text) = if place == 0 { ("w.toml", part) } else { part.split_once('\n').unwrap() };
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let diagnostics = match load(&root.join("w.toml"), &kinds()) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => {
            assert!(diagnostics.has_errors(), "refused without an error");
            diagnostics
        }
    };
    let rendered = diagnostics.render(false);
    for diagnostic in &diagnostics.list {
        assert!(rendered.contains(&format!("[{}]", diagnostic.code)), "{rendered}");
        let position = diagnostics.position(&diagnostic.place).unwrap();
        assert!(rendered.contains(&format!("{}:{}:{}", position.file, position.line, position.column)), "{rendered}");
    }
    diagnostics.to_string().replace(&format!("{}/", root.display()), "").trim_end().to_owned()
}

#[test]
fn every_bad_configuration_is_refused_with_exactly_what_is_wrong_and_where() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/bad.txt");
    let cases = cases(&std::fs::read_to_string(&golden).unwrap());
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    let (mut wrong, mut renewed) = (String::new(), String::new());
    for Case { name, input, expected } in &cases {
        let said = said(input);
        write!(renewed, "=== {name}\n{input}---\n{said}\n").unwrap();
        if said != *expected {
            writeln!(wrong, "{name}\n{input}  expected\n{expected}\n  but it says\n{said}\n").unwrap();
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, renewed).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{wrong}");
}
