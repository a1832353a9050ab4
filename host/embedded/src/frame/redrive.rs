//! The body of a redrive: the record again, for the target that had given it up, with what it brings along.
//!
//! In: a dead letter. Out: parts for the log; `Redriven` and the record back. The frame is laid out as an
//! append of one record, so that it is leased like any other; the letter ends with the same frame (I17).

use crate::codec::{Reader, Writer};
use crate::frame::append::{put_ends, put_prefix};
use crate::frame::attempt::Attempts;
use crate::frame::dead::Letter;
use bytes::Bytes;
use walhost_core::Result;
use walhost_core::batch::Ends;

/// What a redriven record brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redriven {
    /// The dead letter that ends with this frame.
    pub dead: u64,
    pub target: u16,
    /// Where the record was first appended: with the frame's epoch its id.
    pub origin: u64,
    pub sequence: u64,
    pub attempts: Attempts,
}

/// The parts of the body of a redrive.
pub(crate) fn encode(dead: u64, letter: &Letter) -> Vec<Bytes> {
    let mut facts = Writer::default();
    facts.u64(dead);
    facts.u32(u32::from(letter.target));
    facts.u64(letter.origin);
    facts.u64(letter.sequence);
    letter.attempts.put(&mut facts);
    let mut head = Vec::new();
    put_prefix(&mut head, letter.appended_at_ms, letter.epoch, &facts);
    let end = |length: usize| u32::try_from(length).expect("a record fits a frame");
    let key = end(letter.key.len());
    let headers = key + end(letter.headers.as_bytes().len());
    put_ends(&mut head, Ends { key, headers, value: headers + end(letter.value.len()) });
    vec![Bytes::from(head), letter.key.clone(), letter.headers.as_bytes().clone(), letter.value.clone()]
}

/// What the facts of the stored frame say.
pub(crate) fn decode(facts: &[u8]) -> Result<Redriven> {
    let mut reader = Reader::new(facts);
    Ok(Redriven {
        dead: reader.u64()?,
        target: reader.u16()?,
        origin: reader.u64()?,
        sequence: reader.u64()?,
        attempts: Attempts::get(&mut reader)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::append::Stored;
    use crate::frame::dead::tests::letter;

    #[test]
    fn a_redriven_record_keeps_id_sequence_history_and_bytes() {
        let letter = letter(8);
        let body: Bytes = encode(5, &letter).concat().into();
        let stored = Stored::decode(&body, 1).unwrap();
        let redriven = decode(&stored.facts).unwrap();
        assert_eq!((redriven.dead, redriven.target, redriven.origin, redriven.sequence), (5, 1, 4, 1_000));
        assert_eq!((redriven.attempts, stored.epoch, stored.appended_at_ms), (letter.attempts, 3, 1));
        assert_eq!(stored.parts(0).unwrap(), (letter.key, letter.headers, letter.value));
        assert!(decode(&stored.facts[..3]).is_err());
    }
}
