//! The disk of the machine.
//!
//! In: paths and bytes. Out: the system's calls, with its errors as they are.

use super::{DirEntry, Disk, DiskFile, Lock, OpenMode};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Slices that one call takes: `IOV_MAX` of Linux.
const SLICES_MAX: usize = 1_024;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

struct OsFile {
    file: File,
    /// False once the file system has said that it cannot write synced.
    synced_writes: AtomicBool,
}

struct OsLock {
    /// Closing it gives the lock back.
    _file: File,
}

impl Lock for OsLock {}

impl Disk for OsDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::CreateNew => options.read(true).write(true).create_new(true),
        };
        let file = options.open(path)?;
        Ok(Arc::new(OsFile { file, synced_writes: AtomicBool::new(true) }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(path)? {
            let found = found?;
            let about = match found.metadata() {
                Ok(about) => about,
                // Removed while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = found.file_name().to_string_lossy().into_owned();
            let directory = about.is_dir();
            entries.push(DirEntry { name, bytes: if directory { 0 } else { about.len() }, directory });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let about = rustix::fs::statvfs(path)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(OsLock { _file: file }))
    }
}

impl DiskFile for OsFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let outcome = rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes);
        outcome.map_err(io::Error::from).map_err(|error| match unsupported(&error) {
            true => io::ErrorKind::Unsupported.into(),
            false => error,
        })
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        write_all(&self.file, parts, position, ReadWriteFlags::empty())
    }

    fn write_synced_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        // A synced write syncs its own range only, so that all of it must go in one call; and a call
        // takes a bounded number of slices.
        if parts.len() <= SLICES_MAX && self.synced_writes.load(Ordering::Relaxed) {
            match write_all(&self.file, parts, position, ReadWriteFlags::DSYNC) {
                Err(error) if unsupported(&error) => self.synced_writes.store(false, Ordering::Relaxed),
                outcome => return outcome,
            }
        }
        self.write_at(parts, position)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        // Never again after an error: the kernel has forgotten which pages are not on disk.
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}

fn unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL].iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Writes all parts; a short write goes on behind what was written.
fn write_all(file: &File, parts: &[&[u8]], mut position: u64, flags: ReadWriteFlags) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().filter(|p| !p.is_empty()).map(|p| IoSlice::new(p)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let now = &rest[..rest.len().min(SLICES_MAX)];
        let outcome = if flags.is_empty() {
            rustix::io::pwritev(file, now, position)
        } else {
            rustix::io::pwritev2(file, now, position, flags)
        };
        match outcome {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                position += count as u64;
                IoSlice::advance_slices(&mut rest, count);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn many_parts_are_written_and_read_back_and_a_lock_is_held_once() {
        let dir = std::env::temp_dir().join(format!("walhost-os-disk-{}", std::process::id()));
        let disk = OsDisk;
        disk.create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        drop(disk.remove(&path));
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        let parts: Vec<Vec<u8>> = (0..3_000_u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        file.write_synced_at(&slices, 100).unwrap();
        file.write_synced_at(&[b"ab", b"", b"c"], 0).unwrap();
        let mut read = vec![0; 13_000];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 12_100);
        assert_eq!(&read[..3], b"abc");
        assert_eq!(read[100..12_100], parts.concat());
        file.allocate(20_000).unwrap();
        assert_eq!((file.bytes().unwrap(), file.read_at(&mut read, 11_000).unwrap()), (20_000, 9_000));
        assert!(read[..1_100].iter().any(|byte| *byte != 0) && read[1_100..9_000].iter().all(|byte| *byte == 0));
        assert!(disk.open(&path, OpenMode::CreateNew).is_err());
        disk.sync_dir(&dir).unwrap();
        let lock = disk.lock(&dir.join("lock")).unwrap();
        assert_eq!(disk.lock(&dir.join("lock")).err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
        drop(lock);
        assert!(disk.lock(&dir.join("lock")).is_ok());
        assert!(disk.free_bytes(&dir).unwrap() > 0);
        fs::remove_dir_all(&dir).unwrap();
    }
}
