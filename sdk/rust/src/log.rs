//! Lines for the host's log. In: a level, a text, fields. Out: one line, named after the plugin.

use crate::host;
use std::fmt::Display;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who looks for a mistake.
    Debug,
    /// For who watches.
    Info,
    /// Somebody should look at it some day.
    Warn,
    /// Somebody should look at it now.
    Error,
}

/// Fields of a line: a name, and anything that can be shown.
pub type Fields<'a> = &'a [(&'a str, &'a dyn Display)];

/// A line at level debug.
///
/// ```
/// # let _host = walhost_sdk::testing::Host::new();
/// walhost_sdk::log::debug("masked", &[("fields", &3)]);
/// ```
pub fn debug(text: &str, fields: Fields) {
    line(Level::Debug, text, fields);
}

/// A line at level info.
pub fn info(text: &str, fields: Fields) {
    line(Level::Info, text, fields);
}

/// A line at level warn.
pub fn warn(text: &str, fields: Fields) {
    line(Level::Warn, text, fields);
}

/// A line at level error.
pub fn error(text: &str, fields: Fields) {
    line(Level::Error, text, fields);
}

/// True when lines of this level are kept: ask before computing what only a line needs.
pub fn enabled(level: Level) -> bool {
    host::enabled(level)
}

/// A line at the given level. Fields are formatted only when the level is kept. Over the rate limit
/// the host drops lines and counts them.
pub fn line(level: Level, text: &str, fields: Fields) {
    if enabled(level) {
        host::log(level, text, fields.iter().map(|(name, value)| ((*name).into(), value.to_string())).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn lines_below_the_level_are_not_sent() {
        let host = testing::Host::new().with_level(Level::Warn);
        info("quiet", &[]);
        warn("loud", &[("count", &2)]);
        let lines = host.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].level, lines[0].text.as_str()), (Level::Warn, "loud"));
        assert_eq!(lines[0].fields, [("count".to_owned(), "2".to_owned())]);
    }
}
