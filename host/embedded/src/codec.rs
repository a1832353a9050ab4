//! Numbers and texts as bytes: what frames and snapshots are written with.
//!
//! In: values. Out: bytes, and back. Integers are LEB128 unless a width is named; bytes read from disk
//! are never trusted: every length is checked against what is there before anything is allocated.

use bytes::Bytes;
use walhost_core::{Error, Kind, Result};

/// Writes values one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.u64(u64::from(value));
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// None is 0, anything else one more than it is.
    pub(crate) fn option(&mut self, value: Option<u64>) {
        self.u64(value.map_or(0, |value| value.saturating_add(1)));
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.fixed(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// Reads what [`Writer`] wrote.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

fn torn(what: &'static str) -> Error {
    Error::new(Kind::Corrupt, "embedded.decode", "bytes in the log do not mean what they must").with("what", what)
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| torn("byte"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(torn("integer"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.u64()?).map_err(|_| torn("32-bit integer"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        u16::try_from(self.u64()?).map_err(|_| torn("16-bit integer"))
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(torn("flag")),
        }
    }

    pub(crate) fn option(&mut self) -> Result<Option<u64>> {
        Ok(self.u64()?.checked_sub(1))
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| torn("fixed bytes"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (first, rest) = self.rest.split_at_checked(count).ok_or_else(|| torn("bytes"))?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = usize::try_from(self.u64()?).map_err(|_| torn("length"))?;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| torn("text"))
    }

    /// A count of things of which each has at least one byte: never more than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize> {
        let count = usize::try_from(self.u64()?).map_err(|_| torn("count"))?;
        if count > self.rest.len() { Err(torn("count")) } else { Ok(count) }
    }
}

/// The error of bytes that do not fit.
pub(crate) fn corrupt(what: &'static str) -> Error {
    torn(what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_and_every_torn_prefix_is_an_error() {
        let mut writer = Writer::default();
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            writer.u64(number);
        }
        writer.option(None);
        writer.option(Some(0));
        writer.flag(true);
        writer.text("ü");
        writer.fixed(&[7; 16]);
        let bytes = writer.finish();
        let read = |bytes: &[u8]| -> Result<Vec<u64>> {
            let mut reader = Reader::new(bytes);
            let numbers = (0..7).map(|_| reader.u64()).collect::<Result<Vec<_>>>()?;
            assert_eq!((reader.option()?, reader.option()?, reader.flag()?), (None, Some(0), true));
            assert_eq!((reader.text()?, reader.fixed::<16>()?, reader.is_empty()), ("ü", [7; 16], true));
            Ok(numbers)
        };
        assert_eq!(read(&bytes).unwrap()[6], u64::MAX);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn i07_a_length_that_is_not_there_allocates_nothing() {
        let mut writer = Writer::default();
        writer.u64(u64::MAX);
        assert!(Reader::new(&writer.0).bytes().is_err());
        assert!(Reader::new(&writer.0).count().is_err());
        assert!(Reader::new(&[0xff; 10]).u64().is_err());
    }
}
