//! How a file looks: its door plate, its length, its name, its words.

use crate::files;

const LINES_MAX: usize = 600;
const LINES_USUAL: usize = 400;

#[test]
fn every_file_has_a_door_plate() {
    let complaints = files::all(".rs").into_iter().filter(|f| !f.text.starts_with("//!")).map(|f| f.path).collect();
    crate::report("a file begins with `//!`", complaints);
}

#[test]
fn no_file_is_longer_than_600_lines_and_nine_in_ten_are_under_400() {
    let files = files::all(".rs");
    let lengths: Vec<_> = files.iter().map(|f| (f.text.lines().count(), &f.path)).collect();
    let long = lengths.iter().filter(|(n, _)| *n > LINES_MAX).map(|(n, path)| format!("{path}: {n} lines")).collect();
    crate::report("no file over 600 lines", long);
    let middling = lengths.iter().filter(|(n, _)| *n > LINES_USUAL).count();
    assert!(middling * 10 <= lengths.len(), "{middling} of {} files have more than 400 lines", lengths.len());
}

#[test]
fn a_file_name_says_what_is_inside() {
    let empty = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "mod"];
    let mut complaints = Vec::new();
    for file in files::all(".rs") {
        let stem = file.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
        // A released WIT version is named by its number.
        let numbered = stem.chars().any(|c| c.is_ascii_digit()) && !file.path.contains("plugin/src/api");
        let dated = stem.starts_with("new_") || stem.starts_with("old_") || stem == "new" || stem == "old";
        if empty.contains(&stem) || numbered || (dated && !file.path.contains("/cli/")) {
            complaints.push(file.path);
        }
    }
    crate::report("file names", complaints);
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_undone() {
    let words = [
        concat!("#[ig", "nore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut complaints = Vec::new();
    for file in files::all(".rs") {
        for (number, line) in file.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                complaints.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    crate::report("undone", complaints);
}

/// Words that house rules replace by others, as parts of identifiers that we define.
const NEVER: [&str; 8] = ["tenant", "payload", "consumer_group", "enqueue", "dequeue", "poison", "message_id", "msg"];

#[test]
fn identifiers_use_the_words_of_the_house() {
    let mut complaints = Vec::new();
    for file in files::all(".rs").into_iter().filter(|f| f.path.starts_with("host/") && !f.is_test()) {
        for (number, line) in file.production() {
            let line = line.trim_start().to_lowercase();
            let defines = ["fn ", "struct ", "enum ", "trait ", "mod ", "const ", "type "].iter().find_map(|word| {
                let bare =
                    line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("async ");
                bare.strip_prefix(word)
            });
            let Some(name) = defines.and_then(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
            else {
                continue;
            };
            if NEVER.iter().any(|word| name.split('_').any(|part| part == *word) || name == *word) {
                complaints.push(format!("{}:{}: `{name}`", file.path, number));
            }
        }
    }
    crate::report("words", complaints);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let mut complaints = Vec::new();
    for ending in [".rs", ".toml", ".md", ".wit", "run"] {
        for file in files::all(ending) {
            for (number, line) in file.text.lines().enumerate() {
                if [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")]
                    .iter()
                    .any(|word| line.contains(word))
                {
                    complaints.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
                }
            }
        }
    }
    crate::report("machine paths", complaints);
}

#[test]
fn every_clippy_and_rust_lint_is_inherited() {
    let complaints = files::all("Cargo.toml")
        .into_iter()
        .filter(|f| !f.path.starts_with("plugins/") && !f.path.contains("/template/"))
        .filter(|f| f.text.contains("[package]") && !f.text.contains("[lints]\nworkspace = true"))
        .map(|f| f.path)
        .collect();
    crate::report("lints", complaints);
}
