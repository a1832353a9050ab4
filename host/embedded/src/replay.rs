//! What an open of the log brings back: the snapshot's facts, the heads of all frames, and the bodies of
//! those that are newer than the snapshot.
//!
//! In: `walhost_log::Replay`. Out: the views, ready to work.

use crate::frame::append::{Meta, Stored};
use crate::frame::fact::Fact;
use crate::frame::{self, AGAIN, ALL_TARGETS, APPEND, APPEND_DELAYED, APPEND_WITH, DEAD, FACTS};
use crate::survey::name_lost;
use crate::view::{Landed, View};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use walhost_core::{NamespaceName, Result};
use walhost_log::{Damage, FrameHead, Place, Replay};

/// The state as it comes back.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    pub views: BTreeMap<u32, View>,
    pub next_view: u32,
    /// The snapshot holds every fact up to here.
    pub as_of: u64,
    /// The highest log sequence number that was replayed.
    pub last: u64,
    /// Namespaces that were removed after the snapshot.
    gone: HashSet<u32>,
    /// Frames whose meaning was lost with their body, and damage as the log tells it.
    pub damage: Vec<String>,
    /// Heads of lost frames.
    lost: Vec<FrameHead>,
}

impl Recovery {
    /// Begins with what a snapshot knows.
    pub(crate) fn new(as_of: u64, next_view: u32, views: BTreeMap<u32, View>) -> Recovery {
        Recovery { views, next_view: next_view.max(1), as_of, last: as_of, ..Recovery::default() }
    }

    fn is_new(&self, head: &FrameHead) -> bool {
        head.origin > self.as_of
    }

    /// The view of a frame. A new frame of a view that nobody has heard of makes one without a name: what
    /// it was made with is lost, its records are not.
    fn view(&mut self, head: &FrameHead) -> Option<&mut View> {
        if !self.views.contains_key(&head.view) {
            if head.view == 0 || self.gone.contains(&head.view) || !self.is_new(head) {
                return None;
            }
            let mut view = View::new(head.view, None, head.view);
            view.replaying = true;
            self.views.insert(head.view, view);
        }
        self.views.get_mut(&head.view)
    }

    fn facts(&mut self, head: &FrameHead, body: &[u8]) -> Result<()> {
        for fact in Fact::list(body)? {
            match &fact {
                Fact::Made { name, incarnation, .. } => {
                    if let Some(view) = self.view(head)
                        && view.name.is_none()
                    {
                        view.name = NamespaceName::new(name).ok();
                        view.incarnation = *incarnation;
                    }
                }
                Fact::Removed => {
                    self.views.remove(&head.view);
                    self.gone.insert(head.view);
                }
                fact => {
                    if let Some(view) = self.view(head) {
                        view.apply(fact);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the replay; answers how many records damage has taken, over all targets.
    pub(crate) fn finish(&mut self) -> u64 {
        // A fact about a namespace that was removed makes it again, without a name and with nothing in it.
        self.views.retain(|_, view| view.name.is_some() || view.next_offset > 0 || view.next_dead > 0);
        let mut lost = 0;
        for view in self.views.values_mut() {
            let records = view.finish_replay();
            if records > 0 {
                let name = view.name.as_ref().map_or("?", |name| name.as_str());
                self.damage
                    .push(format!("namespace {name} (view {}): {records} records lost, over all targets", view.number));
            }
            lost += records;
        }
        // By name, when everybody's name is known (I6).
        self.damage.extend(self.lost.iter().map(|head| name_lost(&self.views, head)));
        lost
    }
}

fn landed(head: &FrameHead, place: Place) -> Landed {
    Landed { first_offset: head.first_offset, count: head.count, first_sequence: head.first_sequence, place }
}

impl Replay for Recovery {
    fn head(&mut self, head: &FrameHead, place: Place) {
        self.last = self.last.max(place.log_sequence).max(head.origin);
        self.next_view = self.next_view.max(head.view.saturating_add(1));
        let new = self.is_new(head);
        let landed = landed(head, place);
        let Some(view) = self.view(head) else { return };
        match head.kind {
            APPEND if new => {
                let meta = Meta { appended_at_ms: 0, epoch: 0, only: ALL_TARGETS, delay: None, idempotency: None };
                view.append(landed, &meta);
            }
            APPEND | APPEND_WITH | APPEND_DELAYED | AGAIN if !new => view.place(landed, head.kind),
            // The rest is applied with its body; what is given must not be given again if that is lost.
            APPEND_WITH | APPEND_DELAYED | AGAIN => view.given(&landed, true),
            DEAD => {
                for number in head.first_offset..head.first_offset.saturating_add(u64::from(head.count)) {
                    view.next_dead = view.next_dead.max(number.saturating_add(1));
                    view.dead.place(number, place, (number - head.first_offset) as u32, head.count);
                }
            }
            _ => {}
        }
    }

    fn wants_body(&self, head: &FrameHead) -> bool {
        self.is_new(head)
            && matches!(head.kind, APPEND_WITH | APPEND_DELAYED | FACTS | DEAD | AGAIN)
            && !self.gone.contains(&head.view)
    }

    fn body(&mut self, head: &FrameHead, place: Place, body: Bytes) -> Result<()> {
        let landed = landed(head, place);
        match head.kind {
            FACTS => self.facts(head, &body)?,
            APPEND_WITH | APPEND_DELAYED => {
                let meta = Stored::decode(&body, head.count)?.meta()?;
                if let Some(view) = self.view(head) {
                    view.append(landed, &meta);
                    view.given(&landed, meta.delay.is_some());
                }
            }
            DEAD => {
                let letters = frame::dead::decode(&body, head.count)?;
                if let Some(view) = self.view(head) {
                    view.bring_out(head.first_offset, &letters, place);
                }
            }
            AGAIN => {
                let again = frame::again::decode(&Stored::decode(&body, head.count)?, head.count)?;
                if let Some(view) = self.view(head) {
                    view.again(landed, &again);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn lost(&mut self, damage: &Damage) {
        self.damage.push(damage.to_string());
        self.lost.extend(&damage.heads);
    }
}
