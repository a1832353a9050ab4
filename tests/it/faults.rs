//! System calls of the real process that fail, by strace.

use crate::stage::{Stage, orders};
use std::collections::HashSet;
use std::time::Duration;
use walhost_tests::host::Host;
use walhost_tests::receiver::Receiver;

/// True when strace can inject here; where services are required its absence is a failure.
fn strace() -> bool {
    let there = std::process::Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: strace is not installed (apt-get install strace)");
        assert!(std::env::var_os("WALHOST_REQUIRE_SERVICES").is_none(), "strace is required and missing");
    }
    there
}

/// Puts the host under strace, as its child's tracer: the process that is started stays the host itself.
fn inject(stage: &mut Stage, what: &str) {
    let words =
        ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=pwritev2,fdatasync", "-e"];
    stage.host.wrapper = words.iter().map(|word| (*word).to_owned()).chain([format!("inject={what}")]).collect();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i04_a_failed_sync_is_an_unknown_outcome_and_the_next_segment_serves() {
    if !strace() {
        return;
    }
    let receiver = Receiver::start().await.unwrap();
    let mut stage = Stage::set(&orders(&receiver.url(), "")).unwrap();
    inject(&mut stage, "pwritev2:error=EIO:when=25");
    stage.host.start().await.unwrap();
    let (mut acknowledged, mut unknown, mut after) = (HashSet::new(), 0, 0);
    for number in 0..400 {
        let answer = stage.post("orders", &[], format!("record {number}")).await.unwrap();
        match answer.status {
            202 => {
                acknowledged.insert(answer.json().unwrap()["id"].as_str().unwrap().to_owned());
                after += u32::from(unknown > 0);
            }
            503 => {
                assert_eq!(answer.json().unwrap()["code"], "outcome-unknown", "{:?}", answer.text);
                assert!(answer.headers.contains_key("retry-after"));
                unknown += 1;
            }
            other => panic!("{other}: {:?}", answer.text),
        }
        if after >= 20 {
            break;
        }
    }
    assert!(unknown >= 1, "no sync failed: the injection does not reach the log");
    assert!(after >= 20, "ingest did not go on after the failed sync: {}", stage.log());
    stage.kill();
    stage.host.wrapper.clear();
    stage.host.start().await.unwrap();
    let all = async |_: &Host| {
        let seen: HashSet<_> = receiver.deliveries().iter().map(|delivery| delivery.id.clone()).collect();
        Ok(acknowledged.difference(&seen).count())
    };
    stage.until("every acknowledged record", Duration::from_secs(20), all, |missing| *missing == 0).await.unwrap();
}
