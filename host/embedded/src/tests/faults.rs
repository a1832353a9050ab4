//! What goes wrong in a run of the model, and what must be found afterwards.
//!
//! In: a run. Out: the same run, with what was done and found taken into the reference.

use super::reference::fits;
use super::run::{Run, target};

impl Run {
    pub(super) fn reopen(&mut self) {
        if self.world.close().is_ok() {
            self.reference.saved();
            self.ran.count("reopen");
        }
        self.come_back();
    }

    pub(super) fn crash(&mut self) {
        if self.random.below(3) == 0 {
            self.world.flush();
            if self.world.embedded().state() == walhost_log::State::Ok {
                self.keep();
                self.world.flush();
            }
        }
        let power = self.random.below(2) == 0;
        self.ran.count(if power { "power cut" } else { "kill" });
        self.world.end(power);
        self.come_back();
    }

    pub(super) fn fail_sync(&mut self) {
        self.ran.count("sync failed");
        self.world.disk.fail_syncs(self.random.below(2), 1);
        self.append();
    }

    pub(super) fn fill(&mut self) {
        self.ran.count("disk full");
        self.world.disk.set_capacity_bytes(1);
        for _ in 0..6 {
            // Segments that are ready are used up first.
            self.world.embedded().roll();
            self.append();
            self.settle();
            self.world.advance(1_100);
        }
        self.world.disk.set_capacity_bytes(u64::MAX);
        self.world.advance(1_100);
    }

    /// The process stops at some operation of the disk, in the middle of whatever.
    pub(super) fn stop_soon(&mut self) {
        self.world.disk.stop_after(1 + self.random.below(12));
        for _ in 0..4 {
            match self.random.below(4) {
                0 => self.settle(),
                1 => self.keep(),
                2 => self.redrive(),
                _ => self.append(),
            }
        }
        self.ran.count("power cut");
        self.world.end(true);
        self.world.disk.go_on();
        self.come_back();
    }

    /// Opens again, and holds everything that is there against everything that may be.
    pub(super) fn come_back(&mut self) {
        self.leases.clear();
        self.queue = None;
        self.world.disk.fail_syncs(0, 0);
        self.world.open().unwrap();
        assert_eq!(self.world.embedded().report().lost, 0, "nothing was damaged, and something was lost");
        self.take_up();
        self.resolve_doubts();
        let now_ms = self.now_ms();
        let queue = self.queue();
        for at in 0..self.reference.records.len() {
            let id = self.reference.records[at].id.clone();
            let found = self.world.wait(queue.find(&id)).unwrap();
            for (name, slot) in &mut self.reference.records[at].slots {
                let found = found.as_ref().and_then(|found| found.targets.get(&target(name)));
                let stands = std::iter::once(slot.now).chain(slot.maybe.iter().rev().copied());
                let Some(stand) = stands.into_iter().find(|stand| fits(stand, found, now_ms)) else {
                    panic!("{id} for {name}: found {found:?}, was {slot:?}");
                };
                slot.fix(stand);
            }
        }
    }

    /// Appends that were not answered are there whole, or not at all (I24).
    pub(super) fn resolve_doubts(&mut self) {
        let (mut from, mut unknown) = (None::<String>, Vec::new());
        loop {
            let queue = self.queue();
            let page = self.world.wait(queue.peek(from.as_deref(), 1_000)).unwrap();
            let new = page
                .items
                .into_iter()
                .map(|peeked| peeked.record)
                .filter(|record| self.reference.find(&record.id).is_none());
            unknown.extend(new.collect::<Vec<_>>());
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        for doubt in std::mem::take(&mut self.reference.doubts) {
            let there: Vec<_> =
                unknown.extract_if(.., |record| doubt.values.iter().any(|value| record.value == *value)).collect();
            if there.is_empty() {
                self.ran.count("doubt was not there");
                continue;
            }
            assert_eq!(there.len(), doubt.values.len(), "I24: a batch is there whole, or not at all");
            let ids: Vec<_> = there.into_iter().map(|record| record.id).collect();
            self.reference.add(&ids, &doubt);
            self.ran.count("doubt was there");
        }
        assert!(unknown.is_empty(), "records that nobody appended: {unknown:?}");
    }
}
