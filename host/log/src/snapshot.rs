//! Snapshot files: a caller's opaque bytes as of a log sequence number, valid from their end mark, in two
//! generations.
//!
//! In: parts of bytes. Out: the newest valid ones.

use crate::format::{crc, crc_of_parts};
use crate::limits;
use crate::segment::read_full;
use bytes::Bytes;
use std::io;
use std::path::Path;
use walhost_core::Result;
use walhost_core::disk::{Disk, OpenMode};
use walhost_core::error::{Error, Kind};

const MAGIC: [u8; 8] = *b"walsnap\0";
const END_MARK: [u8; 8] = *b"snapend\0";
const VERSION: u8 = 1;
/// Bytes before the caller's: magic, version, log sequence number, length, CRC of these.
const HEADER_BYTES: usize = 40;
/// Bytes after them: CRC of the caller's bytes, log sequence number, end mark.
const END_BYTES: usize = 24;
const ENDING: &str = ".snap";
const UNFINISHED: &str = ".snap.tmp";

/// What there was to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The newest valid snapshot: as of which log sequence number, and its bytes.
    pub newest: Option<(u64, Bytes)>,
    /// As of which log sequence number the valid one before it is; facts up to there are in two snapshots.
    pub previous: Option<u64>,
    /// Names of files that are damaged.
    pub damaged: Vec<String>,
}

/// Writes a snapshot durably, then removes all but it and the valid one before it. A snapshot as of the
/// same log sequence number is replaced. Errors: `DiskFull`, `Unavailable`; then the ones before are intact.
pub fn write(disk: &dyn Disk, dir: &Path, log_sequence: u64, parts: &[Bytes]) -> Result<()> {
    let failed = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::DiskFull,
            _ => Kind::Unavailable,
        };
        Error::new(kind, "log.snapshot", "the snapshot could not be written").source(error)
    };
    write_file(disk, dir, log_sequence, parts).map_err(failed)?;
    remove_old(disk, dir, log_sequence).map_err(failed)
}

fn write_file(disk: &dyn Disk, dir: &Path, log_sequence: u64, parts: &[Bytes]) -> io::Result<()> {
    disk.create_dir_all(dir)?;
    let unfinished = dir.join(format!("{log_sequence:016x}{UNFINISHED}"));
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8] = VERSION;
    header[16..24].copy_from_slice(&log_sequence.to_le_bytes());
    header[24..32].copy_from_slice(&bytes.to_le_bytes());
    let sum = crc(&header[..36]);
    header[36..].copy_from_slice(&sum.to_le_bytes());
    let mut end = [0; END_BYTES];
    end[..4].copy_from_slice(&crc_of_parts(parts).to_le_bytes());
    end[8..16].copy_from_slice(&log_sequence.to_le_bytes());
    end[16..].copy_from_slice(&END_MARK);
    let mut slices: Vec<&[u8]> = Vec::with_capacity(parts.len() + 2);
    slices.push(&header);
    slices.extend(parts.iter().map(|part| &part[..]));
    slices.push(&end);
    let file = disk.open(&unfinished, OpenMode::CreateNew)?;
    file.write_at(&slices, 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&unfinished, &path_of(dir, log_sequence))?;
    disk.sync_dir(dir)
}

fn path_of(dir: &Path, log_sequence: u64) -> std::path::PathBuf {
    dir.join(format!("{log_sequence:016x}{ENDING}"))
}

/// Keeps the one just written and the newest valid one before it; damaged ones stay until two valid ones
/// are there, so that nobody deletes what a person may still want to look at too soon.
fn remove_old(disk: &dyn Disk, dir: &Path, newest: u64) -> io::Result<()> {
    let mut removed = false;
    let mut before = false;
    for (log_sequence, name) in list(disk, dir)? {
        if log_sequence >= newest {
            continue;
        }
        if !before {
            before = read(disk, dir, &name, log_sequence)?.is_some();
            continue;
        }
        disk.remove(&dir.join(name))?;
        removed = true;
    }
    for found in disk.list(dir)? {
        if found.name.ends_with(UNFINISHED) {
            disk.remove(&dir.join(found.name))?;
            removed = true;
        }
    }
    if removed { disk.sync_dir(dir) } else { Ok(()) }
}

