//! Every byte of a segment: header, heads, and the bodies of the log's own frames. FORMAT.md in prose.
//!
//! In: numbers. Out: bytes; and back, where nothing read is trusted before its check sum holds.

mod facts;
mod header;

pub(crate) use facts::{ROSTER_ROW_BYTES, ROW_BYTES, Roster, RosterRow, Row};
pub(crate) use header::{Header, HeaderRead};

use crate::frame::FrameHead;
use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi;

/// Bytes of a frame's head.
pub(crate) const HEAD_BYTES: usize = 64;
/// What the disk writes at once, in bytes: commits begin and end on its borders.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Frames begin on multiples of this, in bytes.
pub(crate) const ALIGN_BYTES: usize = 8;
/// Where the two copies of a segment's header begin: in pages of their own.
pub(crate) const HEADERS_AT: [u64; 2] = [0, 4_096];
/// Where the first commit begins.
pub(crate) const DATA_START: u32 = 8_192;
/// Version of this format, in every header and every head.
pub(crate) const VERSION: u8 = 1;

/// Ends a commit; names what is proven.
pub(crate) const KIND_TRAILER: u8 = 0xF0;
/// Begins an epoch, twice in its commit.
pub(crate) const KIND_FENCE: u8 = 0xF1;
/// Lists the heads of a segment that is full.
pub(crate) const KIND_FOOTER: u8 = 0xF2;
/// Says that a segment was given back, twice in its commit.
pub(crate) const KIND_RELEASE: u8 = 0xF3;
/// Lists the segments that count, twice in the first commit of a segment that begins no epoch.
pub(crate) const KIND_ROSTER: u8 = 0xF4;

/// What a kind is called; all of the caller's are one.
#[cfg(any(test, feature = "harness"))]
pub(crate) fn kind_name(kind: u8) -> &'static str {
    match kind {
        KIND_TRAILER => "trailer",
        KIND_FENCE => "fence",
        KIND_FOOTER => "footer",
        KIND_RELEASE => "release",
        KIND_ROSTER => "roster",
        _ => "caller",
    }
}

/// `view` of the trailer with which a log is closed; 0 in every other one.
pub(crate) const TRAILER_CLOSING: u32 = 1;

/// First bytes of every head after its check sum: magic and version.
const MARK: [u8; 3] = [0xA5, 0x57, VERSION];

/// CRC-32C of some bytes.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

