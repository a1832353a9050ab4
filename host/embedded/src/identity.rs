//! Record ids and dead-letter ids: numbers in a text, so that looking one up needs no index.
//!
//! In: incarnation, epoch, offset. Out: `1x2k9q-3-0-2z`, and back. The incarnation is a random number of the
//! namespace's making, the epoch that of the log when the record was appended: an id is never given twice,
//! although the offsets of appends that were never answered may be.

use walhost_core::RecordId;
use walhost_core::inspect::DeadLetterId;

/// What a record id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Of the namespace: made anew when it is removed and made again.
    pub incarnation: u32,
    /// Of the log, when the record was first appended.
    pub epoch: u32,
    /// Where it was first appended.
    pub offset: u64,
}

impl Identity {
    /// As text: incarnation, epoch, partition 0 and offset in base 36.
    pub(crate) fn record_id(self) -> RecordId {
        let mut text = [0_u8; 40];
        let mut end = 0;
        for (place, number) in
            [u64::from(self.incarnation), u64::from(self.epoch), 0, self.offset].into_iter().enumerate()
        {
            if place > 0 {
                text[end] = b'-';
                end += 1;
            }
            end = put(&mut text, end, number);
        }
        RecordId::new(std::str::from_utf8(&text[..end]).expect("base 36 is ASCII"))
    }

    /// Reads a record id of ours; none when it is not.
    pub(crate) fn parse(id: &RecordId) -> Option<Identity> {
        let mut parts = id.as_str().split('-');
        let mut next = || number(parts.next()?);
        let (incarnation, epoch, partition, offset) = (next()?, next()?, next()?, next()?);
        let identity =
            Identity { incarnation: u32::try_from(incarnation).ok()?, epoch: u32::try_from(epoch).ok()?, offset };
        (partition == 0 && parts.next().is_none()).then_some(identity)
    }
}

/// The id of a dead letter: incarnation and the dead letter's number.
pub(crate) fn dead_letter_id(incarnation: u32, dead: u64) -> DeadLetterId {
    let mut text = [0_u8; 24];
    text[0] = b'd';
    let mut end = put(&mut text, 1, u64::from(incarnation));
    text[end] = b'-';
    end = put(&mut text, end + 1, dead);
    DeadLetterId(std::str::from_utf8(&text[..end]).expect("base 36 is ASCII").to_owned())
}

/// The dead letter's number, when the id is of this incarnation.
pub(crate) fn dead_letter_number(incarnation: u32, id: &DeadLetterId) -> Option<u64> {
    let (theirs, dead) = id.0.strip_prefix('d')?.split_once('-')?;
    (number(theirs)? == u64::from(incarnation)).then(|| number(dead))?
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn put(text: &mut [u8], start: usize, mut number: u64) -> usize {
    let mut digits = [0_u8; 13];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = DIGITS[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    let end = start + digits.len() - first;
    text[start..end].copy_from_slice(&digits[first..]);
    end
}

/// Reads the one spelling that [`put`] gives: no sign, no upper case, no leading zero.
fn number(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    let canonical = text == "0" || !text.starts_with('0');
    (plain && canonical).then(|| u64::from_str_radix(text, 36).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_are_short_and_have_one_spelling() {
        for identity in [
            Identity { incarnation: 1, epoch: 1, offset: 107 },
            Identity { incarnation: u32::MAX, epoch: 36, offset: u64::from(u32::MAX) * 1_000 },
        ] {
            let id = identity.record_id();
            assert_eq!(Identity::parse(&id), Some(identity));
            assert!(
                id.as_str().len() <= 30
                    && id.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
        }
        assert_eq!(Identity { incarnation: 1, epoch: 1, offset: 107 }.record_id().as_str(), "1-1-0-2z");
        for bad in
            ["", "1", "1-1-0", "1-1-1-2z", "1-1-0-2z-", "1-1-0-02z", "1-1-0-2Z", "+1-1-0-2", "1-1-0-zzzzzzzzzzzzzz"]
        {
            assert_eq!(Identity::parse(&RecordId::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_dead_letter_of_another_incarnation_is_not_ours() {
        let id = dead_letter_id(77, 40);
        assert_eq!((dead_letter_number(77, &id), dead_letter_number(78, &id)), (Some(40), None));
        assert_eq!(dead_letter_number(77, &DeadLetterId("x".into())), None);
    }
}
