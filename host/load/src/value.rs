//! The records that are sent: JSON of one size, with the run's mark, a number and a time in fixed places.
//!
//! In: number and time. Out: bytes; and back again from what is delivered.

use anyhow::ensure;

/// Digits of a record's number and of its time in microseconds.
const DIGITS: usize = 16;
/// Before the run's mark.
const BEGIN: &[u8] = b"{\"bench\":\"";
/// Between mark and number, number and time, time and filling.
const NUMBER: &[u8] = b"\",\"n\":\"";
const TIME: &[u8] = b"\",\"at\":\"";
const FILLING: &[u8] = b"\",\"fill\":\"";
const END: &[u8] = b"\"}";

/// Makes and reads the values of one run.
pub struct Values {
    template: Vec<u8>,
    mark_end: usize,
    number_at: usize,
    time_at: usize,
}

impl Values {
    /// Values of so many bytes. The error says the least.
    pub fn new(run: u64, size_bytes: usize) -> anyhow::Result<Values> {
        let mut template = Vec::with_capacity(size_bytes);
        template.extend_from_slice(BEGIN);
        template.extend_from_slice(format!("{run:016x}").as_bytes());
        template.extend_from_slice(NUMBER);
        let mark_end = template.len();
        let number_at = template.len();
        template.resize(number_at + DIGITS, b'0');
        template.extend_from_slice(TIME);
        let time_at = template.len();
        template.resize(time_at + DIGITS, b'0');
        template.extend_from_slice(FILLING);
        let least = template.len() + END.len();
        ensure!(size_bytes >= least, "--size: a record of the bench has at least {least}B");
        // Not one letter only: a host that compresses shall have something to do.
        let mut seed = run | 1;
        while template.len() < size_bytes - END.len() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            template.push(b'a' + u8::try_from((seed >> 33) % 26).unwrap_or(0));
        }
        template.extend_from_slice(END);
        Ok(Values { template, mark_end, number_at, time_at })
    }

    /// Bytes of each value.
    pub fn size_bytes(&self) -> usize {
        self.template.len()
    }

    /// Any one, to be changed by `stamp`.
    pub fn template(&self) -> &[u8] {
        &self.template
    }

    /// Writes number and time into a value that begins at `value`.
    pub fn stamp(&self, value: &mut [u8], number: u64, at_us: u64) {
        digits(&mut value[self.number_at..self.number_at + DIGITS], number);
        digits(&mut value[self.time_at..self.time_at + DIGITS], at_us);
    }

    /// Numbers and times of all values of this run in some bytes.
    pub fn find<'a>(&'a self, mut bytes: &'a [u8]) -> impl Iterator<Item = (u64, u64)> + 'a {
        let mark = &self.template[..self.mark_end];
        std::iter::from_fn(move || {
            loop {
                let start = if bytes.starts_with(mark) { 0 } else { find(bytes, mark)? };
                let value = &bytes[start..];
                bytes = &value[mark.len()..];
                let number = value.get(self.number_at..self.number_at + DIGITS).and_then(read);
                let time = value.get(self.time_at..self.time_at + DIGITS).and_then(read);
                if let (Some(number), Some(time)) = (number, time) {
                    return Some((number, time));
                }
            }
        })
    }
}

/// Writes a number with as many digits as the place has.
pub fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn read(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where a needle begins.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(place) = bytes[from..].iter().position(|byte| *byte == first) {
        let start = from + place;
        if bytes[start..].starts_with(needle) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_size_is_json_and_reads_back() {
        let values = Values::new(0xabc, 1_024).unwrap();
        let mut one = values.template().to_vec();
        values.stamp(&mut one, 42, 1_234_567);
        assert_eq!(one.len(), 1_024);
        assert!(serde_json::from_slice::<serde_json::Value>(&one).is_ok());
        let mut two = one.clone();
        values.stamp(&mut two, 43, 7);
        let both = [b"junk\n".as_slice(), &one, b"\n", &two].concat();
        assert_eq!(values.find(&both).collect::<Vec<_>>(), [(42, 1_234_567), (43, 7)]);
    }

    #[test]
    fn another_run_s_records_and_torn_ones_are_nobody_s() {
        let values = Values::new(1, 256).unwrap();
        let other = Values::new(2, 256).unwrap();
        assert_eq!(other.find(values.template()).count(), 0);
        assert_eq!(values.find(&values.template()[..50]).count(), 0);
        assert!(Values::new(1, 20).is_err());
    }
}
