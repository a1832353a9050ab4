//! Reads any `serde` type from a tree with places, and goes on after a fault, to find all of them.
//!
//! In: a `Node`. Out: the value, when it could be made, and a diagnostic for every unknown key, missing
//! key and bad value below the node.
//!
//! `serde` stops at the first error. So a reading is repeated: what was found wrong is left out the next
//! time, and a key that is missing is stood in for, until nothing new is found.

mod access;
mod fault;

use super::diagnostics::Diagnostic;
use super::limits;
use super::node::{Kind, Node, Place};
use fault::{Fault, Why};
use serde::de::DeserializeOwned;
use std::cell::RefCell;

/// A node by its address: it lives as long as the tree that is read.
type Address = *const Node;

/// What is known from the readings before.
#[derive(Default)]
struct Round {
    /// Nodes that are passed over.
    skipped: Vec<Address>,
    /// Keys that are missing from a table and stood in for, each by one of `STAND_INS`.
    stand_ins: Vec<(Address, &'static str, usize)>,
    /// Everything found.
    found: RefCell<Vec<Diagnostic>>,
}

/// What stands in for a missing text, one after another until one is taken: some text, a name, a duration,
/// a size, a rate, a digest.
const STAND_INS: [&str; 6] =
    ["", "a", "1s", "1B", "1/s", "sha256:0000000000000000000000000000000000000000000000000000000000000000"];

/// Reads a value. `None` always comes with at least one diagnostic; so may `Some`: then what was wrong was
/// left out or stood in for, and the value is good only for finding more.
pub fn read<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Diagnostic>) {
    let mut round = Round::default();
    for _ in 0..limits::READINGS_MAX {
        match T::deserialize(access::Reader { node, round: &round }) {
            Ok(value) => return (Some(value), round.found.into_inner()),
            Err(fault) => {
                if !round.learn(fault, node) {
                    break;
                }
            }
        }
    }
    (None, round.found.into_inner())
}

impl Round {
    /// Reports a fault and arranges that the next reading gets past it. False when it cannot.
    fn learn(&mut self, fault: Fault, root: &Node) -> bool {
        if let (Why::Missing(key), Some(table)) = (&fault.why, fault.table) {
            // A key that was left out because its value is bad is not missing.
            let left_out = self.skipped.iter().any(|address| {
                find(root, table).is_some_and(|table| {
                    table
                        .members()
                        .iter()
                        .any(|member| member.key == *key && std::ptr::eq(&raw const member.node, *address))
                })
            });
            if !left_out {
                self.report(fault.diagnostic(root));
            }
            if !self.stand_ins.iter().any(|stand_in| (stand_in.0, stand_in.1) == (table, *key)) {
                self.stand_ins.push((table, key, 0));
                return true;
            }
        } else if let (Why::StandIn(key), Some(table)) = (&fault.why, fault.table) {
            let known = self.stand_ins.iter_mut().find(|stand_in| (stand_in.0, stand_in.1) == (table, *key));
            if let Some((.., number)) = known
                && *number + 1 < STAND_INS.len()
            {
                *number += 1;
                return true;
            }
        } else {
            self.report(fault.diagnostic(root));
        }
        // The innermost that was not given up before.
        match fault.culprits.into_iter().find(|address| !self.skipped.contains(address)) {
            Some(address) => {
                self.skipped.push(address);
                true
            }
            None => false,
        }
    }

    fn report(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
}

fn find(node: &Node, address: Address) -> Option<&Node> {
    if std::ptr::eq(node, address) {
        return Some(node);
    }
    match &node.kind {
        Kind::List(nodes) => nodes.iter().find_map(|node| find(node, address)),
        Kind::Table(members) => members.iter().find_map(|member| find(&member.node, address)),
        _ => None,
    }
}

/// The closest of some words, when it is close enough to have been meant.
pub fn closest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = words.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    let prefix = word.len() >= 3 && (candidate.starts_with(word) || word.starts_with(candidate));
    (distance <= (word.len().max(candidate.len()) / 3).max(1) || prefix).then_some(candidate)
}

/// An unknown key, with what may have been meant.
pub fn unknown_key(key: &str, place: &Place, known: &[&str]) -> Diagnostic {
    let diagnostic = Diagnostic::error("unknown-key", place.clone(), format!("unknown key `{}`", key.escape_debug()));
    match closest(key, known.iter().copied()) {
        Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
        None if known.is_empty() => diagnostic.help("this table takes no keys"),
        None => diagnostic.help(format!("the keys of this table are {}", list(known))),
    }
}

/// Words as they stand in a sentence: `a`, `b`, `c`.
pub fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
