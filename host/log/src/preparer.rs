//! Makes segments ready before they are needed: zero-fills fresh files, gives released ones a new salt.
//!
//! In: released files, free space. Out: ready segments.

use crate::format::{HEADERS_AT, Header};
use crate::limits;
use crate::observe::Observer;
use crate::segment::Segment;
use crate::shared::{Pool, Shared, Spare};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::disk::{DiskFile, OpenMode};

/// Bytes of zeros written at once when nobody uses the log so far.
const FILL_BYTES: usize = 1024 * 1024;

/// How soon a segment is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// A commit waits for it: its space is taken, no zeros are written.
    Now,
    /// Commits go on beside it: zeros go to the disk in small pieces with pauses, until it is needed.
    Beside,
    /// Nothing else is going on.
    None,
}

/// The preparing thread's own state. Exactly one a log.
pub struct Preparer<O: Observer> {
    pub(crate) shared: Arc<Shared<O>>,
}

impl<O: Observer> Preparer<O> {
    /// Makes at most one segment ready, or removes one file too many; true when it did something.
    pub fn step(&mut self) -> bool {
        self.prepare(Haste::None)
    }

    fn prepare(&mut self, haste: Haste) -> bool {
        let now = self.shared.options.clock.monotonic();
        let fast = self.shared.pool.lock().is_fast(now);
        let more = if fast { limits::READY_SEGMENTS_MORE } else { 0 };
        let wanted = self.shared.options.ready_segments + more;
        match prepare_one(&self.shared, wanted, haste) {
            Ok(true) => true,
            Ok(false) => remove_one(&self.shared, wanted),
            Err(_) => remove_one(&self.shared, wanted),
        }
    }

    /// Until the log is closed.
    pub(crate) fn run(mut self) {
        loop {
            let worked = self.prepare(Haste::Beside);
            let mut pool = self.shared.pool.lock();
            if pool.closed {
                return;
            }
            if !worked {
                let retry = Duration::from_millis(limits::FULL_RETRY_MS);
                self.shared.wake_preparer.wait_for(&mut pool, retry);
            }
        }
    }
}

/// Makes one segment ready unless there are as many as wanted. An error is kept as the pool's trouble.
pub(crate) fn prepare_one<O: Observer>(shared: &Shared<O>, wanted: usize, haste: Haste) -> io::Result<bool> {
    let _turn = shared.preparing.lock();
    let (spare, header, number) = {
        let mut pool = shared.pool.lock();
        if pool.ready.len() >= wanted || pool.closed {
            return Ok(false);
        }
        let reusable = pool.spare.iter().position(|spare| spare.reusable);
        let spare = reusable.map(|place| pool.spare.remove(place));
        let header = Header {
            segment: pool.next_segment,
            epoch: pool.epoch,
            salt: shared.options.random.next_u64(),
            bytes: shared.options.segment_bytes,
        };
        pool.next_segment += 1;
        let number = pool.next_file;
        pool.next_file += u64::from(spare.is_none());
        (spare, header, number)
    };
    let recycled = spare.is_some();
    let name = spare.map_or_else(|| file_name(number), |spare| spare.name);
    let outcome = if recycled { recycle(shared, &name, &header) } else { create(shared, &name, &header, haste) };
    let mut pool = shared.pool.lock();
    match outcome {
        Ok(file) => {
            pool.ready.push_back(Arc::new(Segment::new(header, name, file, header.bytes)));
            pool.trouble = None;
            shared.stats.lock().recycled += u64::from(recycled);
            Ok(true)
        }
        Err(error) => {
            if pool.trouble.is_none() {
                tracing::warn!(file = name, %error, "no segment could be made ready");
            }
            pool.trouble = Some(error.to_string());
            // A fresh file is there in part at most; one that was to be recycled is given up.
            let bytes = u64::from(header.bytes);
            pool.spare.push(Spare { name, bytes, reusable: false });
            Err(error)
        }
    }
}

/// Removes one file that is not wanted; true when there was one.
fn remove_one<O: Observer>(shared: &Shared<O>, wanted: usize) -> bool {
    // What is released comes in bursts and is used up evenly: a file that is kept need not be filled again.
    let roomy = is_roomy(shared);
    let spare = {
        let mut pool = shared.pool.lock();
        let reusable = pool.spare.iter().filter(|spare| spare.reusable).count();
        let kept_max = if roomy { limits::SPARE_SEGMENTS_MAX } else { 0 };
        let enough = pool.ready.len() >= wanted && reusable > kept_max;
        let place = pool.spare.iter().position(|spare| enough || !spare.reusable);
        match place {
            Some(place) => pool.spare.remove(place),
            None => return false,
        }
    };
    match shared.disk.remove(&shared.dir.join(&spare.name)).and_then(|()| sync_dir(shared)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!(file = spare.name, %error, "a file that is not needed could not be removed");
            shared.pool.lock().spare.push(Spare { reusable: false, ..spare });
            false
        }
    }
}

