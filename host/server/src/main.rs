//! `walhost`: server and client in one binary.
//!
//! In: arguments. Out: an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox compiles components in a child process: this program, called with one argument of its own.
    if std::env::args_os().nth(1).is_some_and(|first| first == walhost_plugin::COMPILE_ARGUMENT) {
        return ExitCode::from(u8::try_from(walhost_plugin::compile_child_main()).unwrap_or(1));
    }
    let path = std::env::args().skip_while(|argument| argument != "-c").nth(1).unwrap_or_default();
    walhost_server::telemetry::logs::start(walhost_server::telemetry::logs::Format::Text, None, false);
    match walhost_server::serve::read(std::path::Path::new(&path)) {
        Ok(options) => match walhost_server::serve::run(options) {
            Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::from(1)
            }
        },
        Err(diagnostics) => {
            tracing::error!("{}", diagnostics.render(false));
            ExitCode::from(78)
        }
    }
}
