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

/// Starts a task on the runtime of the caller.
pub fn task<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(run)
}

/// Runs something that blocks or computes for long, away from the runtime's workers.
pub fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(run)
}
