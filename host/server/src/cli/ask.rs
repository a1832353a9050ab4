//! The question before what cannot be undone.
//!
//! In: what is about to happen. Out: yes, or a failure.

use super::Session;
use super::failure::Failure;
use std::io::{BufRead, IsTerminal, Write};

/// Refuses where nobody could answer: before the host is asked what it would lose.
pub fn can_ask(session: &Session, what: &str) -> Result<(), Failure> {
    if session.yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!("{what}: this cannot be undone, and there is no terminal to ask at; add --yes")))
}

/// Asks, unless `--yes`; refuses where nobody can answer.
pub fn sure(session: &Session, what: &str) -> Result<(), Failure> {
    can_ask(session, what)?;
    if session.yes {
        return Ok(());
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{what}. This cannot be undone. Go on? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was done")),
    }
}
