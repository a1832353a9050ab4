//! From a component to native code, bounded in size, time, memory and CPU, one at a time (I35).
//!
//! In: a component that was examined. Out: a sealed envelope of native code; or the compiler's sentence.
//! The child is the host's own binary with [`COMPILE_ARGUMENT`]: it gets the component on its standard
//! input, answers on its standard output, and has nothing else: no environment, no files, no data.

use crate::options::CompileIn;
use crate::{deserialize, engine, inspect, limits};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use walhost_core::{Clock, Error, Kind, Result, exec};
use wasmtime::Engine;

/// The hidden argument by which the host's binary becomes a compiler.
pub const COMPILE_ARGUMENT: &str = "compile-component-on-stdin";

/// Longest sentence of a compiler, in bytes.
const STDERR_BYTES_MAX: u64 = 4096;

/// Compiles, one at a time.
pub(crate) struct Compiler {
    place: CompileIn,
    clock: Arc<dyn Clock>,
    turn: Semaphore,
}

impl Compiler {
    pub fn new(place: CompileIn, clock: Arc<dyn Clock>) -> Compiler {
        Compiler { place, clock, turn: Semaphore::new(1) }
    }

    /// The sealed native code of a component. A refusal is of kind `PluginRejected`.
    pub async fn compile(&self, component: &Bytes) -> Result<Vec<u8>> {
        let _turn = self.turn.acquire().await.expect("this semaphore is never closed");
        match &self.place {
            CompileIn::Process => {
                let component = component.clone();
                exec::blocking(move || sealed(&component))
                    .await
                    .map_err(|error| Error::new(Kind::Internal, "plugin.compile", "the compiler broke").source(error))?
                    .map_err(|what| inspect::rejected("plugin.compile", what))
            }
            CompileIn::Child { program, arguments } => {
                let mut child = tokio::process::Command::new(program);
                child.args(arguments).env_clear().kill_on_drop(true);
                child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let budget = Duration::from_millis(limits::COMPILE_MS_MAX);
                tokio::select! {
                    compiled = in_child(child, component) => compiled,
                    () = self.clock.sleep(budget) => Err(too_much(format!("{} s", budget.as_secs()))),
                }
            }
        }
    }
}

fn too_much(what: String) -> Error {
    inspect::rejected("plugin.compile", format!("compiling it takes too much: {what} is the limit"))
}

async fn in_child(mut child: tokio::process::Command, component: &[u8]) -> Result<Vec<u8>> {
    let broken = |error: std::io::Error| {
        Error::new(Kind::Internal, "plugin.compile", "the compiler cannot be run").source(error)
    };
    let mut child = child.spawn().map_err(broken)?;
    let mut input = child.stdin.take().expect("piped above");
    let output = child.stdout.take().expect("piped above").take(limits::COMPILED_BYTES_MAX as u64 + 1);
    let errors = child.stderr.take().expect("piped above").take(STDERR_BYTES_MAX);
    let write = async {
        // A child that has seen enough closes its end: what it says counts, not that we could not finish.
        let _closed = input.write_all(component).await;
        drop(input);
    };
    let ((), compiled, said) = tokio::join!(write, read(output), read(errors));
    let status = child.wait().await.map_err(broken)?;
    let (compiled, said) = (compiled.map_err(broken)?, said.map_err(broken)?);
    if compiled.len() > limits::COMPILED_BYTES_MAX {
        return Err(too_much(format!(
            "{} of native code",
            walhost_core::config::Size(limits::COMPILED_BYTES_MAX as u64)
        )));
    }
    if status.success() {
        return Ok(compiled);
    }
    let said = walhost_core::attempt::clean(String::from_utf8_lossy(&said).trim_end(), 400);
    match status.code() {
        Some(REFUSED) if !said.is_empty() => Err(inspect::rejected("plugin.compile", said)),
        Some(code) => Err(Error::new(Kind::Internal, "plugin.compile", "the compiler failed")
            .with("exit", code)
            .with("said", said)),
        // Killed by the kernel, or by its own abort when memory ran out.
        None => Err(too_much(format!(
            "{} s of CPU or {} of memory",
            limits::COMPILE_CPU_SECONDS_MAX,
            walhost_core::config::Size(limits::COMPILE_ADDRESS_BYTES_MAX)
        ))),
    }
}

async fn read(mut from: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Exit code of a child that refuses the component.
const REFUSED: i32 = 3;

/// What the host's binary does when its first argument is [`COMPILE_ARGUMENT`], before it does anything
/// else: limits itself, reads a component from standard input, writes native code to standard output.
/// Answers the exit code.
pub fn compile_child_main() -> i32 {
    match child() {
        Ok(()) => 0,
        Err(what) => {
            // Whoever reads our sentences may be gone: the exit code says enough then.
            let _unread = std::io::stderr().write_all(what.as_bytes());
            REFUSED
        }
    }
}

fn child() -> std::result::Result<(), String> {
    limit().map_err(|error| format!("the compiler cannot be limited: {error}"))?;
    let mut component = Vec::new();
    let most = limits::COMPONENT_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(most).read_to_end(&mut component).map_err(|error| error.to_string())?;
    let envelope = sealed(&component)?;
    let mut output = std::io::stdout().lock();
    output.write_all(&envelope).and_then(|()| output.flush()).map_err(|error| error.to_string())
}

fn limit() -> std::io::Result<()> {
    let most = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::As, most(limits::COMPILE_ADDRESS_BYTES_MAX))?;
    setrlimit(Resource::Cpu, most(limits::COMPILE_CPU_SECONDS_MAX))?;
    setrlimit(Resource::Fsize, most(0))?;
    setrlimit(Resource::Core, most(0))?;
    rustix::process::nice(limits::COMPILE_NICE)?;
    Ok(())
}

fn sealed(component: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let engine = engine::plain().map_err(|error| error.to_string())?;
    let code = precompile(&engine, component)?;
    Ok(deserialize::seal(inspect::digest(component), &engine::fingerprint(&engine), &code))
}

/// Native code, not sealed. The error is the compiler's sentence.
pub(crate) fn precompile(engine: &Engine, component: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let compiling = std::panic::AssertUnwindSafe(|| engine.precompile_component(component));
    match std::panic::catch_unwind(compiling) {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(error)) => {
            Err(format!("it does not compile: {}", walhost_core::attempt::clean(&format!("{error:#}"), 400)))
        }
        Err(_) => Err("it does not compile: the compiler gave up on it".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
