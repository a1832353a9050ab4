//! Suspects on their way (I15): their starts, durable before they run, and, of those that were counted before,
//! one at a time in the whole host, so that a stop of the host can be nobody else's doing.
//!
//! In: starts and settlements of suspects. Out: facts on their way to the log; who waits for whom.

use crate::frame::fact::Fact;
use crate::limits;
use crate::shared::{Namespace, durable};
use crate::subscription::TargetSubscription;
use crate::suspects::Start;
use crate::view::View;
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use walhost_core::queue::{LeaseToken, Settlement};
use walhost_core::{Error, Kind, Result};
use walhost_log::Failure;

/// The one counted suspect that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    holder: Mutex<Option<Holder>>,
    free: Notify,
}

#[derive(Clone, Debug)]
struct Holder {
    view: u32,
    namespace: Weak<Namespace>,
    target: u16,
    token: u64,
}

impl Holder {
    /// False when its lease has ended without a settlement, or its namespace is gone.
    fn stands(&self) -> bool {
        let Some(namespace) = self.namespace.upgrade() else { return false };
        let mut view = namespace.view.lock();
        let monotonic_ms = crate::subscription::monotonic_ms(&namespace);
        !view.removed
            && view
                .progress(self.target)
                .and_then(|progress| progress.leases.get(&self.token))
                .is_some_and(|leased| leased.settling || leased.until_ms > monotonic_ms)
    }
}

impl Alone {
    /// Waits until no other counted suspect is on its way, and takes its place.
    async fn take(&self, namespace: &Arc<Namespace>, target: u16, token: u64) {
        loop {
            let mut free = pin!(self.free.notified());
            free.as_mut().enable();
            let holder = self.holder.lock().clone();
            let ours =
                |holder: &Holder| (holder.view, holder.target, holder.token) == (namespace.number, target, token);
            // Asked without our lock: it takes the lock of a view.
            if holder.as_ref().is_none_or(|holder| ours(holder) || !holder.stands()) {
                let mut now = self.holder.lock();
                let same = match (&*now, &holder) {
                    (Some(now), Some(before)) => {
                        (now.view, now.target, now.token) == (before.view, before.target, before.token)
                    }
                    (None, None) => true,
                    _ => false,
                };
                if same {
                    let (view, weak) = (namespace.number, Arc::downgrade(namespace));
                    *now = Some(Holder { view, namespace: weak, target, token });
                    return;
                }
                continue;
            }
            tokio::select! {
                () = free => {}
                () = namespace.shared.clock.sleep(Duration::from_millis(limits::ALONE_CHECK_MS)) => {}
            }
        }
    }

    /// These leases have ended: the next one may go.
    pub(crate) fn end(&self, view: u32, target: u16, tokens: &[LeaseToken]) {
        let mut holder = self.holder.lock();
        let ours = |holder: &mut Holder| {
            holder.view == view && holder.target == target && tokens.iter().any(|token| token.0 == holder.token)
        };
        if holder.take_if(ours).is_some() {
            drop(holder);
            self.free.notify_waiters();
        }
    }
}

impl TargetSubscription {
    /// The start of a suspect, durable.
    pub(crate) async fn begin(&self, token: LeaseToken) -> Result<()> {
        const OPERATION: &str = "queue.start";
        let ended = || Error::new(Kind::NotFound, OPERATION, "the lease has ended");
        let suspicion = |view: &View| {
            let progress = view.targets.get(usize::from(self.target)).ok_or_else(ended)?;
            let offset = progress.leases.get(&token.0).ok_or_else(ended)?.offset;
            Ok::<_, Error>((offset, progress.suspects.suspicion(offset)))
        };
        let Some(crashes) = suspicion(&self.namespace.view.lock())?.1 else { return Ok(()) };
        let shared = &self.namespace.shared;
        if crashes > 0 {
            shared.alone.take(&self.namespace, self.target, token.0).await;
        }
        let answer = {
            let mut view = self.namespace.view.lock();
            self.check_open(&view, OPERATION)?;
            let (offset, suspicion) = suspicion(&view)?;
            let progress = view.progress(self.target).ok_or_else(ended)?;
            if suspicion.is_none() || progress.suspects.is_started(offset) {
                return Ok(());
            }
            progress.suspects.pass(offset);
            let (number, spent, first_spent_at_ms) = progress
                .tried
                .get(&offset)
                .map_or((0, 0, None), |tried| (tried.number, tried.spent, tried.first_spent_at_ms));
            let start = Start { number: number + 1, at_ms: shared.clock.now_ms(), spent, first_spent_at_ms };
            let started = Fact::Started { target: self.target, offset, start };
            shared.apply_durably(OPERATION, &self.namespace, &mut view, &[started])?
        };
        let written = durable(OPERATION, answer).await;
        written.map_err(|error| Error::new(Kind::Unavailable, OPERATION, "the start is not durable").source(error))
    }

    /// Suspects among these leases have had their turn. True when there are some, and when one of them went
    /// alone: others wait for it.
    pub(crate) fn pass_suspects(&self, view: &mut View, settlements: &[(LeaseToken, Settlement)]) -> bool {
        let Some(progress) = view.progress(self.target).filter(|progress| !progress.suspects.is_quiet()) else {
            return false;
        };
        let mut any = false;
        for (token, settlement) in settlements {
            let Some(leased) = progress.leases.get(&token.0) else { continue };
            let (offset, started) = (leased.offset, progress.suspects.is_started(leased.offset));
            any |= leased.alone || started;
            // What was given back untried is as suspect as before.
            if started || !matches!(settlement, Settlement::Later { spent: None, .. }) {
                progress.suspects.pass(offset);
            }
        }
        any
    }

    /// Applies the facts of settlements: those of suspects durably, so that only what was on its way counts.
    pub(crate) fn apply(
        &self,
        view: &mut View,
        facts: Vec<Fact>,
        suspects: bool,
    ) -> (Result<()>, Option<oneshot::Receiver<std::result::Result<(), Failure>>>) {
        let shared = &self.namespace.shared;
        if suspects
            && !facts.is_empty()
            && !view.removed
            && let Ok(answer) = shared.apply_durably("queue.settle", &self.namespace, view, &facts)
        {
            return (Ok(()), Some(answer));
        }
        (shared.apply_lazily(&self.namespace, view, facts), None)
    }
}
