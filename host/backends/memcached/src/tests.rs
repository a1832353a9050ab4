//! Deliveries to a real memcached, and to servers that answer oddly.
#![allow(clippy::unwrap_used)]

use super::*;
use async_trait::async_trait;
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use walhost_core::testkit::target_suite::{self, Harness, Mood};
use walhost_core::time::SystemClock;
use walhost_core::{Headers, NamespaceName, Random, Record, RecordId, TargetName, Verdict};

/// A memcached of this test's own; ends with it.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    /// None when the binary is missing: the test is skipped then, unless services are required.
    fn start(more: &[&str]) -> Option<Daemon> {
        let address = free();
        let mut command = Command::new("memcached");
        command.args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-I", "1m", "-p", &address.port().to_string()]);
        let spawned = command.args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = spawned else {
            assert!(
                std::env::var("WALHOST_REQUIRE_SERVICES").as_deref() != Ok("1"),
                "memcached is required and missing"
            );
            std::io::stderr().write_all(b"skipped: there is no memcached\n").unwrap();
            return None;
        };
        let daemon = Daemon { child, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "memcached does not start");
            std::thread::yield_now();
        }
        Some(daemon)
    }

    /// What a plain client is told.
    fn ask(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(format!("{line}\r\nquit\r\n").as_bytes()).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that reads once on each connection, says `answer` and closes; without one it never answers.
fn scripted(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    walhost_core::exec::thread("scripted", move || {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            match answer {
                None => kept.push(stream),
                Some(answer) => {
                    drop(stream.read(&mut [0; 65_536]));
                    drop(stream.write_all(answer.as_bytes()));
                }
            }
        }
    })
    .unwrap();
    address
}

fn context(restricted: bool) -> TargetContext {
    TargetContext {
        namespace: NamespaceName::new("catalog").unwrap(),
        target: TargetName::new("cache").unwrap(),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(Random::seeded(1)),
        restricted,
    }
}

async fn open_with(servers: &[SocketAddr], more: serde_json::Value) -> Arc<dyn Target> {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let mut table = serde_json::json!({ "servers": servers, "timeout": "300ms" });
    table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let backend = Memcached::new(Arc::new(SystemClock::default()));
    backend.open(context(false), serde_json::from_value(table).unwrap()).await.unwrap()
}

async fn open(servers: &[SocketAddr]) -> Arc<dyn Target> {
    open_with(servers, serde_json::json!({})).await
}

fn record(key: &str, value: impl AsRef<[u8]>) -> Record {
    let value = Bytes::copy_from_slice(value.as_ref());
    let headers =
        if value.is_empty() { Headers::encode([("wal-tombstone", b"true".as_slice())]) } else { Headers::default() };
    let key = Some(Bytes::copy_from_slice(key.as_bytes()));
    Record { id: RecordId::new("r"), sequence: 1, appended_at_ms: 1, attempt: 1, key, headers, value }
}

async fn codes(target: &Arc<dyn Target>, records: &[Record]) -> Vec<String> {
    let shown = |verdict: &Verdict| match verdict.failure() {
        None => verdict.kind().as_str().to_owned(),
        Some(failure) => format!("{} {} {:?}", verdict.kind().as_str(), failure.code, failure.blame),
    };
    target.deliver(records).await.unwrap().iter().map(shown).collect()
}

struct Moods {
    daemon: Daemon,
    stored: Mutex<usize>,
}

#[async_trait]
impl Harness for Moods {
    async fn target(&self, mood: Mood) -> Option<Arc<dyn Target>> {
        *self.stored.lock().unwrap() += 1;
        Some(match mood {
            Mood::Takes => open(&[self.daemon.address]).await,
            Mood::Refuses => open(&[free()]).await,
            Mood::Hangs => open(&[scripted(None)]).await,
            Mood::Busy => {
                let busy = "SERVER_ERROR out of memory storing object\r\n".repeat(3) + "MN\r\n";
                open(&[scripted(Some(busy.leak()))]).await
            }
            Mood::Tears => open(&[scripted(Some(""))]).await,
            Mood::Rejects => open_with(&[self.daemon.address], serde_json::json!({ "key": "{/not-there}" })).await,
        })
    }

