//! Query parameters.
//!
//! In: `a=b&c=d`, percent-encoded. Out: values by name, and pages' limits and cursors checked.

use crate::http::error::{Code, Place, Problem};
use crate::limits::PAGE_DEFAULT;
use std::str::FromStr;
use walhost_core::limits;

/// All parameters, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads them; bytes that are no UTF-8 are replaced.
    pub fn read(text: Option<&str>) -> Query {
        let parts = text.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        Query(
            parts
                .map(|part| {
                    let (name, value) = part.split_once('=').unwrap_or((part, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// A value; the last one when there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// True for `?name`, `?name=true` and `?name=1`.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str()) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(bad(name, "true or false")),
        }
    }

    /// A value that is to be read.
    pub fn parse<T: FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>, Problem> {
        self.get(name).map(|text| text.parse().map_err(|_| bad(name, wanted))).transpose()
    }

    /// `limit`, bounded.
    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.parse("limit", "a number from 1 to 1000")?.unwrap_or(PAGE_DEFAULT);
        if limit == 0 {
            return Err(bad("limit", "a number from 1 to 1000"));
        }
        Ok(limit.min(limits::PAGE_MAX))
    }

    /// A time, in milliseconds since the Unix epoch.
    pub fn time(&self, name: &str) -> Result<Option<u64>, Problem> {
        let read = |text: &str| crate::http::ingest::headers::parse_time(text);
        self.get(name).map(|text| read(text).ok_or_else(|| bad(name, "an RFC 3339 time"))).transpose()
    }
}

/// A parameter that cannot be understood.
pub fn bad(name: &str, wanted: &str) -> Problem {
    let detail = format!("{wanted} is wanted");
    let place = Place { line: None, pointer: Some(name.to_owned()), detail: detail.clone() };
    Problem::new(Code::BadRequest, format!("{name}: {detail}")).at(place)
}

/// A part of a path; a plus stands for itself there.
pub fn segment(text: &str) -> String {
    decode(text, false)
}

fn decode(text: &str, plus_is_blank: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let hex = |byte: u8| (byte as char).to_digit(16);
        match (byte, after) {
            (b'%', [high, low, ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let number = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(u8::try_from(number).unwrap_or(b'?'));
                rest = &after[2..];
            }
            (b'+', _) if plus_is_blank => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_last_one_counts() {
        let query = Query::read(Some("code=a%2Bb+c&code=d&verbose&since=2026-01-01T00%3A00%3A00Z&bad=%zz"));
        assert_eq!(query.get("code"), Some("d"));
        assert!(query.flag("verbose").unwrap());
        assert_eq!(query.time("since").unwrap(), Some(1_767_225_600_000));
        assert_eq!(query.get("bad"), Some("%zz"));
        assert_eq!(Query::read(Some("a=x%2By+z")).get("a"), Some("x+y z"));
    }

    #[test]
    fn a_part_of_a_path_is_decoded_and_its_plus_stays() {
        assert_eq!(segment("sha256%3Aab+c%2F"), "sha256:ab+c/");
    }

    #[test]
    fn a_limit_is_a_number_and_bounded() {
        assert_eq!(Query::read(None).limit().unwrap(), PAGE_DEFAULT);
        assert_eq!(Query::read(Some("limit=99999")).limit().unwrap(), limits::PAGE_MAX);
        for wrong in ["limit=0", "limit=many", "limit=-1"] {
            assert_eq!(Query::read(Some(wrong)).limit().unwrap_err().code, Code::BadRequest, "{wrong}");
        }
    }
}
