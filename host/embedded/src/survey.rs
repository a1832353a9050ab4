//! A data directory, offline: what each namespace has in it, what of it is needed, and what damage has taken, by
//! name. For `walhost wal inspect|verify`.
//!
//! In: a log under inspection, its snapshots and run files. Out: `Survey`, by the very replay that an open does;
//! nothing is changed.

use crate::codec::Reader;
use crate::frame::{AGAIN, APPEND, APPEND_DELAYED, APPEND_WITH, DEAD, FACTS};
use crate::idempotency::examine::{RunReport, examine};
use crate::idempotency::run::file_name;
use crate::identity::Identity;
use crate::replay::Recovery;
use crate::snapshot;
use crate::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use walhost_core::Result;
use walhost_core::disk::Disk;
use walhost_core::queue::Accounting;
use walhost_log::inspect::Inspector;
use walhost_log::{Damage, FrameHead, Replay};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of their numbers.
    pub namespaces: Vec<NamespaceReport>,
    /// What damage has taken, each in words.
    pub lost: Vec<String>,
    /// Records that damage has taken since the newest snapshot, over all targets.
    pub lost_records: u64,
    /// As of which log sequence number the newest snapshot is, and the valid one before it.
    pub snapshots: (Option<u64>, Option<u64>),
    /// Names of damaged snapshots.
    pub damaged_snapshots: Vec<String>,
    /// What the newest snapshot is made of: name and version of each kind of section, to bytes over all namespaces.
    pub sections: BTreeMap<(String, u8), u64>,
    /// Files with idempotency keys.
    pub runs: Vec<RunReport>,
    /// Names of those that no snapshot refers to: they go soon after the next open.
    pub unreferenced_runs: Vec<String>,
    /// Frames by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Frames that somebody needs, by segment.
    pub live: BTreeMap<u64, u64>,
}

/// One namespace.
#[derive(Clone, Debug)]
pub struct NamespaceReport {
    /// Its number in the log.
    pub view: u32,
    /// Its name; none when the frame that made it is lost.
    pub name: Option<String>,
    /// Part of the ids of its records.
    pub incarnation: u32,
    /// The next offset that is given.
    pub next_offset: u64,
    /// Records that some target has not settled.
    pub records: u64,
    /// Bytes of the frames that they are in.
    pub live_bytes: u64,
    /// Frames of records that wait for a time of their own, or did.
    pub delayed_frames: u64,
    /// Records that were appended again, each for one target.
    pub moved: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Idempotency keys in memory, and in run files.
    pub keys: (u64, u64),
    /// Records that damage has taken, ever.
    pub lost: u64,
    /// Its targets.
    pub targets: Vec<TargetReport>,
}

/// One target of a namespace.
#[derive(Clone, Debug)]
pub struct TargetReport {
    /// Its name.
    pub name: String,
    /// Its subscription has ended.
    pub ended: bool,
    /// I12.
    pub accounting: Accounting,
    /// Everything below is settled.
    pub floor: u64,
    /// Runs of settled records above it.
    pub holes: u64,
    /// Of the pending: wait after a failure.
    pub retrying: u64,
    /// Of the pending: wait for their own time.
    pub scheduled: u64,
    /// Records that an unclean stop has made suspect, and that were counted (I15).
    pub suspects: u64,
}

fn kind(head: &FrameHead) -> &'static str {
    match head.kind {
        APPEND => "append",
        APPEND_WITH => "append-with",
        APPEND_DELAYED => "append-delayed",
        FACTS => "facts",
        DEAD => "dead",
        AGAIN => "again",
        _ => "other",
    }
}

/// What a lost frame held, in words: whose, which offsets, which ids.
pub(crate) fn name_lost(views: &BTreeMap<u32, View>, head: &FrameHead) -> String {
    let view = views.get(&head.view);
    let name = view.and_then(|view| view.name.as_ref()).map_or("?", |name| name.as_str());
    let whose = format!("namespace {name} (view {})", head.view);
    let (first, last) = (head.first_offset, head.first_offset.saturating_add(u64::from(head.count)).saturating_sub(1));
    match head.kind {
        APPEND | APPEND_WITH | APPEND_DELAYED => {
            let incarnation = view.map_or(0, |view| view.incarnation);
            let id = |offset| Identity { incarnation, epoch: head.epoch, offset }.record_id();
            format!("{whose}: records 0:{first} to 0:{last}, ids {} to {}", id(first), id(last))
        }
        AGAIN => format!("{whose}: records appended again at 0:{first} to 0:{last}; they are still where they were"),
        DEAD => format!("{whose}: dead letters {first} to {last}; their records are pending again"),
        FACTS => format!("{whose}: {} facts; what they settled is delivered again", head.count),
        kind => format!("{whose}: a frame of kind {kind}, offsets {first} to {last}"),
    }
}

