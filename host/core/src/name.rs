//! Names of namespaces, targets, shards and plugins.
//!
//! In: text from a config, a URL or the disk. Out: a checked name, cheap to clone, or `BadName`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name, in bytes: a DNS label, so that a name can become part of a host name.
pub const NAME_BYTES_MAX: usize = 63;

/// A name that is not `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 63 of a-z, 0-9 and -, and begin with a letter or digit")]
pub struct BadName(pub String);

fn check(text: &str) -> Result<(), BadName> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if first && rest && text.len() <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(BadName(text.chars().take(80).flat_map(char::escape_default).collect()))
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text.
            pub fn new(text: &str) -> Result<Self, BadName> {
                check(text).map(|()| $name(text.into()))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::new(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, formatter)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// A unit of configuration and isolation: one queue, its targets, its dead-letter queue.
    NamespaceName;
    /// A destination of a namespace.
    TargetName;
    /// A group of namespaces served by one dedicated group of hosts.
    ShardName;
    /// A plugin as the configuration calls it.
    PluginName;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_and_others_are_refused_by_name() {
        assert!(NamespaceName::new("catalog-2").is_ok());
        assert!(TargetName::new(&"a".repeat(63)).is_ok());
        for bad in ["", "-a", "A", "a_b", "a.b", "a/b", "ü", &"a".repeat(64)] {
            assert!(NamespaceName::new(bad).is_err(), "{bad}");
        }
        let error = NamespaceName::new("a\nb").unwrap_err().to_string();
        assert!(error.contains(r"a\nb") && !error.contains('\n'), "{error}");
    }
}
