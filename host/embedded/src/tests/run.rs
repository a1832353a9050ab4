//! One run of the model: which operation comes next, and what must balance after it.
//!
//! In: a seed. Out: counters that prove that everything happened; a panic where something does not hold.

use super::images::Watch;
use super::ran::Ran;
use super::reference::TARGETS;
use super::spaces::Space;
use super::world::World;
use crate::backend::{EmbeddedConfig, Planted};
use crate::cleaner::Cleaned;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use walhost_core::backend::QueueBackend;
use walhost_core::disk::Disk;
use walhost_core::queue::{Done, From, LeaseRequest, Settlement};
use walhost_core::{Clock, Queue, Random, RecordId, Subscription, TargetName, VerdictKind};

pub(super) const VISIBILITY_MS: u64 = 5_000;
/// Longer than anything in a run waits, in milliseconds.
const EVERYTHING_IS_DUE_MS: u64 = 300_000;

pub(super) struct Run {
    pub(super) world: World,
    pub(super) random: Random,
    /// The namespace that the present operation is about.
    pub(super) space: Space,
    pub(super) others: Vec<Space>,
    /// All ids ever given: none is given twice.
    pub(super) ids: HashSet<RecordId>,
    pub(super) values: u64,
    pub(super) ran: Ran,
    /// How crash states are taken; none: they are not.
    pub(super) watch: Watch,
    /// The newest snapshot may say what the log and older snapshots do not: facts that were on their way when the
    /// process ended.
    pub(super) snapshot_alone: bool,
    /// The last things done, for whoever reads a failure.
    trace: Vec<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = super::model::asked("WALHOST_PROVE_TRACE", 25) as usize;
            let from = self.trace.len().saturating_sub(shown);
            eprintln!("{}\n", self.trace[from..].join("\n"));
        }
    }
}

pub(super) fn target(name: &str) -> TargetName {
    TargetName::new(name).unwrap()
}

impl Run {
    pub(super) fn new(seed: u64, planted: Option<Planted>, watch: Watch) -> Run {
        let mut world = World::new(seed, 64 * 1024, planted);
        world.clean_slack_segments = 0;
        let mut run = Run::of(world, Random::seeded(seed ^ 0xabcd), Space::all(), watch);
        run.come_back();
        run
    }

    pub(super) fn of(world: World, random: Random, mut spaces: Vec<Space>, watch: Watch) -> Run {
        let space = spaces.remove(0);
        Run {
            world,
            random,
            space,
            others: spaces,
            ids: HashSet::new(),
            values: 0,
            ran: Ran::default(),
            watch,
            snapshot_alone: false,
            trace: Vec::new(),
        }
    }

    pub(super) fn ran(self) -> Ran {
        self.ran.clone()
    }

