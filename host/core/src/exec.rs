//! The only room that starts a thread or a task, so that there is one list of who runs.
//!
//! In: a name and what to run. Out: a handle.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::{JoinError, JoinHandle};

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

thread_local! {
    static INLINE: Cell<bool> = const { Cell::new(false) };
}

/// From now on `blocking` runs what it is given at once, on this thread: a simulated run is one thread, and the
/// same seed gives the same run.
pub fn inline_on_this_thread() {
    INLINE.set(true);
}

/// Something that blocks, running away from the runtime's workers. Resolves to what it answers; dropped, it runs
/// on.
pub struct Blocking<T>(State<T>);

enum State<T> {
    Done(Option<T>),
    Running(JoinHandle<T>),
}

impl<T> Unpin for Blocking<T> {}

impl<T> Future for Blocking<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(value) => Poll::Ready(Ok(value.take().expect("a future is not asked after its end"))),
            State::Running(handle) => Pin::new(handle).poll(context),
        }
    }
}

/// Runs something that blocks or computes for long, away from the runtime's workers.
pub fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    Blocking(if INLINE.get() { State::Done(Some(run())) } else { State::Running(tokio::task::spawn_blocking(run)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;

    #[test]
    fn a_simulated_run_does_what_blocks_at_once_and_without_a_runtime() {
        inline_on_this_thread();
        let mut work = pin!(blocking(|| std::thread::current().id()));
        let answer = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(answer, Poll::Ready(Ok(thread)) if thread == std::thread::current().id()));
    }

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
