//! `walhost serve`: the configuration is read, or everything that is wrong with it is said, and served.
//!
//! In: a file. Out: an exit code.

use super::arguments::{Format, ServeArguments};
use super::config::report;
use super::failure::{BAD_CONFIG, Failure};
use super::output::Output;
use crate::config::{Loaded, load};
use crate::serve::{self, ServeOptions};
use crate::{builtin, telemetry};
use walhost_core::ShardName;

/// Serves until it is told to stop.
pub fn run(arguments: &ServeArguments, verbose: u8) -> Result<u8, Failure> {
    let output = Output::new(Format::Table, true, false);
    let shard = arguments.shard.as_deref().map(ShardName::new).transpose();
    let shard = shard.map_err(|error| Failure::usage(format!("--shard: {error}")))?;
    let Loaded { model, warnings, .. } = match load(&arguments.config, &builtin::kinds()) {
        Ok(loaded) => loaded,
        Err(found) => {
            report(&output, &found)?;
            return Ok(BAD_CONFIG);
        }
    };
    report(&output, &warnings)?;
    start_logs(verbose);
    host(ServeOptions { model, config_path: Some(arguments.config.clone()), shard })
}

/// Log lines on stderr, more with each `-v`.
pub fn start_logs(verbose: u8) {
    let level = match verbose {
        0 => None,
        1 => Some("debug"),
        _ => Some("trace"),
    };
    telemetry::logs::start(telemetry::logs::Format::Text, level, false);
}

/// Runs a host; its exit code is the process's.
pub fn host(options: ServeOptions) -> Result<u8, Failure> {
    let code = serve::run(options).map_err(Failure::from)?;
    Ok(u8::try_from(code).unwrap_or(super::failure::FAILED))
}
