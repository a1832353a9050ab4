//! One segment: its file, its salt, how far it counts; frames are read from it verified.
//!
//! In: a file with a header. Out: frames, or what is wrong with them.

use crate::format::{DATA_START, HEAD_BYTES, HEADERS_AT, Header, ReadHead};
use crate::frame::{FrameHead, Place};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use walhost_core::disk::DiskFile;

/// How far a segment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    /// `first - 1` when nothing counts.
    pub(crate) last: u64,
    /// The byte after the last frame that counts.
    pub(crate) end: u32,
    pub(crate) sealed: bool,
    /// A sync of its file failed: it is never synced or appended to again (I4).
    pub(crate) given_up: bool,
}

/// One segment. Shared by the committer and the readers; the map of segments holds it while it counts.
pub(crate) struct Segment {
    pub(crate) header: Header,
    /// Its file's name in the log's directory.
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes of its file, as far as we look at it.
    pub(crate) bytes: u32,
    range: Mutex<Range>,
}

/// Why a frame was not read.
#[derive(Debug)]
pub(crate) enum ReadFault {
    Disk(io::Error),
    /// The head is not what it must be.
    Head,
    /// The head is intact, the body is not.
    Body,
}

impl Segment {
    pub(crate) fn new(header: Header, name: String, file: Arc<dyn DiskFile>, bytes: u32) -> Segment {
        let range = Range { first: 0, last: 0, end: DATA_START, sealed: false, given_up: false };
        Segment { header, name, file, bytes, range: Mutex::new(range) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.header.segment
    }

    pub(crate) fn range(&self) -> Range {
        *self.range.lock()
    }

    pub(crate) fn set_range(&self, range: Range) {
        *self.range.lock() = range;
    }

    /// Writes both copies of a header and makes them, and all of the file, durable.
    pub(crate) fn write_headers(file: &dyn DiskFile, header: &Header) -> io::Result<()> {
        let bytes = header.encode();
        for at in HEADERS_AT {
            file.write_at(&[&bytes], at)?;
        }
        file.sync()
    }

    /// Reads the frame that must be at a place. Never allocates more than the file is long.
    pub(crate) fn read(&self, place: Place) -> Result<(FrameHead, Bytes), ReadFault> {
        let whole = HEAD_BYTES as u64 + u64::from(place.bytes);
        if u64::from(place.position) + whole > u64::from(self.bytes) {
            return Err(ReadFault::Head);
        }
        let mut bytes = BytesMut::zeroed(whole as usize);
        let read = read_full(&*self.file, &mut bytes, u64::from(place.position)).map_err(ReadFault::Disk)?;
        bytes.truncate(read);
        let head = ReadHead::decode(&bytes, self.header.salt, place.position).ok_or(ReadFault::Head)?;
        if head.head.log_sequence != place.log_sequence || head.head.bytes != place.bytes {
            return Err(ReadFault::Head);
        }
        let body = bytes.freeze().slice(HEAD_BYTES..);
        if !head.is_body(&body, self.header.salt) {
            return Err(ReadFault::Body);
        }
        Ok((head.head, body))
    }

    /// Reads the file's bytes up to `until`; fewer when it is shorter.
    pub(crate) fn read_up_to(&self, until: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; until.min(self.bytes) as usize];
        let read = read_full(&*self.file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// Fills as much of the buffer as there is.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
