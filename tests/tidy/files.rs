//! The files of the checkout that are ours to judge.
//!
//! In: the workspace's root. Out: paths relative to it, with their text.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the project.
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// The text before the first module of tests, comments left out: what the rules of rooms look at.
    pub fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod ").or_else(|| self.text.find("#[cfg(test)]\n#[allow"));
        self.text[..end.unwrap_or(self.text.len())]
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// True for a file that only tests use.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.starts_with("tests/")
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.contains("/tests/")
            || self.path.contains("/testkit")
            || self.path.contains("/harness")
            || self.path.contains("/template/")
    }
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below the root with this ending, without build output.
pub fn all(ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), &root(), ending, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no file ends with {ending}: the walk is broken");
    found
}

fn walk(root: &Path, directory: &Path, ending: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                walk(root, &path, ending, found);
            }
        } else if name.ends_with(ending) {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.push(File { path: relative, text: fs::read_to_string(&path).unwrap_or_default() });
        }
    }
}
