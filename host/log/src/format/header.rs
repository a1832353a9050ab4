//! The header of a segment: whose it is and what its check sums are mixed with. Kept twice.
//!
//! In: number, epoch, salt, size. Out: 64 bytes a copy; and back.

use super::{VERSION, crc, number_u32, number_u64};

const MAGIC: [u8; 8] = *b"walhost\0";
/// Bytes of one copy that mean something.
pub(crate) const HEADER_BYTES: usize = 64;

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) segment: u64,
    /// The epoch in which it was made ready; the epoch of its frames is this one or a later one.
    pub(crate) epoch: u32,
    pub(crate) salt: u64,
    pub(crate) bytes: u32,
}

/// What one copy of a header turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderRead {
    Valid(Header),
    /// Never written.
    Zero,
    /// Of a version of this format that we do not know.
    Newer(u8),
    Damaged,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = VERSION;
        bytes[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let sum = crc(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

impl HeaderRead {
    pub(crate) fn decode(bytes: &[u8]) -> HeaderRead {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return if bytes.iter().all(|byte| *byte == 0) { HeaderRead::Zero } else { HeaderRead::Damaged };
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return HeaderRead::Zero;
        }
        if bytes[..8] != MAGIC || number_u32(bytes, 60) != crc(&bytes[..60]) {
            return HeaderRead::Damaged;
        }
        if bytes[8] != VERSION {
            return HeaderRead::Newer(bytes[8]);
        }
        HeaderRead::Valid(Header {
            segment: number_u64(bytes, 16),
            epoch: number_u32(bytes, 24),
            salt: number_u64(bytes, 32),
            bytes: number_u32(bytes, 12),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_zero_damage_and_newer_are_told_apart() {
        let header = Header { segment: 7, epoch: 3, salt: 99, bytes: 65_536 };
        let bytes = header.encode();
        assert_eq!(HeaderRead::decode(&bytes), HeaderRead::Valid(header));
        assert_eq!(HeaderRead::decode(&[0; 64]), HeaderRead::Zero);
        assert_eq!(HeaderRead::decode(&[]), HeaderRead::Zero);
        let mut damaged = bytes;
        damaged[20] ^= 1;
        assert_eq!(HeaderRead::decode(&damaged), HeaderRead::Damaged);
        let mut newer = bytes;
        newer[8] = 2;
        let sum = crc(&newer[..60]);
        newer[60..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(HeaderRead::decode(&newer), HeaderRead::Newer(2));
    }
}
