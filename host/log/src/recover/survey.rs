//! What is in the directory: segments by their own headers, never by their names.
//!
//! In: a directory. Out: segments, blank files, files that are damaged; nothing is changed.

use super::failed;
use crate::format::{ALIGN_BYTES, DATA_START, HEAD_BYTES, HEADERS_AT, HeaderRead, ReadHead};
use crate::limits;
use crate::replay::{Damage, DamageKind};
use crate::scan::{Found, first_head};
use crate::segment::{Segment, read_full};
use std::io;
use std::path::Path;
use std::sync::Arc;
use walhost_core::Result;
use walhost_core::disk::{Disk, DiskFile, OpenMode};
use walhost_core::error::{Error, Kind};

/// Ending of the names of segment files.
pub(crate) const ENDING: &str = ".wal";
/// Bytes that are looked at together where no head is in its place.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Bytes of one copy of a header.
const HEADER_BYTES: usize = 64;

/// A segment with a header that can be read.
pub(crate) struct Surveyed {
    pub(crate) segment: Arc<Segment>,
    /// The first frame in it whose head is intact; none in a segment that was never used.
    pub(crate) first: Option<Found>,
}

/// Everything found.
#[derive(Default)]
pub(crate) struct Survey {
    /// In the order of their numbers.
    pub(crate) segments: Vec<Surveyed>,
    /// Names and bytes of files that hold nothing: a crash came while they were made ready.
    pub(crate) blank: Vec<(String, u64)>,
    /// Names of files with something in them and no readable header, or with another file's number.
    pub(crate) unreadable: Vec<String>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) segment_max: u64,
    pub(crate) file_max: u64,
    pub(crate) epoch_max: u32,
}

pub(crate) fn survey(disk: &dyn Disk, dir: &Path) -> Result<Survey> {
    let mut survey = Survey::default();
    for found in disk.list(dir).map_err(|error| failed(error, "the directory cannot be read"))? {
        let Some(stem) = found.name.strip_suffix(ENDING).filter(|_| !found.directory) else {
            continue;
        };
        survey.file_max = survey.file_max.max(stem.parse().unwrap_or(0));
        let file = disk
            .open(&dir.join(&found.name), OpenMode::Read)
            .map_err(|error| failed(error, "a segment cannot be opened").with("file", &found.name))?;
        survey.file(found.name, file)?;
    }
    survey.segments.sort_by_key(|surveyed| surveyed.segment.id());
    Ok(survey)
}

impl Survey {
    fn file(&mut self, name: String, file: Arc<dyn DiskFile>) -> Result<()> {
        let failed = |error| failed(error, "a segment cannot be read").with("file", &name);
        let bytes = file.bytes().map_err(failed)?;
        let [a, b] = headers(&*file).map_err(failed)?;
        let (header, other) = match (a, b) {
            (HeaderRead::Newer(version), _) | (_, HeaderRead::Newer(version)) => {
                return Err(Error::new(Kind::Corrupt, "log.open", "the log was written by a newer version of walhost")
                    .with("file", &name)
                    .with("format", version));
            }
            // A crash came between the two: it was being given a new number, nothing in it counts.
            (HeaderRead::Valid(a), HeaderRead::Valid(b)) if a != b => {
                self.segment_max = self.segment_max.max(a.segment).max(b.segment);
                self.epoch_max = self.epoch_max.max(a.epoch).max(b.epoch);
                self.blank.push((name, bytes));
                return Ok(());
            }
            (HeaderRead::Valid(header), other) | (other, HeaderRead::Valid(header)) => (header, other),
            (HeaderRead::Zero, HeaderRead::Zero) if is_blank(&*file, bytes).map_err(failed)? => {
                self.blank.push((name, bytes));
                return Ok(());
            }
            _ => {
                self.unreadable(name, 0, bytes);
                return Ok(());
            }
        };
        if self.segments.iter().any(|known| known.segment.id() == header.segment) {
            self.unreadable(name, header.segment, bytes);
            return Ok(());
        }
        self.segment_max = self.segment_max.max(header.segment);
        self.epoch_max = self.epoch_max.max(header.epoch);
        let seen = u32::try_from(bytes).unwrap_or(u32::MAX).min(limits::SEGMENT_BYTES_MAX);
        let segment = Segment::new(header, name.clone(), file, seen);
        let first = first_of(&segment).map_err(failed)?;
        if first.is_some() && !matches!(other, HeaderRead::Valid(_)) {
            let at = HEADERS_AT[usize::from(matches!(a, HeaderRead::Valid(_)))];
            self.damage.push(Damage {
                kind: DamageKind::Header,
                segment: header.segment,
                file: name,
                from: at,
                until: at + HEADER_BYTES as u64,
                first: 0,
                last: 0,
                heads: Vec::new(),
            });
        }
        self.segments.push(Surveyed { segment: Arc::new(segment), first });
        Ok(())
    }

    fn unreadable(&mut self, name: String, segment: u64, bytes: u64) {
        self.damage.push(Damage {
            kind: DamageKind::Segment,
            segment,
            file: name.clone(),
            from: 0,
            until: bytes,
            first: 0,
            last: 0,
            heads: Vec::new(),
        });
        self.unreadable.push(name);
    }
}

/// What both copies of a file's header are.
pub(crate) fn headers(file: &dyn DiskFile) -> io::Result<[HeaderRead; 2]> {
    let mut read = [HeaderRead::Zero; 2];
    for (copy, at) in read.iter_mut().zip(HEADERS_AT) {
        let mut bytes = [0; HEADER_BYTES];
        let count = read_full(file, &mut bytes, at)?;
        *copy = HeaderRead::decode(&bytes[..count]);
    }
    Ok(read)
}

/// Whether a file without a header holds nothing but zeros.
fn is_blank(file: &dyn DiskFile, bytes: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 1024 * 1024];
    let mut position = 0;
    while position < bytes {
        let count = read_full(file, &mut buffer, position)?;
        if buffer[..count].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if count == 0 {
            break;
        }
        position += count as u64;
    }
    Ok(true)
}

/// The first frame in a segment whose head is intact.
fn first_of(segment: &Segment) -> io::Result<Option<Found>> {
    let mut bytes = [0; HEAD_BYTES];
    let count = read_full(&*segment.file, &mut bytes, u64::from(DATA_START))?;
    match ReadHead::decode(&bytes[..count], segment.header.salt, DATA_START) {
        // Whether its body is intact is looked at when that matters.
        Some(read) => Ok(Some(Found { head: read.head, position: DATA_START, intact: true })),
        None => search(segment),
    }
}

/// The first head anywhere in a segment; window by window, for most segments without one were never used.
fn search(segment: &Segment) -> io::Result<Option<Found>> {
    let mut window = vec![0; WINDOW_BYTES.min(segment.bytes as usize)];
    let mut from = DATA_START;
    loop {
        let count = read_full(&*segment.file, &mut window, u64::from(from))?;
        if let Some(found) = first_head(&window[..count], segment.header.salt, from, segment.bytes) {
            return Ok(Some(found));
        }
        // The last places of a window are the first ones of the next.
        let looked_at = (count + ALIGN_BYTES).saturating_sub(HEAD_BYTES) / ALIGN_BYTES * ALIGN_BYTES;
        if count < window.len() || looked_at == 0 {
            return Ok(None);
        }
        from += looked_at as u32;
    }
}

const _: () = assert!(HEADER_BYTES <= DATA_START as usize - HEADERS_AT[1] as usize);
