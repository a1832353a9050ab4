//! One namespace of a run: what it is asked to be, what must be true of it, what it has handed out.
//!
//! In: a name. Out: a policy, a reference, a queue while it is open.

use super::reference::Reference;
use std::sync::Arc;
use walhost_core::queue::{Lease, QueueContext, QueuePolicy};
use walhost_core::testkit::queue_suite::policy;
use walhost_core::{NamespaceName, Queue};

/// A parked key that is sent through again goes before the records of its key that have not followed it.
pub(super) const PARKED_KEYS_GO_FIRST: bool = true;
/// A record that was delayed, has started and waits for its retry holds its key after a restart, too.
pub(super) const HELD_KEYS_ARE_DURABLE: bool = true;
/// Of a parked key that was sent through again one record dies again: those that came back with it follow it
/// into the dead letters.
pub(super) const KEYS_ARE_PARKED_AGAIN: bool = true;
/// How long a dead letter is kept.
pub(super) const RETENTION_MS: u64 = 60_000;

pub(super) struct Space {
    pub name: &'static str,
    /// Order by key.
    pub ordered: bool,
    /// Dead letters of target `b` park their keys.
    pub parks: bool,
    pub backlog_bytes_max: u64,
    /// It is removed and made again.
    pub comes_and_goes: bool,
    /// A crash may find that it is not there: it was never made durably, or is being removed.
    pub gone_maybe: bool,
    pub reference: Reference,
    pub queue: Option<Arc<dyn Queue>>,
    pub leases: Vec<(&'static str, Lease)>,
}

impl Space {
    /// All that a run has.
    pub(super) fn all() -> Vec<Space> {
        let plain = Space {
            name: "plain",
            ordered: false,
            parks: false,
            backlog_bytes_max: 64 * 1024 * 1024,
            comes_and_goes: false,
            gone_maybe: true,
            reference: Reference::default(),
            queue: None,
            leases: Vec::new(),
        };
        let keyed = Space { name: "keyed", ordered: true, ..plain.copy() };
        let parked = Space { name: "parked", ordered: true, parks: true, backlog_bytes_max: 12_000, ..plain.copy() };
        let guest = Space { name: "guest", comes_and_goes: true, ..plain.copy() };
        vec![plain, keyed, parked, guest]
    }

    /// The same without what a process holds.
    pub(super) fn copy(&self) -> Space {
        Space {
            name: self.name,
            ordered: self.ordered,
            parks: self.parks,
            backlog_bytes_max: self.backlog_bytes_max,
            comes_and_goes: self.comes_and_goes,
            gone_maybe: self.gone_maybe,
            reference: self.reference.clone(),
            queue: None,
            leases: Vec::new(),
        }
    }

    pub(super) fn namespace(&self) -> NamespaceName {
        NamespaceName::new(self.name).unwrap()
    }

    pub(super) fn context(&self) -> QueueContext {
        let policy = QueuePolicy {
            ordered: self.ordered,
            backlog_bytes_max: self.backlog_bytes_max,
            history_ms: u64::MAX / 4,
            idempotency_window_ms: u64::MAX / 4,
            dlq_retention_ms: RETENTION_MS,
            ..policy()
        };
        QueueContext { namespace: self.namespace(), policy }
    }

    /// True when dead letters of this target park their keys.
    pub(super) fn parks(&self, target: &str) -> bool {
        self.parks && target == "b"
    }
}
