//! Bodies of the log's own frames: the rows of a footer, the rows of a roster.
//!
//! In: heads and segments. Out: bytes; and back, checked against the segment.

use super::{DATA_START, HEAD_BYTES, number_u32, number_u64};
use crate::frame::FrameHead;

/// Bytes of a footer's row.
pub(crate) const ROW_BYTES: usize = 40;
/// Bytes of a roster's row.
pub(crate) const ROSTER_ROW_BYTES: usize = 32;
/// Commits of one segment that a row can tell apart: more than there are sectors in the largest one.
const COMMITS_MAX: u64 = 1 << 24;

/// A frame's head and place, as a footer keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) head: FrameHead,
    pub(crate) position: u32,
}

impl Row {
    /// Appends the row of a frame; `first_commit` is the segment's.
    pub(crate) fn encode(head: &FrameHead, position: u32, first_commit: u64, rows: &mut Vec<u8>) {
        let commit = head.commit - first_commit;
        assert!(commit < COMMITS_MAX, "a commit takes a sector");
        let distance = u32::try_from(head.log_sequence - head.origin).expect("copies follow their origin closely");
        let kind_and_commit = u32::from(head.kind) | (commit as u32) << 8;
        for number in [kind_and_commit, position, head.bytes, head.view, head.count, distance] {
            rows.extend_from_slice(&number.to_le_bytes());
        }
        rows.extend_from_slice(&head.first_offset.to_le_bytes());
        rows.extend_from_slice(&head.first_sequence.to_le_bytes());
    }

    /// Decodes a footer's body; `None` when it does not fit the segment. The footer's head says with which
    /// log sequence number and which commit the segment begins.
    pub(crate) fn decode_all(footer: &FrameHead, body: &[u8], segment_bytes: u32) -> Option<Vec<Row>> {
        let (rows, rest) = body.as_chunks::<ROW_BYTES>();
        if !rest.is_empty() || rows.len() != footer.count as usize {
            return None;
        }
        let mut decoded = Vec::with_capacity(rows.len());
        let mut position_min = DATA_START;
        for (place, row) in rows.iter().enumerate() {
            let log_sequence = footer.first_offset.checked_add(place as u64)?;
            let head = FrameHead {
                kind: row[0],
                log_sequence,
                origin: log_sequence.checked_sub(u64::from(number_u32(row, 20)))?,
                commit: footer.first_sequence.checked_add(u64::from(number_u32(row, 0) >> 8))?,
                epoch: footer.epoch,
                bytes: number_u32(row, 8),
                view: number_u32(row, 12),
                count: number_u32(row, 16),
                first_offset: number_u64(row, 24),
                first_sequence: number_u64(row, 32),
            };
            let position = number_u32(row, 4);
            let end = position.checked_add(HEAD_BYTES as u32)?.checked_add(head.bytes)?;
            if position < position_min || end > segment_bytes {
                return None;
            }
            position_min = end;
            decoded.push(Row { head, position });
        }
        Some(decoded)
    }
}

/// One segment that counts, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RosterRow {
    pub(crate) segment: u64,
    pub(crate) first: u64,
    /// Last log sequence number that counts; frames past it are void.
    pub(crate) last: u64,
    /// The byte after the last frame that counts.
    pub(crate) end: u32,
}

/// The segments that count when a segment is begun, without that one itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster(pub(crate) Vec<RosterRow>);

impl Roster {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ROSTER_ROW_BYTES);
        for row in &self.0 {
            bytes.extend_from_slice(&row.segment.to_le_bytes());
            bytes.extend_from_slice(&row.first.to_le_bytes());
            bytes.extend_from_slice(&row.last.to_le_bytes());
            bytes.extend_from_slice(&row.end.to_le_bytes());
            bytes.extend_from_slice(&[0; 4]);
        }
        bytes
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Roster> {
        let (rows, rest) = body.as_chunks::<ROSTER_ROW_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let decode = |row: &[u8; ROSTER_ROW_BYTES]| RosterRow {
            segment: number_u64(row, 0),
            first: number_u64(row, 8),
            last: number_u64(row, 16),
            end: number_u32(row, 24),
        };
        Some(Roster(rows.iter().map(decode).collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_rows_that_do_not_fit_are_refused() {
        let head = |log_sequence, bytes| FrameHead {
            kind: 1,
            view: 2,
            first_offset: 3,
            count: 4,
            first_sequence: 5,
            log_sequence,
            origin: log_sequence,
            commit: 11,
            epoch: 6,
            bytes,
        };
        let mut body = Vec::new();
        Row::encode(&head(100, 8), 8_192, 10, &mut body);
        Row::encode(&head(101, 16), 8_264, 10, &mut body);
        let footer = FrameHead { count: 2, first_offset: 100, first_sequence: 10, ..head(102, 80) };
        let rows = Row::decode_all(&footer, &body, 16_384).unwrap();
        assert_eq!(rows[1], Row { head: head(101, 16), position: 8_264 });
        assert!(Row::decode_all(&footer, &body, 8_300).is_none(), "past the end");
        assert!(Row::decode_all(&footer, &body[..40], 16_384).is_none(), "another count");
        let mut overlapping = Vec::new();
        Row::encode(&head(100, 8), 8_192, 10, &mut overlapping);
        Row::encode(&head(101, 16), 8_200, 10, &mut overlapping);
        assert!(Row::decode_all(&footer, &overlapping, 16_384).is_none());
    }

    #[test]
    fn a_roster_reads_back_and_a_torn_one_is_refused() {
        let roster = Roster(vec![RosterRow { segment: 1, first: 2, last: 3, end: 4 }]);
        assert_eq!(Roster::decode(&roster.encode()), Some(roster.clone()));
        assert_eq!(Roster::decode(&roster.encode()[..31]), None);
    }
}
