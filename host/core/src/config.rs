//! The small values that people write in a config: durations, sizes, rates, secrets.
//!
//! In: text such as `"200ms"`, `"64MiB"`, `"500/s"`, `{ env = "X" }`. Out: checked values; the error says
//! what would have worked.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Splits `200ms` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (digits, unit) = text.split_at(end);
    Some((digits.replace('_', "").parse().ok()?, unit))
}

/// A duration: one number and `ms`, `s`, `m`, `h` or `d`. Whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub u64);

impl Duration {
    /// In milliseconds.
    pub fn ms(self) -> u64 {
        self.0
    }
    /// As the standard library's.
    pub fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a duration: write one number and ms, s, m, h or d, as in \"200ms\"",
                text.escape_debug()
            )
        };
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let (_, scale) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*scale).map(Duration).ok_or_else(wrong)
    }
}
impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = DURATION_UNITS
            .iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(&("ms", 1));
        write!(formatter, "{}{unit}", self.0 / scale)
    }
}
as_text!(Duration);

/// A size: one number and `B`, `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{}` is not a size: write one number and B, KiB, MiB or GiB, as in \"64MiB\"", text.escape_debug())
        };
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let (_, scale) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*scale).map(Size).ok_or_else(wrong)
    }
}
impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) =
            SIZE_UNITS.iter().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale)).unwrap_or(&("B", 1));
        write!(formatter, "{}{unit}", self.0 / scale)
    }
}
as_text!(Size);

/// A rate: one number and `/s`. At least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

impl Rate {
    /// In records a second.
    pub fn per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match number_and_unit(text) {
            Some((number, "/s")) if number > 0 => Ok(Rate(number)),
            _ => Err(format!(
                "`{}` is not a rate: write one number above 0 and /s, as in \"500/s\"",
                text.escape_debug()
            )),
        }
    }
}
impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/s", self.0)
    }
}
as_text!(Rate);

/// Where a secret is; the secret itself is read when it is needed and shown nowhere (I40).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Secret {
    /// In an environment variable of the host.
    Env(String),
    /// In a file; a last line feed is left out. Relative paths are made absolute by whoever read the config.
    File(PathBuf),
}

impl Secret {
    /// Makes a relative file path absolute, from the directory of the config file it stands in.
    pub fn resolve(&mut self, directory: &Path) {
        if let Secret::File(path) = self
            && path.is_relative()
        {
            *path = directory.join(&*path);
        }
    }

    /// Reads the secret. The error names the place, never the value.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Secret::Env(name) => std::env::var_os(name)
                .map(std::os::unix::ffi::OsStringExt::into_vec)
                .ok_or_else(|| format!("the environment variable {name} is not set")),
            Secret::File(path) => {
                let mut bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                Ok(bytes)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_rates_read_and_print_the_same() {
        for text in ["200ms", "10s", "5m", "24h", "14d"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), if text == "24h" { "1d" } else { text });
        }
        for text in ["1B", "512KiB", "64MiB", "10GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("20000/s".parse::<Rate>().unwrap().per_second(), 20_000);
    }

    #[test]
    fn what_is_not_one_number_and_a_unit_is_refused_with_an_example() {
        for text in ["", "5", "s", "1.5s", "-1s", "5 s", "99999999999999999999d", "1w"] {
            assert!(text.parse::<Duration>().unwrap_err().contains("200ms"), "{text}");
        }
        assert!("64MB".parse::<Size>().is_err());
        assert!("0/s".parse::<Rate>().is_err());
    }

    #[test]
    fn a_secret_that_is_missing_is_named_by_its_place() {
        let error = Secret::Env("WALHOST_NO_SUCH_SECRET".into()).read().unwrap_err();
        assert!(error.contains("WALHOST_NO_SUCH_SECRET"));
    }
}