/// CRC-32C of parts one after another.
pub(crate) fn crc_of_parts(parts: &[Bytes]) -> u32 {
    if let [part] = parts {
        return crc(part);
    }
    let mut digest = crc_fast::Digest::new(Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize() as u32
}

/// The number that body check sums are mixed with in a segment of this salt.
fn salted(salt: u64, body_crc: u32) -> u32 {
    body_crc ^ (salt as u32) ^ ((salt >> 32) as u32)
}

fn head_crc(bytes: &[u8; HEAD_BYTES], salt: u64, position: u32) -> u32 {
    let mut all = [0_u8; 8 + HEAD_BYTES];
    all[..8].copy_from_slice(&salt.to_le_bytes());
    all[8..12].copy_from_slice(&position.to_le_bytes());
    all[12..].copy_from_slice(&bytes[4..]);
    crc(&all)
}

/// Encodes a head that begins at `position` of a segment with this salt.
pub(crate) fn encode_head(head: &FrameHead, body_crc: u32, salt: u64, position: u32) -> [u8; HEAD_BYTES] {
    let mut bytes = [0_u8; HEAD_BYTES];
    let distance = u32::try_from(head.log_sequence - head.origin).expect("copies follow their origin closely");
    bytes[4..7].copy_from_slice(&MARK);
    bytes[7] = head.kind;
    bytes[8..16].copy_from_slice(&head.log_sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&head.commit.to_le_bytes());
    bytes[24..28].copy_from_slice(&head.epoch.to_le_bytes());
    bytes[28..32].copy_from_slice(&head.bytes.to_le_bytes());
    bytes[32..36].copy_from_slice(&salted(salt, body_crc).to_le_bytes());
    bytes[36..40].copy_from_slice(&head.view.to_le_bytes());
    bytes[40..44].copy_from_slice(&head.count.to_le_bytes());
    bytes[44..48].copy_from_slice(&distance.to_le_bytes());
    bytes[48..56].copy_from_slice(&head.first_offset.to_le_bytes());
    bytes[56..64].copy_from_slice(&head.first_sequence.to_le_bytes());
    let sum = head_crc(&bytes, salt, position);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A head whose check sum held, and the check sum that its body must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadHead {
    pub(crate) head: FrameHead,
    body_crc: u32,
}

impl ReadHead {
    /// Decodes the head at `position`; `None` when these bytes are no head of this segment and place.
    pub(crate) fn decode(bytes: &[u8], salt: u64, position: u32) -> Option<ReadHead> {
        let bytes = bytes.first_chunk::<HEAD_BYTES>()?;
        if bytes[4..7] != MARK || number_u32(bytes, 0) != head_crc(bytes, salt, position) {
            return None;
        }
        let log_sequence = number_u64(bytes, 8);
        let head = FrameHead {
            kind: bytes[7],
            log_sequence,
            commit: number_u64(bytes, 16),
            epoch: number_u32(bytes, 24),
            bytes: number_u32(bytes, 28),
            view: number_u32(bytes, 36),
            count: number_u32(bytes, 40),
            origin: log_sequence.checked_sub(u64::from(number_u32(bytes, 44)))?,
            first_offset: number_u64(bytes, 48),
            first_sequence: number_u64(bytes, 56),
        };
        Some(ReadHead { head, body_crc: number_u32(bytes, 32) })
    }

    /// Whether this is its body.
    pub(crate) fn is_body(&self, body: &[u8], salt: u64) -> bool {
        body.len() == self.head.bytes as usize && salted(salt, crc(body)) == self.body_crc
    }
}

/// The next position at which a frame may begin.
pub(crate) fn align_frame(position: usize) -> usize {
    position.next_multiple_of(ALIGN_BYTES)
}

/// The next position at which a commit may begin.
pub(crate) fn align_commit(position: usize) -> usize {
    position.next_multiple_of(SECTOR_BYTES)
}

/// Bytes that a frame takes in a segment, alignment included.
pub(crate) fn frame_bytes(body_bytes: usize) -> usize {
    HEAD_BYTES + align_frame(body_bytes)
}

/// Bytes at the end of a segment that its footer takes with so many rows: the frame, then a last sector
/// for the trailer that says where it begins.
pub(crate) fn footer_bytes(rows: usize) -> usize {
    align_commit(frame_bytes(rows * ROW_BYTES)) + SECTOR_BYTES
}

/// Largest sum of `frame_bytes` and footer rows in one commit, and so of one frame: seven eighths of what
/// a segment can use; the last eighth is for rosters.
pub(crate) fn commit_bytes_max(segment_bytes: u32) -> usize {
    usable_bytes(segment_bytes) / 8 * 7
}

/// How many segments a log with segments of this size may have: two rosters must fit one segment beside a
/// commit of the largest size.
pub(crate) fn segments_max(segment_bytes: u32) -> usize {
    let room = usable_bytes(segment_bytes) / 8 - 2 * (HEAD_BYTES + ROW_BYTES);
    (room / (2 * ROSTER_ROW_BYTES)).min(crate::limits::SEGMENTS_MAX)
}

/// What is left of a segment without headers, trailers and paddings.
fn usable_bytes(segment_bytes: u32) -> usize {
    segment_bytes as usize - DATA_START as usize - 4 * SECTOR_BYTES
}

fn number_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn number_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head() -> FrameHead {
        FrameHead {
            kind: 3,
            view: 9,
            first_offset: 1 << 40,
            count: 7,
            first_sequence: u64::MAX,
            log_sequence: 1_000,
            origin: 990,
            commit: 5,
            epoch: 2,
            bytes: 3,
        }
    }

    #[test]
    fn a_head_reads_back_only_with_its_salt_at_its_place_and_whole() {
        let bytes = encode_head(&head(), crc(b"abc"), 77, 8_192);
        let read = ReadHead::decode(&bytes, 77, 8_192).unwrap();
        assert_eq!(read.head, head());
        assert!(read.is_body(b"abc", 77) && !read.is_body(b"abd", 77) && !read.is_body(b"ab", 77));
        assert!(ReadHead::decode(&bytes, 78, 8_192).is_none(), "another use of the segment");
        assert!(ReadHead::decode(&bytes, 77, 8_200).is_none(), "another place");
        for bit in 0..HEAD_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ReadHead::decode(&flipped, 77, 8_192).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn parts_have_the_check_sum_of_the_whole() {
        let parts = [Bytes::from_static(b"wal"), Bytes::new(), Bytes::from_static(b"host")];
        assert_eq!(crc_of_parts(&parts), crc(b"walhost"));
        assert_eq!(crc(b"123456789"), 0xe306_9283, "CRC-32C's check value");
    }

    #[test]
    fn a_segment_of_production_holds_the_largest_batch_and_many_segments_fit_a_roster() {
        let size = crate::limits::SEGMENT_BYTES;
        assert!(commit_bytes_max(size) > walhost_core::limits::BATCH_BYTES_HARD_MAX + 2 * 1024 * 1024);
        assert_eq!(segments_max(size), 65_536);
        assert!(segments_max(crate::limits::SEGMENT_BYTES_MIN) >= 16);
    }
}
