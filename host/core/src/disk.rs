//! The only door to data files, so that a simulated disk can lose, tear and refuse what a real one may.
//!
//! In: paths and bytes. Out: files, directory entries, honest errors.

mod os;
mod sim;

pub use os::OsDisk;
pub use sim::{Counters, SECTOR_BYTES, SimDisk};

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Read,
    /// It must exist.
    ReadWrite,
    /// It must not exist. Its name is durable only after `sync_dir`.
    CreateNew,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of its path.
    pub name: String,
    /// Bytes; 0 for a directory.
    pub bytes: u64,
    /// True for a directory.
    pub directory: bool,
}

/// Held as long as the data directory is in use.
pub trait Lock: Send + Sync {}

/// A file system, or a simulation of one. What is not synced may be lost, in part and in any order, by a
/// crash; the same holds for names until their directory is synced.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// What is in a directory, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that are free for us.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Takes the sole right to a directory through a file in it; `WouldBlock` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills as much of `buffer` as there is from `position` on; answers how much that was.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Gives the file so many bytes, which read as zeros until they are written; what is there stays. Takes
    /// the space now, so that a later write finds it. Not durable. Error `Unsupported` where the file system
    /// can do that only by writing.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Writes all parts, one after another, from `position` on. Not durable.
    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()>;
    /// Writes all parts and makes them durable in one call where the system can. After an error nothing is
    /// known of what is on disk, and this file must never be synced or appended to again (I4).
    fn write_synced_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

/// Reads a whole small file.
pub fn read_all(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let bytes = file.bytes()?;
    if bytes > bytes_max {
        return Err(io::Error::other(format!("{} has {bytes} bytes, more than {bytes_max}", path.display())));
    }
    let mut buffer = vec![0; usize::try_from(bytes).expect("bounded above")];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Replaces a small file so that a crash leaves the old one or the new one: written beside it, synced,
/// renamed, directory synced.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("a file has a directory"))?;
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    match disk.remove(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&beside, OpenMode::CreateNew)?;
    file.write_at(&[bytes], 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&beside, path)?;
    disk.sync_dir(directory)
}
