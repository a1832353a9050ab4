//! Opens a log: finds out what counts, changes nothing until that is known, then fences it off.
//!
//! In: a directory after any crash. Out: an open log, with every frame that counts told to the caller.

pub(crate) mod replay;
pub(crate) mod survey;
pub(crate) mod verdict;

use crate::committer::Committer;
use crate::format::SECTOR_BYTES;
use crate::frame::{FrameHead, Place};
use crate::limits;
use crate::log::{Log, Opened};
use crate::observe::Observer;
use crate::options::{Options, Progress};
use crate::preparer::{Haste, Preparer, prepare_one};
use crate::replay::Replay;
use crate::segment::Segment;
use crate::shared::{Pool, Queue, Shared, Spare};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use survey::Survey;
use verdict::Verdict;
use walhost_core::Result;
use walhost_core::disk::{Disk, Lock};
use walhost_core::error::{Error, Kind};

/// Name of the file whose lock is the sole right to the directory.
pub(crate) const LOCK_NAME: &str = "lock";

pub(crate) fn open<O: Observer>(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: Options,
    caller: &mut dyn Replay,
) -> Result<Opened<O>> {
    options.check()?;
    disk.create_dir_all(dir).map_err(|error| failed(error, "the directory cannot be made"))?;
    let lock = lock(&*disk, dir)?;
    let survey = survey::survey(&*disk, dir)?;
    let verdict = verdict::judge(&survey).map_err(|error| failed(error, "a segment cannot be read"))?;
    #[cfg(any(test, feature = "planted"))]
    let verdict =
        if options.planted == Some(crate::options::Planted::TruncateOnDamage) { verdict.truncated() } else { verdict };
    // Names that an earlier process has made may not be durable; what is acknowledged in them must be.
    quarantine(&*disk, dir, &survey).map_err(|error| failed(error, "a damaged file cannot be set aside"))?;
    sync_names(&*disk, dir).map_err(|error| failed(error, "the directory cannot be synced"))?;

    let epoch = survey.epoch_max.max(verdict.epoch_max) + 1;
    let shared = Arc::new(share(disk, dir, options, lock, &survey, &verdict, epoch));
    let next = if verdict.sequence_max == 0 { 1 } else { verdict.sequence_max + 1 + limits::SEQUENCE_SKIP };
    if survey.segments.is_empty() && survey.blank.is_empty() {
        // Nobody waits so far, and the first segment may serve for long. What fails here fails again below.
        drop(prepare_one(&shared, 1, Haste::None));
    }
    let mut committer = Committer::<O>::new(Arc::clone(&shared), epoch, next, verdict.last_counting);
    let places = committer.begin_epoch(&verdict.copies).map_err(|error| failed(error, "no new epoch can be begun"))?;
    for segment in &verdict.spare_later {
        shared.spare(segment, true);
    }

    let mut teller = replay::Teller::new(caller, survey.damage.iter().chain(&verdict.damage));
    let mut progress = Progress {
        segments_total: verdict.live.len() as u64,
        bytes_total: verdict.live.iter().map(|segment| u64::from(segment.bytes)).sum(),
        ..Progress::default()
    };
    let tell = |progress| shared.options.progress.iter().for_each(|told| told(progress));
    tell(progress);
    for segment in &verdict.live {
        teller.segment(segment)?;
        progress.segments += 1;
        progress.bytes += u64::from(segment.bytes);
        tell(progress);
    }
    for ((head, body), place) in verdict.copies.iter().zip(places) {
        let head = FrameHead { log_sequence: place.log_sequence, epoch, commit: 1, ..*head };
        teller.frame(&head, place, || Ok(body.clone()))?;
    }
    let damage = teller.damage;
    for region in &damage {
        tracing::error!(%region, "the log is damaged");
    }
    {
        let mut stats = shared.stats.lock();
        stats.corrupt_frames = damage.iter().map(crate::replay::Damage::frames).sum();
        stats.torn_frames = verdict.torn_frames;
    }
    let log = Arc::new(Log { shared: Arc::clone(&shared) });
    let preparer = Preparer { shared };
    let Verdict { torn_frames, clean, .. } = verdict;
    Ok(Opened { epoch, log, committer, preparer, damage, torn_frames, clean })
}

/// Takes the sole right to the directory.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Lock>> {
    disk.lock(&dir.join(LOCK_NAME)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Error::new(Kind::Conflict, "log.open", "the log's directory is in use by another process")
                .with("directory", dir.display())
        }
        _ => failed(error, "the directory cannot be locked"),
    })
}

pub(crate) fn failed(error: io::Error, detail: &'static str) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::DiskFull,
        _ => Kind::Unavailable,
    };
    Error::new(kind, "log.open", detail).source(error)
}

/// Sets aside what is no segment of ours any more; it is never deleted.
fn quarantine(disk: &dyn Disk, dir: &Path, survey: &Survey) -> io::Result<()> {
    for name in &survey.unreadable {
        let mut aside = format!("{name}.damaged");
        let taken: Vec<String> = disk.list(dir)?.into_iter().map(|found| found.name).collect();
        while taken.contains(&aside) {
            aside.push('+');
        }
        disk.rename(&dir.join(name), &dir.join(aside))?;
    }
    Ok(())
}

fn sync_names(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if let Some(above) = dir.parent() {
        disk.sync_dir(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
    }
    disk.sync_dir(dir)
}

fn share<O: Observer>(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: Options,
    lock: Box<dyn Lock>,
    survey: &Survey,
    verdict: &Verdict,
    epoch: u32,
) -> Shared<O> {
    let size = u64::from(options.segment_bytes);
    let blank = |(name, bytes): &(String, u64)| Spare { name: name.clone(), bytes: *bytes, reusable: *bytes == size };
    let unused = |segment: &Arc<Segment>| {
        let bytes = u64::from(segment.bytes);
        Spare { name: segment.name.clone(), bytes, reusable: bytes == size }
    };
    let spare = survey.blank.iter().map(blank).chain(verdict.spare_now.iter().map(unused)).collect();
    let pool = Pool {
        ready: VecDeque::new(),
        spare,
        next_segment: survey.segment_max.max(verdict.segment_max) + 1,
        next_file: survey.file_max + 1,
        epoch,
        trouble: None,
        taken: [None; 2],
        awaited: false,
        closed: false,
    };
    let live: BTreeMap<u64, Arc<Segment>> = verdict.live.iter().map(|s| (s.id(), Arc::clone(s))).collect();
    Shared {
        disk,
        dir: dir.to_path_buf(),
        options,
        queue: Mutex::new(Queue::new()),
        wake: Condvar::new(),
        segments: RwLock::new(live),
        pool: Mutex::new(pool),
        preparing: Mutex::new(()),
        wake_preparer: Condvar::new(),
        stats: Mutex::default(),
        lock: Mutex::new(Some(lock)),
        threads: Mutex::default(),
    }
}

/// The place of a frame by its row or head.
pub(crate) fn place(segment: u64, head: &FrameHead, position: u32) -> Place {
    Place { segment, position, bytes: head.bytes, log_sequence: head.log_sequence }
}

const _: () = assert!(SECTOR_BYTES == walhost_core::disk::SECTOR_BYTES);
