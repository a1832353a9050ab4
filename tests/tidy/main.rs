//! The rules of the house, executable: who may import whom, where a word may stand, how a file looks.
//!
//! In: the files of this checkout. Out: one line for each place that breaks a rule.
#![allow(clippy::unwrap_used)]

mod files;
mod layers;
mod rooms;
mod style;

/// Fails with every complaint, one on a line.
fn report(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}: {} places\n  {}", complaints.len(), complaints.join("\n  "));
}
