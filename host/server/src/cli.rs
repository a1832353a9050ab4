//! The `walhost` command: what a person types, and what they read.
//!
//! In: arguments, `WALHOST_…` variables. Out: text or JSON on stdout, errors on stderr, an exit code:
//! 0 done, 1 failed, 2 usage, 69 host unreachable, 78 bad config.

mod arguments;
mod ask;
mod client;
mod config;
mod dead_letter;
mod dev;
mod failure;
mod namespace;
mod output;
mod plugin;
mod record;
mod serve;
mod target;
mod task;
mod wal;
#[cfg(test)]
mod tests;

use arguments::{Arguments, Command};
use clap::FromArgMatches;
use client::Client;
use failure::Failure;
use output::Output;
use std::process::ExitCode;

/// What every command gets.
struct Session {
    output: Output,
    client: Client,
    yes: bool,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let matches = arguments::command().get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let quiet = arguments.quiet;
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !quiet || failure.code != failure::FAILED {
                failure.report();
            } else {
                failure.report_briefly();
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: Arguments) -> Result<u8, Failure> {
    let output = Output::new(arguments.output, !arguments.no_color, arguments.quiet);
    match arguments.command {
        Command::Serve(serve) => return serve::run(&serve, arguments.verbose),
        Command::Dev(dev) => return dev::run(&dev, arguments.verbose),
        Command::Version => return version(&output),
        Command::Completion { shell } => {
            let mut command = arguments::command();
            clap_complete::generate(shell, &mut command, "walhost", &mut std::io::stdout());
            return Ok(0);
        }
        Command::Wal(command) => return wal::run(&command, &output),
        _ => {}
    }
    let client = Client::new(&arguments.url, arguments.ingest_url.as_deref(), arguments.token_file.as_deref())?;
    let session = Session { output, client, yes: arguments.yes };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Config(command) => config::run(&session, &command).await,
            Command::Send(send) => record::send(&session, &send).await,
            Command::Get { namespace, id } => record::get(&session, &namespace, &id).await,
            Command::Cancel { namespace, id } => record::cancel(&session, &namespace, &id).await,
            Command::Peek(peek) => record::peek(&session, &peek).await,
            Command::Ns(command) => namespace::run(&session, &command).await,
            Command::Target(command) => target::run(&session, &command).await,
            Command::Dlq(command) => dead_letter::run(&session, &command).await,
            Command::Task(command) => task::run(&session, &command).await,
            Command::Plugin(command) => plugin::run(&session, command).await,
            Command::Bench(bench) => {
                let ingest = session.client.ingest_url().await?;
                crate::bench::run(&bench, &ingest, session.client.token()).await.map_err(Failure::from).and_then(
                    |report| {
                        let lost = report.lost();
                        session.output.text_or_json(&report.table(), &report.json())?;
                        Ok(u8::from(lost > 0))
                    },
                )
            }
            Command::Serve(_) | Command::Dev(_) | Command::Version | Command::Completion { .. } | Command::Wal(_) => {
                unreachable!("these have returned above: they need no client")
            }
        }
    });
    // A look-up of a name that hangs does not keep the process.
    runtime.shutdown_background();
    code
}

fn version(output: &Output) -> Result<u8, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let features = crate::builtin::features();
    let json =
        serde_json::json!({ "version": version, "features": features, "wit_versions": walhost_plugin::versions() });
    output.text_or_json(&format!("walhost {version} ({})\n", features.join(", ")), &json)?;
    Ok(0)
}
