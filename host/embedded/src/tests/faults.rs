//! What goes wrong in a run of the model.
//!
//! In: a run. Out: the same run, opened again, with what was found taken into the reference.

use super::run::Run;

impl Run {
    pub(super) fn reopen(&mut self) {
        let closed = self.watched("during: closing", |_| {}, |run| run.world.close());
        if closed.is_ok() {
            self.each(|run| run.space.reference.saved());
            self.ran.count("reopen");
        }
        let alone = self.snapshot_alone;
        self.come_back();
        self.snapshot_alone = alone || closed.is_err();
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
        self.note(|| format!("crash, power cut: {power}"));
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
}
