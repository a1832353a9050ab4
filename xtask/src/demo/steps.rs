//! What the demo says while it runs: bars on a terminal, plain lines elsewhere, and how long each step took.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The steps so far.
pub struct Steps {
    taken: Vec<(String, Duration)>,
    begun: Instant,
    terminal: bool,
}

impl Steps {
    pub fn new() -> Steps {
        Steps { taken: Vec::new(), begun: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    /// Begins a step.
    pub fn begin(&mut self, what: &str) {
        self.begun = Instant::now();
        println!("\n{}. {what}", self.taken.len() + 1);
    }

    /// Ends the step that was begun.
    pub fn end(&mut self, short: &str) {
        let took = self.begun.elapsed();
        println!("   took {:.2} s", took.as_secs_f64());
        self.taken.push((short.to_owned(), took));
    }

    /// Says something within a step.
    pub fn say(&self, line: impl AsRef<str>) {
        for line in line.as_ref().lines() {
            println!("   {line}");
        }
    }

    /// A bar of so many records; hidden where there is no terminal.
    pub fn bar(&self, records: u64) -> ProgressBar {
        if !self.terminal {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("   {bar:40} {pos}/{len} {msg}").expect("a fixed template");
        ProgressBar::new(records).with_style(style)
    }

    /// All steps and how long they took.
    pub fn taken(&self) -> &[(String, Duration)] {
        &self.taken
    }
}
