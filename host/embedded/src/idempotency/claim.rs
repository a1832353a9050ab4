//! An append with an idempotency key asks for it first (I23): among the recent keys under the view's lock, then
//! in the runs without it, with the key in flight meanwhile.
//!
//! In: a batch's mark. Out: the first append, a refusal, or the sole right to append under this key.

use super::run::{Entry, Run, file_name};
use super::{Answer, First, content};
use crate::queue::{EmbeddedQueue, closed};
use crate::shared::Namespace;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use walhost_core::{Error, Idempotency, Kind, Result};

const OPERATION: &str = "queue.append";

/// What came of asking.
pub(crate) enum Asked {
    /// It was appended before.
    There(First),
    /// Nobody else may append under it until this is over.
    Ours(Claim),
}

/// A key in flight. Dropped, it is free again, unless the log has it.
pub(crate) struct Claim {
    namespace: Arc<Namespace>,
    key: [u8; 16],
    handed_over: bool,
}

impl Claim {
    /// The append is on its way: whoever tells how it ended frees the key.
    pub(crate) fn hand_over(mut self) {
        self.handed_over = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.handed_over {
            self.namespace.view.lock().keys.give_up(&self.key);
        }
    }
}

fn mismatch() -> Error {
    Error::new(Kind::IdempotencyMismatch, OPERATION, "this idempotency key was used with other content")
}

impl EmbeddedQueue {
    /// Asks for a batch's key.
    pub(crate) async fn ask(&self, mark: &Idempotency) -> Result<Asked> {
        let now_ms = self.namespace.shared.clock.now_ms();
        let (runs, window_ms) = {
            let mut view = self.namespace.view.lock();
            if self.namespace.closed.load(Ordering::Acquire) || view.removed {
                return Err(closed(OPERATION));
            }
            let window_ms = view.policy.as_ref().ok_or_else(|| closed(OPERATION))?.idempotency_window_ms;
            match view.keys.begin(mark, now_ms, window_ms) {
                Answer::Begin => {}
                Answer::Known(first) => return Ok(Asked::There(first)),
                Answer::InFlight => {
                    let detail = "the first request with this idempotency key has no answer so far";
                    return Err(Error::new(Kind::IdempotencyInFlight, OPERATION, detail));
                }
                Answer::Mismatch => return Err(mismatch()),
            }
            (Arc::clone(view.keys.runs()), window_ms)
        };
        let claim = Claim { namespace: Arc::clone(&self.namespace), key: mark.key, handed_over: false };
        let maybe = runs.iter().filter(|run| run.candidates(&mark.key).next().is_some());
        let maybe: Vec<Arc<Run>> = maybe.cloned().collect();
        if maybe.is_empty() {
            return Ok(Asked::Ours(claim));
        }
        let (key, view) = (mark.key, self.namespace.number);
        let found = walhost_core::exec::blocking(move || maybe.iter().find_map(|run| look(run, view, &key)));
        let found = found.await.map_err(|error| {
            Error::new(Kind::Unavailable, OPERATION, "looking for the idempotency key was given up").source(error)
        })?;
        match found.filter(|entry| entry.at_ms.saturating_add(window_ms) > now_ms) {
            None => Ok(Asked::Ours(claim)),
            Some(entry) if entry.content != content(mark) => Err(mismatch()),
            Some(entry) => Ok(Asked::There(entry.first)),
        }
    }
}

/// Asks one run. What cannot be read has no keys, and is named once (I11).
fn look(run: &Run, view: u32, key: &[u8; 16]) -> Option<Entry> {
    run.find(key).unwrap_or_else(|error| {
        if run.name_damage() {
            let file = file_name(view, run.id);
            tracing::error!(%error, file, "idempotency keys cannot be read: what was appended under them may come twice");
        }
        None
    })
}
