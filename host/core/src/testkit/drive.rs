//! Runs futures by hand, with a step of background work between two polls: no runtime, no real time.
//!
//! In: a future, what to do between two polls. Out: its value, or a panic when it never comes.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls of one future before it counts as stuck. Real threads may be behind it, hence the large number.
pub const POLLS_MAX: usize = 20_000;

/// Polls the future until it is ready, with one step in between.
#[track_caller]
pub fn drive<T>(future: impl Future<Output = T>, mut step: impl FnMut()) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        step();
    }
    panic!("no answer after {POLLS_MAX} steps");
}

/// Runs each named test, and panics in the end with the names and words of all that failed.
pub fn run_all<'a>(suite: &str, tests: impl IntoIterator<Item = (&'a str, Box<dyn FnOnce() + 'a>)>) {
    let (mut ran, mut failed) = (0, Vec::new());
    for (name, test) in tests {
        ran += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(test)) {
            failed.push(format!("  {name}: {}", words(&*panic)));
        }
    }
    assert!(ran > 0, "{suite} had nothing to run");
    assert!(failed.is_empty(), "{suite}: {} of {ran} failed:\n{}", failed.len(), failed.join("\n"));
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}
