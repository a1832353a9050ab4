//! The commands as a person types them.

use crate::stage::{Stage, binary, component, orders};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use walhost_tests::host::Host;
use walhost_tests::receiver::Receiver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_get_and_cancel_go_the_way_of_a_record() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let said =
        stage.cli_ok(&["-o", "json", "send", "orders", "-d", "hello", "--key", "k", "-H", "colour:red"]).unwrap();
    let receipt: Value = serde_json::from_str(&said).unwrap();
    let id = receipt["id"].as_str().unwrap();
    stage
        .until("delivered", Duration::from_secs(10), async |_: &Host| Ok(receiver.confirmed()), |n| *n == 1)
        .await
        .unwrap();
    assert_eq!(receiver.deliveries()[0].header("colour"), "red");
    let look = async |_: &Host| stage.cli_ok(&["get", "orders", id]);
    stage.until("get", Duration::from_secs(5), look, |said| said.contains("delivered")).await.unwrap();
    let later = stage.cli_ok(&["-o", "json", "send", "orders", "-d", "later", "--delay", "1h"]).unwrap();
    let later: Value = serde_json::from_str(&later).unwrap();
    assert!(stage.cli_ok(&["cancel", "orders", later["id"].as_str().unwrap()]).unwrap().contains("cancelled"));
    for words in [
        &["ns", "list"][..],
        &["ns", "get", "orders"],
        &["target", "list", "orders"],
        &["target", "get", "orders", "hook"],
    ] {
        assert!(
            stage.cli_ok(words).unwrap().contains(if words[1] == "list" && words[0] == "ns" {
                "orders"
            } else {
                "hook"
            }),
            "{words:?}"
        );
    }
    assert!(stage.cli_ok(&["target", "check", "orders", "hook"]).is_ok());
    let unknown = stage.cli(&["get", "orders", "no-such-id"]).unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("not-found"), "{unknown:?}");
}

#[test]
fn exit_codes_tell_usage_host_and_config_apart() {
    let walhost = |words: &[&str]| Command::new(binary().unwrap()).args(words).output().unwrap();
    assert_eq!(walhost(&["version"]).status.code(), Some(0));
    assert_eq!(walhost(&["no-such-command"]).status.code(), Some(2));
    let port = walhost_tests::http::free_port().unwrap();
    let away = walhost(&["--url", &format!("http://127.0.0.1:{port}"), "ns", "list"]);
    assert_eq!(away.status.code(), Some(69), "{away:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.toml");
    std::fs::write(
        &file,
        "[server]\ningest.lisen = \"127.0.0.1:1\"\n\n[namespaces.Orders]\nqeue = { type = \"kafak\" }\n",
    )
    .unwrap();
    let bad = walhost(&["config", "validate", "-c", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert_eq!(bad.status.code(), Some(78), "{said}");
    for place in ["bad.toml:2:8", "bad.toml:4:"] {
        assert!(said.contains(place), "{place} in {said}");
    }
    assert!(said.contains("listen"), "a suggestion: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_goes_from_nothing_to_a_loaded_slot() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let file = stage.directory().join("mask.wasm");
    std::fs::write(&file, component("mask").unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let inspected = stage.cli_ok(&["plugin", "inspect", file]).unwrap();
    assert!(inspected.contains("transform") && inspected.contains("sha256:"), "{inspected}");
    let records = stage.directory().join("records.ndjson");
    std::fs::write(&records, "{\"email\":\"a@b.c\"}\nnot json\n").unwrap();
    let tested = stage
        .cli(&["plugin", "test", file, "--records", records.to_str().unwrap(), "--set", "fields=[\"/email\"]"])
        .unwrap();
    let tested = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(tested.contains("***") && tested.contains("not-json"), "{tested}");
    let pushed: Value = serde_json::from_str(&stage.cli_ok(&["-o", "json", "plugin", "push", file]).unwrap()).unwrap();
    let digest = pushed["digest"].as_str().unwrap();
    stage.cli_ok(&["plugin", "load", "orders", "hook.transform", digest, "--set", "fields=[\"/email\"]"]).unwrap();
    assert!(stage.cli_ok(&["plugin", "list"]).unwrap().contains(&digest["sha256:".len()..][..12]));
    stage.cli_ok(&["send", "orders", "-d", "{\"email\":\"a@b.c\"}"]).unwrap();
    stage
        .until("delivered", Duration::from_secs(10), async |_: &Host| Ok(receiver.confirmed()), |n| *n == 1)
        .await
        .unwrap();
    assert_eq!(receiver.deliveries()[0].value, "{\"email\":\"***\"}");
    assert!(
        stage
            .cli_ok(&["plugin", "versions", "orders", "hook.transform"])
            .unwrap()
            .contains(&digest["sha256:".len()..][..12])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wal_verify_is_clean_after_a_kill_and_refuses_a_directory_in_use() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    for number in 0..20 {
        assert_eq!(stage.post("orders", &[], format!("{number}")).await.unwrap().status, 202);
    }
    let data = stage.directory().join("data");
    let data = data.to_str().unwrap().to_owned();
    let busy = stage.cli(&["wal", "verify", &data]).unwrap();
    assert_eq!(busy.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("in use"), "{busy:?}");
    stage.kill();
    let wrong = stage.cli(&["wal", "verify", stage.directory().join("data/snapshots").to_str().unwrap()]).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no data directory"), "{wrong:?}");
    stage.cli_ok(&["wal", "verify", &data]).unwrap();
    assert!(stage.cli_ok(&["wal", "inspect", &data]).unwrap().contains("records"));
}

#[test]
fn dev_prints_its_addresses_first_and_delivers_what_it_is_sent() {
    use std::io::BufRead;
    let mut child = Command::new(binary().unwrap())
        .args(["dev", "--port", "0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (said, lines) = std::sync::mpsc::channel();
    let output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        for line in std::io::BufReader::new(output).lines().map_while(Result::ok) {
            drop(said.send(line));
        }
    });
    let line = || lines.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| "nothing".to_owned());
    let (ingest, admin) = (line(), line());
    let sent = admin.strip_prefix("admin").map(|url| {
        Command::new(binary().unwrap()).args(["--url", url.trim(), "send", "demo", "-d", "hello dev"]).output().unwrap()
    });
    let delivered = (0..20).map(|_| line()).any(|line| line.contains("hello dev"));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    assert!(ingest.starts_with("ingest") && ingest.contains("http://127.0.0.1:"), "{ingest}");
    assert!(sent.is_some_and(|output| output.status.success()), "{admin}");
    assert!(delivered, "the record was not printed");
}
