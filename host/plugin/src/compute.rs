//! Where guests run: threads of their own below the runtime's in priority, or the caller's task.
//!
//! In: a future that runs a guest. Out: its result. Dropping the wait cancels the guest.
//!
//! Guests are computation. On the runtime's workers each of them would hold a worker for a tick at a time,
//! and ingest would wait behind as many ticks as there are busy guests. On threads of lower priority the
//! kernel lets ingest through at once; guests of different namespaces share those threads by ticks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use walhost_core::{Error, Kind, Result};

/// Niceness of the threads that run guests.
const NICE: i32 = 5;
/// Polls between two looks at timers and sockets. A poll of a busy guest takes a whole tick.
const POLLS_PER_LOOK: u32 = 4;

/// The threads that run guests; none: the caller's task.
pub(crate) struct Compute(Option<Runtime>);

impl Compute {
    /// Starts the threads.
    pub fn start(threads: usize) -> Result<Compute> {
        if threads == 0 {
            return Ok(Compute(None));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("wasm")
            .event_interval(POLLS_PER_LOOK)
            .on_thread_start(|| {
                // Lower priority is a courtesy: where it is refused, guests still give way every tick.
                if let Err(error) = rustix::process::nice(NICE) {
                    tracing::debug!(%error, "a compute thread keeps its priority");
                }
            })
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(Kind::Internal, "plugin.open", "the compute threads cannot be started").source(error)
            })?;
        Ok(Compute(Some(runtime)))
    }

    /// Runs it there, and waits.
    pub async fn run<T: Send + 'static>(&self, guest: impl Future<Output = T> + Send + 'static) -> T {
        match &self.0 {
            None => guest.await,
            Some(runtime) => Waiting(runtime.spawn(guest)).await,
        }
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping a runtime blocks, and the last one to let go may be an asynchronous task.
            runtime.shutdown_background();
        }
    }
}

/// A task that ends with whoever waits for it.
struct Waiting<T>(JoinHandle<T>);

impl<T> Future for Waiting<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|joined| match joined {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => panic!("a guest's task is aborted only when nobody waits for it"),
            },
        })
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
