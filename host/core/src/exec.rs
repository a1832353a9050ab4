//! The only room that starts a thread or a task, so that there is one list of who runs.
//!
//! In: a name and what to run. Out: a handle.

use std::future::Future;
use std::io;

/// Starts an OS thread. The name shows in `top -H` and in panics; the kernel keeps 15 bytes of it.
pub fn thread<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// How a thread stands beside the others when there are more of them than cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Everybody waits for it: it runs as soon as it can. Where the process may not ask for that it is an
    /// ordinary thread.
    Urgent,
    /// As any other.
    Ordinary,
    /// Nobody waits for it: it takes what the others leave.
    Background,
}

impl Priority {
    /// The niceness that the kernel takes.
    fn nice(self) -> i32 {
        match self {
            Priority::Urgent => -10,
            Priority::Ordinary => 0,
            Priority::Background => 10,
        }
    }
}

/// Starts an OS thread with a priority of its own. A kernel that refuses the priority is no error.
pub fn thread_with<T: Send + 'static>(
    priority: Priority,
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    thread(name, move || {
        // Of nobody in particular: on Linux that is the calling thread alone.
        if priority != Priority::Ordinary
            && let Err(error) = rustix::process::setpriority_process(None, priority.nice())
        {
            tracing::debug!(%error, ?priority, "the thread keeps its ordinary priority");
        }
        run()
    })
}

/// Starts a task on the runtime of the caller.
pub fn task<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(run)
}

/// Runs something that blocks or computes for long, away from the runtime's workers.
pub fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_in_the_background_is_nicer_than_its_process_and_nobody_else_is() {
        let nice = || rustix::process::getpriority_process(None).unwrap_or(0);
        let before = nice();
        let background = thread_with(Priority::Background, "test", nice).map(|thread| thread.join());
        assert!(matches!(background, Ok(Ok(nicer)) if nicer >= before.max(10)));
        let urgent = thread_with(Priority::Urgent, "test", || 7).map(|thread| thread.join());
        assert!(matches!(urgent, Ok(Ok(7))), "it runs whether the kernel agrees or not");
        assert_eq!(nice(), before);
    }
}