/// Snapshot files, newest first.
fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut files: Vec<(u64, String)> = Vec::new();
    for found in disk.list(dir)? {
        let number = found.name.strip_suffix(ENDING).and_then(|stem| u64::from_str_radix(stem, 16).ok());
        files.extend(number.map(|number| (number, found.name)));
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.0));
    Ok(files)
}

/// Reads the newest valid snapshot. A directory that is not there has none.
pub fn read_newest(disk: &dyn Disk, dir: &Path) -> Result<Found> {
    let failed = |error: io::Error| {
        Error::new(Kind::Unavailable, "log.snapshot", "the snapshots could not be read").source(error)
    };
    let mut found = Found::default();
    let files = match list(disk, dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        files => files.map_err(failed)?,
    };
    for (log_sequence, name) in files {
        match read(disk, dir, &name, log_sequence).map_err(failed)? {
            Some(bytes) if found.newest.is_none() => found.newest = Some((log_sequence, bytes)),
            Some(_) => {
                found.previous = Some(log_sequence);
                break;
            }
            None => found.damaged.push(name),
        }
    }
    Ok(found)
}

/// The caller's bytes of one file, when it is whole. Never allocates more than the file is long.
fn read(disk: &dyn Disk, dir: &Path, name: &str, log_sequence: u64) -> io::Result<Option<Bytes>> {
    let file = disk.open(&dir.join(name), OpenMode::Read)?;
    let bytes = file.bytes()?;
    if bytes < (HEADER_BYTES + END_BYTES) as u64 || bytes > limits::SNAPSHOT_BYTES_MAX {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES];
    if read_full(&*file, &mut header, 0)? < HEADER_BYTES {
        return Ok(None);
    }
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let whole = header[..8] == MAGIC
        && header[8] == VERSION
        && header[36..] == crc(&header[..36]).to_le_bytes()
        && number(16) == log_sequence
        && number(24) == bytes - (HEADER_BYTES + END_BYTES) as u64;
    if !whole {
        return Ok(None);
    }
    let mut rest = vec![0; bytes as usize - HEADER_BYTES];
    if read_full(&*file, &mut rest, HEADER_BYTES as u64)? < rest.len() {
        return Ok(None);
    }
    let end = rest.split_off(rest.len() - END_BYTES);
    let valid =
        end[16..] == END_MARK && end[8..16] == log_sequence.to_le_bytes() && end[..4] == crc(&rest).to_le_bytes();
    Ok(valid.then(|| Bytes::from(rest)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::disk::SimDisk;

    #[test]
    fn two_generations_are_kept_and_a_damaged_one_gives_way_to_the_one_before() {
        let disk = SimDisk::new(1);
        let dir = Path::new("/data/snapshots");
        assert_eq!(read_newest(&disk, dir).unwrap(), Found::default());
        for log_sequence in [5, 9, 12] {
            let parts = [Bytes::from(vec![log_sequence as u8; 700]), Bytes::new(), Bytes::from_static(b"end")];
            write(&disk, dir, log_sequence, &parts).unwrap();
        }
        assert_eq!(disk.list(dir).unwrap().len(), 2);
        disk.crash();
        let found = read_newest(&disk, dir).unwrap();
        let (log_sequence, bytes) = found.newest.unwrap();
        assert_eq!((log_sequence, bytes.len(), bytes[0], found.previous), (12, 703, 12, Some(9)));
        let newest = path_of(dir, 12);
        for bit in (0..(HEADER_BYTES + 703 + END_BYTES) as u64 * 8).step_by(13) {
            disk.flip_bit(&newest, bit).unwrap();
            let found = read_newest(&disk, dir).unwrap();
            match found.newest {
                Some((9, _)) => assert_eq!(found.damaged.len(), 1, "bit {bit}"),
                // Bytes that mean nothing.
                Some((12, bytes)) => assert_eq!((bytes.len(), bytes[0]), (703, 12), "bit {bit}"),
                other => panic!("bit {bit}: {other:?}"),
            }
            disk.flip_bit(&newest, bit).unwrap();
        }
        disk.flip_bit(&newest, 50 * 8).unwrap();
        write(&disk, dir, 20, &[Bytes::from_static(b"x")]).unwrap();
        let found = read_newest(&disk, dir).unwrap();
        assert_eq!((found.newest, found.previous), (Some((20, Bytes::from_static(b"x"))), Some(9)));
        assert_eq!(found.damaged.len(), 1, "what is damaged counts for no generation");
    }
}
