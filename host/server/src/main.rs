//! `walhost`: server and client in one binary.
//!
//! In: arguments. Out: an exit code.

use std::process::ExitCode;

/// Records are made on one thread and let go on another, all the time: what glibc's allocator does worst.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The sandbox compiles components in a child process: this program, called with one argument of its own.
    if std::env::args_os().nth(1).is_some_and(|first| first == walhost_plugin::COMPILE_ARGUMENT) {
        return ExitCode::from(u8::try_from(walhost_plugin::compile_child_main()).unwrap_or(1));
    }
    walhost_server::cli::main()
}