/// Whether files that are not needed now may stay: nobody else is short of the space.
fn is_roomy<O: Observer>(shared: &Shared<O>) -> bool {
    let kept = u64::from(shared.options.segment_bytes) * limits::SPARE_SEGMENTS_MAX as u64;
    let wanted = shared.options.min_free_bytes.saturating_add(2 * kept);
    !shared.pool.lock().spare.is_empty() && shared.disk.free_bytes(&shared.dir).is_ok_and(|free| free >= wanted)
}

pub(crate) fn file_name(number: u64) -> String {
    format!("{number:08}.wal")
}

fn path_of<O: Observer>(shared: &Shared<O>, name: &str) -> PathBuf {
    shared.dir.join(name)
}

fn recycle<O: Observer>(shared: &Shared<O>, name: &str, header: &Header) -> io::Result<Arc<dyn DiskFile>> {
    let file = shared.disk.open(&path_of(shared, name), OpenMode::ReadWrite)?;
    Segment::write_headers(&*file, header)?;
    Ok(file)
}

fn create<O: Observer>(shared: &Shared<O>, name: &str, header: &Header, haste: Haste) -> io::Result<Arc<dyn DiskFile>> {
    let bytes = u64::from(header.bytes);
    if shared.disk.free_bytes(&shared.dir)? < shared.options.min_free_bytes.saturating_add(bytes) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let file = shared.disk.open(&path_of(shared, name), OpenMode::CreateNew)?;
    // Where the space cannot be taken without writing it, it is written.
    let allocated = match file.allocate(bytes) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => false,
        Err(error) => return Err(error),
    };
    // The header's own pages are written below, with the rest of the file already there.
    debug_assert!(HEADERS_AT[1] < bytes);
    match haste {
        Haste::Now if allocated => {}
        Haste::Now | Haste::None => fill(&*file, bytes)?,
        Haste::Beside => fill_beside(shared, &*file, bytes, allocated)?,
    }
    Segment::write_headers(&*file, header)?;
    sync_dir(shared)?;
    Ok(file)
}

/// Fills a file with zeros: an overwrite of blocks that were written before is durable without the file
/// system's journal, and takes half the time of one that was not.
fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(bytes as usize)];
    let mut position = 0;
    while position < bytes {
        let count = zeros.len().min((bytes - position) as usize);
        file.write_at(&[&zeros[..count]], position)?;
        position += count as u64;
    }
    Ok(())
}

/// The same beside a log that is in use: no commit waits behind more than one piece. When space was
/// `allocated` it ends as soon as the segment is needed, or would not pay: what is left reads as zeros too.
fn fill_beside<O: Observer>(shared: &Shared<O>, file: &dyn DiskFile, bytes: u64, allocated: bool) -> io::Result<()> {
    let clock = &shared.options.clock;
    let zeros = vec![0; limits::FILL_BYTES.min(bytes as usize)];
    let mut position = 0;
    while position < bytes {
        let started = clock.monotonic();
        let count = zeros.len().min((bytes - position) as usize);
        file.write_synced_at(&[&zeros[..count]], position)?;
        position += count as u64;
        let now = clock.monotonic();
        let pause = now.saturating_sub(started) * limits::FILL_PAUSE_TIMES;
        let mut pool = shared.pool.lock();
        let needed = |pool: &Pool| allocated && (pool.awaited || pool.closed || pool.is_fast(now));
        // Where nothing was allocated the rest must be written too: then at least without pauses.
        if !needed(&pool) && !pool.awaited && !pool.closed {
            let pause = pause.min(Duration::from_millis(limits::FILL_PAUSE_MS_MAX));
            shared.wake_preparer.wait_for(&mut pool, pause);
        }
        if needed(&pool) {
            return Ok(());
        }
    }
    Ok(())
}

fn sync_dir<O: Observer>(shared: &Shared<O>) -> io::Result<()> {
    #[cfg(any(test, feature = "planted"))]
    if shared.options.planted == Some(crate::options::Planted::SkipDirectorySync) {
        return Ok(());
    }
    shared.disk.sync_dir(&shared.dir)
}
