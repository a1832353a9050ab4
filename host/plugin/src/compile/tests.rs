//! A compiler that fails in every way a process can fail.

use super::*;
use walhost_core::time::{SimClock, SystemClock};

fn child(script: &str, clock: Arc<dyn Clock>) -> Compiler {
    let place = CompileIn::Child { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
    Compiler::new(place, clock)
}

async fn fails(script: &str, kind: Kind, words: &str) {
    let error =
        child(script, Arc::new(SystemClock::default())).compile(&Bytes::from(vec![0; 300_000])).await.unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(words), "{script}: {error}");
}

#[tokio::test]
async fn i35_a_child_that_refuses_is_quoted_and_one_that_breaks_is_our_fault() {
    fails("printf 'it does not\\ncompile' >&2; exit 3", Kind::PluginRejected, "it does not\\ncompile").await;
    fails("exit 1", Kind::Internal, "exit=1").await;
    fails("exit 3", Kind::Internal, "exit=3").await;
}

#[tokio::test]
async fn i35_a_child_that_the_kernel_ends_used_too_much() {
    fails("kill -9 $$", Kind::PluginRejected, "180 s of CPU or 2GiB of memory").await;
}

#[tokio::test]
async fn i35_a_child_sees_nothing_of_the_hosts_environment() {
    let output = child(
        "cat >/dev/null; env | grep -v '^PWD=' | grep -v '^_=' | grep -v '^SHLVL='; exit 0",
        Arc::new(SystemClock::default()),
    );
    let seen = output.compile(&Bytes::from_static(b"x")).await.unwrap();
    assert!(seen.is_empty(), "{}", String::from_utf8_lossy(&seen));
}

#[tokio::test]
async fn i35_a_child_that_never_ends_is_killed_at_its_time_and_the_next_one_has_its_turn() {
    let clock = Arc::new(SimClock::new(0));
    let compiler = child("exec sleep 600", clock.clone());
    let component = Bytes::from_static(b"x");
    let mut first = Box::pin(compiler.compile(&component));
    let mut second = Box::pin(compiler.compile(&component));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending(), "one at a time");
    clock.advance(Duration::from_millis(limits::COMPILE_MS_MAX));
    let error = first.await.unwrap_err();
    assert!(error.detail().contains("120 s is the limit"), "{error}");
    assert!(second.as_mut().poll(&mut context).is_pending(), "now it runs");
}