    async fn kept(&self) -> Vec<Vec<u8>> {
        let numbers = (0..1000).filter_map(|number| {
            let plain = target_suite::plain(number);
            let said = self.daemon.ask(&format!("get {}", String::from_utf8_lossy(plain.key.as_deref().unwrap())));
            said.starts_with("VALUE").then(|| plain.value.to_vec())
        });
        numbers.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_suite_holds_on_a_real_server() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let moods = Moods { daemon, stored: Mutex::new(0) };
    target_suite::run(&moods).await;
    assert!(*moods.stored.lock().unwrap() > 0);
}

#[tokio::test]
async fn values_are_stored_under_their_keys_and_tombstones_delete() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let target = open_with(&[daemon.address], serde_json::json!({ "key": "m:{/id}", "ttl": "1h", "flags": 7 })).await;
    let value = r#"{"id":1,"a":"b"}"#;
    assert_eq!(codes(&target, &[record("1", value)]).await, ["delivered"]);
    assert!(daemon.ask("get m:1").starts_with(&format!("VALUE m:1 7 16\r\n{value}\r\n")));
    assert!(daemon.ask("mg m:1 t").contains("t3"), "{}", daemon.ask("mg m:1 t"));
    assert_eq!(codes(&target, &[record("1", ""), record("2", "")]).await, ["delivered", "delivered"]);
    assert!(daemon.ask("get m:1").starts_with("END"));
    assert!(target.check().await.unwrap().contains("answers"));
    let long = open_with(&[daemon.address], serde_json::json!({ "ttl": "60d" })).await;
    assert_eq!(codes(&long, &[record("far", "v")]).await, ["delivered"]);
    assert!(daemon.ask("mg far t").contains("t51"), "{}", daemon.ask("mg far t"));
    let add = open_with(&[daemon.address], serde_json::json!({ "operation": "add", "value": "/v" })).await;
    assert_eq!(
        codes(&add, &[record("n", r#"{"v":"x"}"#), record("n", r#"{"v":"y"}"#), record("n", "{}")]).await,
        ["delivered", "delivered", "reject value-missing Record"]
    );
    assert!(daemon.ask("get n").contains("\r\nx\r\n"));
}

#[tokio::test]
async fn one_bad_record_of_a_batch_costs_only_itself() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let target = open_with(&[daemon.address], serde_json::json!({ "timeout": "5s" })).await;
    let batch = [
        record("a", "1"),
        record("big", vec![b'x'; 2 << 20]),
        record("b c", "3"),
        record(&"k".repeat(251), "4"),
        record(&"k".repeat(250), "5"),
        record("z", vec![b'y'; 900_000]),
    ];
    let expected = [
        "delivered",
        "reject too-large Record",
        "reject bad-key Record",
        "reject bad-key Record",
        "delivered",
        "delivered",
    ];
    for _ in 0..2 {
        assert_eq!(codes(&target, &batch).await, expected);
    }
}

#[tokio::test]
async fn a_full_server_is_the_targets_failure() {
    let Some(daemon) = Daemon::start(&["-M", "-m", "8"]) else { return };
    let target = open_with(&[daemon.address], serde_json::json!({ "timeout": "5s" })).await;
    let batch: Vec<Record> = (0..40).map(|n| record(&n.to_string(), vec![b'x'; 500_000])).collect();
    let codes = codes(&target, &batch).await;
    assert!(codes.contains(&"delivered".to_owned()), "{codes:?}");
    assert!(codes.contains(&"retry server-error Target".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn stopped_killed_and_back_again() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let target = open(&[daemon.address]).await;
    assert_eq!(codes(&target, &[record("a", "1")]).await, ["delivered"]);
    daemon.signal(rustix::process::Signal::STOP);
    assert_eq!(codes(&target, &[record("a", "2")]).await, ["retry timeout Record"], "an idle connection");
    assert_eq!(codes(&target, &[record("a", "3")]).await, ["retry timeout Record"], "a fresh one");
    daemon.signal(rustix::process::Signal::CONT);
    assert_eq!(codes(&target, &[record("a", "4")]).await, ["delivered"]);
    let address = daemon.address;
    drop(daemon);
    assert_eq!(codes(&target, &[record("a", "5")]).await, ["retry connect Target"]);
    assert!(target.check().await.unwrap_err().detail().contains(&address.to_string()));
}

#[tokio::test]
async fn odd_answers_are_never_taken_for_a_delivery() {
    let of = |answer: &'static str| async move {
        codes(&open(&[scripted(Some(answer))]).await, &[record("a", "1"), record("b", "2")]).await
    };
    assert_eq!(of("HD O0\r\n").await, ["delivered", "retry broken Record"], "torn half way");
    assert_eq!(of("HTTP/1.1 400 Bad Request\r\n\r\n").await, ["retry broken Record", "retry broken Record"]);
    assert_eq!(of("HD O1\r\nMN\r\n").await[0], "retry broken Record");
    assert_eq!(of("CLIENT_ERROR bad data chunk\r\nHD O1\r\nMN\r\n").await, ["reject client-error Record", "delivered"]);
    assert_eq!(of("CLIENT_ERROR unauthenticated\r\nHD O1\r\nMN\r\n").await[0], "retry unauthenticated Target");
    assert_eq!(of("ERROR\r\nERROR\r\nMN\r\n").await, ["retry unsupported Target", "retry unsupported Target"]);
    assert_eq!(of("NF O0\r\nNF O1\r\nMN\r\n").await, ["retry broken Record", "retry broken Record"]);
}

#[tokio::test]
async fn i41_a_restricted_target_reaches_no_private_address() {
    let config =
        serde_json::from_value(serde_json::json!({ "servers": [scripted(Some("MN\r\n")).to_string()] })).unwrap();
    let target = Memcached::new(Arc::new(SystemClock::default())).open(context(true), config).await.unwrap();
    assert_eq!(codes(&target, &[record("a", "1")]).await, ["retry denied Target"]);
    assert_eq!(target.check().await.unwrap_err().kind(), Kind::Denied);
}

#[test]
fn a_server_that_comes_moves_only_its_own_share_of_the_keys() {
    let servers = |count: u16| -> Vec<server::Server> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let dialer = Dialer::new(Arc::new(SystemResolver::default()), clock.clone());
        let address = |port| config::Address::parse(&format!("10.0.0.1:{port}")).unwrap();
        (1..=count)
            .map(|port| server::Server::new(address(port), dialer.clone(), Allow::any(), clock.clone(), Duration::ZERO))
            .collect()
    };
    let (four, five) = (servers(4), servers(5));
    let mut share = [0; 5];
    for number in 0..10_000 {
        let key = format!("movie:{number}");
        let (before, after) = (server::of_key(&four, key.as_bytes()), server::of_key(&five, key.as_bytes()));
        assert!(before == after || after == 4, "{key}");
        share[after] += 1;
    }
    assert!(share.iter().all(|share| (1_700..2_300).contains(share)), "{share:?}");
}

#[test]
fn every_complaint_is_made_at_once() {
    let bad: Config = serde_json::from_value(serde_json::json!({
        "servers": ["a:0", "b", "b:11211"], "key": "same", "ttl": "1500ms", "timeout": "0ms", "operation": "delete", "value": "x",
    })).unwrap();
    let keys: Vec<String> = Memcached::check_config(&bad).into_iter().map(|complaint| complaint.key).collect();
    assert_eq!(keys, ["servers", "servers", "key", "ttl", "timeout", "value", "value"]);
}