    pub(super) fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(self.space.queue.as_ref().unwrap())
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.world.clock.now_ms()
    }

    /// Goes to the next namespace.
    pub(super) fn turn(&mut self) {
        let next = self.others.remove(0);
        self.others.push(std::mem::replace(&mut self.space, next));
    }

    /// Does something for each namespace.
    pub(super) fn each(&mut self, mut what: impl FnMut(&mut Run)) {
        for _ in 0..=self.others.len() {
            what(self);
            self.turn();
        }
    }

    /// Opens the namespace's queue and its targets.
    pub(super) fn take_up(&mut self) {
        let embedded = self.world.embedded();
        let opening = QueueBackend::open(&*embedded, self.space.context(), EmbeddedConfig::default());
        let queue = self.world.wait(opening).unwrap();
        for name in TARGETS {
            let sub = self.world.wait(queue.subscribe(&target(name), From::Latest)).unwrap();
            sub.park(self.space.parks(name));
        }
        self.space.queue = Some(queue);
        self.space.gone_maybe = false;
    }

    pub(super) fn sub(&mut self, name: &str) -> Arc<dyn Subscription> {
        let queue = self.queue();
        self.world.wait(queue.subscribe(&target(name), From::Latest)).unwrap()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let note = format!("{} {}: {}", self.now_ms(), self.space.name, what());
        self.trace.push(note);
        if self.trace.len() > 4_000 {
            self.trace.drain(..3_000);
        }
    }

    pub(super) fn step(&mut self, step: usize) {
        for _ in 0..self.random.below(self.others.len() as u64 + 1) {
            self.turn();
        }
        self.ran.count("operation");
        let dice = self.random.below(100);
        self.note(|| format!("step {step}, dice {dice}"));
        match dice {
            0..28 => self.append(),
            28..45 => self.lease(),
            45..63 => self.settle(),
            63..67 => self.cancel(),
            67..70 => self.reschedule(),
            70..74 => self.redrive(),
            74..75 => self.purge(),
            75..76 => self.remove(),
            76..82 => self.advance(),
            82..84 => self.keep(),
            84..86 => self.clean(),
            86..88 => {
                self.ran.count("roll");
                self.world.embedded().roll();
            }
            88..91 => self.reopen(),
            91..94 => self.crash(),
            94..96 => self.fail_sync(),
            96..98 => self.fill(),
            _ => self.stop_soon(),
        }
        self.balance();
        self.look_between();
    }

    fn advance(&mut self) {
        self.ran.count("advance");
        let most = if self.random.below(4) == 0 { 60_000 } else { 500 };
        let ms = 1 + self.random.below(most);
        self.watched("during: time", |_| {}, |run| run.world.advance(ms));
        self.calm(ms);
    }

    /// I13: what was settled more than 50 ms ago is durable, if the disk let it.
    pub(super) fn calm(&mut self, ms: u64) {
        let embedded = self.world.embedded();
        if ms > 60 && embedded.state() == walhost_log::State::Ok && !embedded.has_unsaved() {
            self.each(|run| run.space.reference.saved());
            self.ran.count("calm");
        }
    }

    fn newest_snapshot(&self) -> Option<String> {
        let files = self.world.disk.list(Path::new("/data/snapshots")).ok()?;
        files.into_iter().map(|file| file.name).max()
    }

    /// Housekeeping, and what it makes of the dead letters.
    pub(super) fn keep(&mut self) {
        let mut before = Vec::new();
        self.each(|run| before.push(run.letters()));
        let embedded = self.world.embedded();
        let newest = self.newest_snapshot();
        let kept = self.watched_all("during: housekeeping", Space::may_expire, |run| {
            let kept = embedded.keep().and_then(|()| embedded.snapshot()).is_ok();
            run.world.step();
            kept
        });
        if kept {
            self.snapshot_alone &= self.newest_snapshot() == newest;
            self.ran.count("snapshot");
        }
        if embedded.namespaces().0.iter().any(|one| one.view.lock().targets.iter().any(|t| !t.moved.is_empty())) {
            self.ran.count("moved");
        }
        if embedded.stats().recycled > 0 {
            self.ran.count("segment given back");
        }
        let mut before = before.into_iter();
        self.each(|run| {
            let left = run.letters();
            for (id, record, name) in before.next().unwrap() {
                if !left.iter().any(|(still, ..)| *still == id) {
                    run.space.reference.slot(&record, &name).unwrap().change(super::reference::Stand::Expired);
                    run.ran.count("expire");
                }
            }
        });
    }

    /// The disk becomes short: the cleaner copies what is needed out of the segments that hold little of it, and
    /// they are given back.
    pub(super) fn clean(&mut self) {
        for _ in 0..2 {
            self.keep();
            self.append();
        }
        let free = self.world.disk.free_bytes(Path::new("/data")).unwrap_or(0);
        self.world.disk.set_capacity_bytes(u64::MAX - free + 3 * 64 * 1024);
        let embedded = self.world.embedded();
        for _ in 0..60 {
            let states = self.ran.of("state");
            let nothing = |_: &mut Space| {};
            let cleaned = self.watched_all("during: a look for space", nothing, |run| {
                let cleaned = embedded.clean();
                run.world.step();
                cleaned
            });
            match cleaned {
                Ok(Cleaned::Worked(bytes)) if bytes > 0 => {
                    self.ran.count("cleaned");
                    self.ran.count_many("during: cleaning", self.ran.of("state") - states);
                }
                Ok(Cleaned::Idle) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.world.disk.set_capacity_bytes(u64::MAX);
        self.world.advance(1_100);
        for _ in 0..2 {
            self.keep();
            self.append();
        }
    }

    /// I12, for the present namespace.
    pub(super) fn balance(&mut self) {
        let stats = self.queue().stats();
        for name in TARGETS {
            let accounting = stats.targets[&target(name)].accounting;
            assert!(accounting.balances(), "I12: {accounting:?}");
            assert_eq!(accounting, self.space.reference.accounting(name), "I12 of {} for {name}", self.space.name);
        }
    }

    /// The end of a run: everything that is open is handed out, and can be delivered.
    pub(super) fn finish(&mut self) {
        self.world.end(false);
        self.come_back();
        self.each(|run| run.drain());
        let disk = self.world.disk.counters();
        let happened = [
            ("sectors lost", disk.sectors_lost),
            ("lies lost", disk.lies_lost),
            ("names lost", disk.names_lost),
            ("files torn", disk.files_torn),
        ];
        happened.into_iter().filter(|(_, count)| *count > 0).for_each(|(what, _)| self.ran.count(what));
    }

    /// Everything that is open is handed out, then every dead letter again, and all of it can be delivered.
    pub(super) fn drain(&mut self) {
        self.world.advance(EVERYTHING_IS_DUE_MS);
        self.deliver_all();
        if self.letters().is_empty() {
            return;
        }
        while !self.letters().is_empty() {
            self.redrive_all();
            self.deliver_all();
        }
        for name in TARGETS {
            assert_eq!(self.space.reference.accounting(name).dead, 0, "every dead letter goes back");
        }
    }

    fn deliver_all(&mut self) {
        for name in TARGETS {
            let sub = self.sub(name);
            loop {
                let request =
                    LeaseRequest { records_max: 100, bytes_max: 1 << 20, visibility_ms: VISIBILITY_MS, wait_ms: 0 };
                let leases = self.world.wait(sub.lease(request)).unwrap();
                self.world.step();
                let followed = self.followed();
                if leases.is_empty() && followed == 0 {
                    break;
                }
                let mut call = Vec::new();
                for lease in leases {
                    self.note(|| format!("lease {name} {:?} {:?}", lease.token, lease.record.id));
                    self.check_lease(name, &lease);
                    let attempt = Some(self.attempt(&lease, VerdictKind::Delivered));
                    call.push((lease.token, Settlement::Done { outcome: Done::Delivered, attempt }));
                    self.space
                        .reference
                        .slot(&lease.record.id, name)
                        .unwrap()
                        .change(super::reference::Stand::Delivered);
                }
                self.world.wait(sub.settle(call)).unwrap();
            }
            let left = self.space.reference.accounting(name).pending;
            assert_eq!(left, 0, "of {} for {name} all that was open was handed out", self.space.name);
        }
        self.balance();
        assert_eq!(self.queue().stats().backlog_records, 0);
    }
}