impl Survey {
    /// Looks at everything. `whole`: at every byte of the run files too.
    pub fn read(
        inspector: &Inspector,
        disk: &dyn Disk,
        data_dir: &Path,
        damage: &[Damage],
        whole: bool,
    ) -> Result<Survey> {
        let found = walhost_log::snapshot::read_newest(disk, &data_dir.join("snapshots"))?;
        let mut survey = Survey {
            snapshots: (found.newest.as_ref().map(|(as_of, _)| *as_of), found.previous),
            damaged_snapshots: found.damaged,
            runs: examine(disk, &data_dir.join("keys"), whole)?,
            ..Survey::default()
        };
        let mut recovery = match &found.newest {
            Some((as_of, bytes)) => {
                survey.sections = sections(bytes)?;
                let (next_view, views) = snapshot::get(bytes)?;
                Recovery::new(*as_of, next_view, views)
            }
            None => Recovery::new(0, 1, BTreeMap::new()),
        };
        let mut lost: Vec<FrameHead> = damage.iter().flat_map(|damage| damage.heads.iter().copied()).collect();
        let mut failed = None;
        inspector.dump(|head, place, body| {
            *survey.kinds.entry(kind(head)).or_default() += 1;
            let Some(body) = body else {
                lost.push(*head);
                return true;
            };
            recovery.head(head, place);
            if recovery.wants_body(head) {
                failed = recovery.body(head, place, body).err();
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        survey.lost_records = recovery.finish();
        lost.sort_unstable_by_key(|head| head.log_sequence);
        lost.dedup_by_key(|head| head.log_sequence);
        survey.lost = lost.iter().map(|head| name_lost(&recovery.views, head)).collect();
        survey.look_at_runs(&recovery.views);
        for view in recovery.views.values() {
            for extent in view.extents.from(0).filter(|extent| extent.live > 0) {
                *survey.live.entry(extent.place.segment).or_default() += 1;
            }
            for (_, dead) in view.dead.from(0) {
                if let Some(place) = dead.place {
                    *survey.live.entry(place.segment).or_default() += 1;
                }
            }
            survey.namespaces.push(namespace(view, &survey.runs));
        }
        Ok(survey)
    }

    fn look_at_runs(&mut self, views: &BTreeMap<u32, View>) {
        let referenced = views.iter().flat_map(|(number, view)| {
            view.keys.referenced.iter().map(|reference| (file_name(*number, reference.id), *number, reference.count))
        });
        let referenced: Vec<(String, u32, u64)> = referenced.collect();
        let there: BTreeSet<&str> = self.runs.iter().map(|run| run.file.as_str()).collect();
        for (file, view, keys) in &referenced {
            let damaged = self.runs.iter().find(|run| run.file == *file).filter(|run| !run.damage.is_empty());
            let what = match damaged {
                Some(run) => run.damage.join("; "),
                None if there.contains(file.as_str()) => continue,
                None => "the file is missing".to_owned(),
            };
            let name = views.get(view).and_then(|view| view.name.as_ref()).map_or("?", |name| name.as_str());
            self.lost
                .push(format!("namespace {name} (view {view}): idempotency keys of {file} ({keys} in all): {what}"));
        }
        let unknown = self.runs.iter().filter(|run| !referenced.iter().any(|(file, ..)| *file == run.file));
        self.unreferenced_runs = unknown.map(|run| run.file.clone()).collect();
    }

    /// True when nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.lost_records == 0 && self.damaged_snapshots.is_empty()
    }
}

fn namespace(view: &View, runs: &[RunReport]) -> NamespaceReport {
    let in_runs = view.keys.referenced.iter().filter_map(|reference| {
        runs.iter().find(|run| run.file == file_name(view.number, reference.id)).map(|run| run.keys)
    });
    let target = |progress: &crate::progress::Progress| {
        let (_, retrying, scheduled, _) = progress.waiting();
        TargetReport {
            name: progress.name.as_str().to_owned(),
            ended: progress.ended,
            accounting: progress.counters,
            floor: progress.settled.floor(),
            holes: progress.settled.count() as u64,
            retrying,
            scheduled,
            suspects: progress.suspects.left(),
        }
    };
    NamespaceReport {
        view: view.number,
        name: view.name.as_ref().map(|name| name.as_str().to_owned()),
        incarnation: view.incarnation,
        next_offset: view.next_offset,
        records: view.backlog_records,
        live_bytes: view.extents.live_bytes(),
        delayed_frames: view.extents.from(0).filter(|extent| extent.delayed).count() as u64,
        moved: view.targets.iter().map(|target| target.moved.len() as u64).sum(),
        dead_letters: view.dead.len(),
        keys: (view.keys.recent() as u64, in_runs.sum()),
        lost: view.lost,
        targets: view.targets.iter().map(target).collect(),
    }
}

/// Bytes of each kind of section of a snapshot.
fn sections(bytes: &[u8]) -> Result<BTreeMap<(String, u8), u64>> {
    let mut reader = Reader::new(bytes);
    let (_layout, _next_view) = (reader.u8()?, reader.u32()?);
    let mut sections = BTreeMap::new();
    while !reader.is_empty() {
        for _ in 0..reader.count()? {
            let key = (reader.text()?.to_owned(), reader.u8()?);
            *sections.entry(key).or_default() += reader.bytes()?.len() as u64;
        }
    }
    Ok(sections)
}
