//! HTTP of sinks: only what was granted, credentials unseen, bounded in time and size (I31, I40, I41).

use super::guest::Guest;
use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use walhost_core::Verdict;

/// Answers every request with `answer`, after reading its head; hands out the heads.
fn server(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, seen) = std::sync::mpsc::channel();
    walhost_core::exec::thread("test-server", move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            if heads.send(String::from_utf8_lossy(&head).into_owned()).is_err() {
                return;
            }
            let _closed = stream.write_all(answer.as_bytes());
        }
    })
    .unwrap();
    (port, seen)
}

/// A sink that sends one request and logs the body of the answer, or the text of the failure.
fn sends(url: &str, method: &str) -> Vec<u8> {
    let bytes = |at: usize, text: &str| -> String {
        text.bytes()
            .enumerate()
            .map(|(place, byte)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", at + place))
            .collect()
    };
    let items = r#"
        (import "walhost:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "walhost:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    // Method, url, headers, body, whether there is a time-out, the time-out; then where the answer goes:
    // result<response, failure>: case at 0, payload at 4: response {status u16, headers, body} or failure {case, text}.
    let run = format!(
        "{}{}
        (call $send (i32.const 4096) (i32.const {}) (i32.const 4352) (i32.const {})
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3200))
        (if (i32.load8_u (i32.const 3200))
          (then (call $log (i32.const 3) (i32.load (i32.const 3208)) (i32.load (i32.const 3212)) (i32.const 0) (i32.const 0)))
          (else (call $log (i32.const 1) (i32.load (i32.const 3216)) (i32.load (i32.const 3220)) (i32.const 0) (i32.const 0))))",
        bytes(4096, method),
        bytes(4352, url),
        method.len(),
        url.len(),
    );
    Guest { world: "sink-plugin", items, run: &run, ..Guest::default() }.build()
}

/// What the sink logged: the body, or the failure's text.
async fn said(url: &str, method: &str, grants: serde_json::Value) -> String {
    let bench = Bench::new();
    let sink =
        bench.sink(sends(url, method), |spec| spec.grants = serde_json::from_value(grants).unwrap()).await.unwrap();
    assert_eq!(sink.deliver(&evil()).await.unwrap(), [Verdict::Delivered]);
    bench.lines().join("\n")
}

#[tokio::test]
async fn i31_a_granted_origin_answers_and_the_host_adds_its_header_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "Bearer 0123456789\n").unwrap();
    let (port, heads) = server(
        "HTTP/1.1 200 OK\r\ncontent-length: 31\r\nx-echo: Bearer 0123456789\r\n\r\nyou said Bearer 0123456789. bye",
    );
    let origin = format!("http://127.0.0.1:{port}");
    let grants = serde_json::json!({"http": [{"origin": origin, "cidrs": ["127.0.0.0/8"], "headers": {"authorization": {"file": secret}}}]});
    let answer = said(&format!("{origin}/a?b"), "GET", grants).await;
    assert_eq!(answer, "you said *****************. bye", "I40");
    let head = heads.recv().unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n") && head.contains("authorization: Bearer 0123456789"), "{head}");
}

#[tokio::test]
async fn i41_loopback_needs_a_granted_network_and_other_origins_a_grant() {
    let (port, heads) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let origin = format!("http://127.0.0.1:{port}");
    let without = serde_json::json!({"http": [{"origin": origin}]});
    assert!(said(&format!("{origin}/"), "GET", without).await.contains("loopback"));
    let granted = serde_json::json!({"http": [{"origin": origin, "cidrs": ["127.0.0.0/8"]}]});
    for (url, method, words) in [
        (format!("http://127.0.0.2:{port}/"), "GET", "not granted"),
        (format!("https://127.0.0.1:{port}/"), "GET", "not granted"),
        (format!("http://localhost:{port}/"), "GET", "not granted"),
        (format!("http://user@127.0.0.1:{port}/"), "GET", ""),
        (format!("{origin}/"), "CONNECT", "method"),
        (format!("{origin}/"), "TRACE", "method"),
        (format!("{origin}/"), "G T", "method"),
        ("nonsense".to_owned(), "GET", ""),
    ] {
        let answer = said(&url, method, granted.clone()).await;
        assert!(!answer.is_empty() && answer.contains(words), "{url}: {answer}");
    }
    assert!(heads.try_recv().is_err(), "nothing was ever sent");
}

#[tokio::test]
async fn i31_redirects_are_answers_and_large_answers_are_refused() {
    let (port, heads) = server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 5\r\n\r\nmoved");
    let origin = format!("http://127.0.0.1:{port}");
    let grants = serde_json::json!({"http": [{"origin": origin, "cidrs": ["127.0.0.0/8"]}]});
    assert_eq!(said(&format!("{origin}/"), "GET", grants).await, "moved");
    assert!(heads.recv().is_ok());
    let small = serde_json::json!({"http": [{"origin": origin, "cidrs": ["127.0.0.0/8"], "response": "4B"}]});
    assert!(said(&format!("{origin}/"), "GET", small).await.contains("larger"));
}

#[tokio::test]
async fn i30_an_answer_that_never_comes_ends_within_the_calls_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let grants = serde_json::json!({"http": [{"origin": origin, "cidrs": ["127.0.0.0/8"]}]});
    let bench = Bench::new();
    let sink = bench
        .sink(sends(&format!("{origin}/"), "GET"), |spec| {
            spec.grants = serde_json::from_value(grants).unwrap();
            spec.limits.deadline = Some("400ms".parse().unwrap());
        })
        .await
        .unwrap();
    assert_eq!(sink.deliver(&evil()).await.unwrap(), [Verdict::Delivered], "the guest hears of the time-out in time");
    assert!(bench.lines()[0].contains("within"), "{:?}", bench.lines());
}

#[tokio::test]
async fn i31_http_without_a_grant_is_refused_at_load_and_not_before() {
    let bench = Bench::new();
    let error = bench.sink(sends("http://127.0.0.1:1/", "GET"), |_| {}).await.err().unwrap();
    assert!(error.detail().contains("walhost:plugin/http@0.1.0"), "{}", error.detail());
    assert_eq!(bench.plugins.list().await.unwrap().len(), 1, "an upload needs no grant");
}

/// A sink that calls `send-all` with `count` requests, all GETs of `url`, and logs how many succeeded, as
/// that many lines.
fn sends_all(url: &str, count: u32, parallel: u32) -> Vec<u8> {
    let stores: String = format!("GET{url}")
        .bytes()
        .enumerate()
        .map(|(place, byte)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", 4096 + place))
        .collect();
    let items = r#"
        (import "walhost:plugin/http@0.1.0" "send-all" (func $send_all (param i32 i32 i32 i32)))
        (import "walhost:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
        (global $requests (mut i32) (i32.const 0))"#;
    // A request is 40 bytes: method, url, headers, body, time-out. An answer is 24: its case first.
    let run = format!(
        "{stores}
        (global.set $requests (call $new (i32.const {bytes})))
        (memory.fill (global.get $requests) (i32.const 0) (i32.const {bytes}))
        (loop $next
          (i32.store (i32.add (global.get $requests) (i32.mul (local.get $i) (i32.const 40))) (i32.const 4096))
          (i32.store offset=4 (i32.add (global.get $requests) (i32.mul (local.get $i) (i32.const 40))) (i32.const 3))
          (i32.store offset=8 (i32.add (global.get $requests) (i32.mul (local.get $i) (i32.const 40))) (i32.const 4099))
          (i32.store offset=12 (i32.add (global.get $requests) (i32.mul (local.get $i) (i32.const 40))) (i32.const {length}))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (i32.const {count}))))
        (call $send_all (global.get $requests) (i32.const {count}) (i32.const {parallel}) (i32.const 3000))
        (local.set $i (i32.const 0))
        (loop $next
          (if (i32.eqz (i32.load8_u (i32.add (i32.load (i32.const 3000)) (i32.mul (local.get $i) (i32.const 24)))))
            (then (call $log (i32.const 1) (i32.const 4096) (i32.const 3) (i32.const 0) (i32.const 0))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (i32.load (i32.const 3004)))))",
        bytes = count * 40,
        length = url.len(),
    );
    Guest { world: "sink-plugin", items, run: &run, ..Guest::default() }.build()
}

#[tokio::test]
async fn i30_send_all_is_bounded_in_number_and_in_flight() {
    let (port, heads) = server("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    let origin = format!("http://127.0.0.1:{port}");
    let grants: Grants = serde_json::from_value(
        serde_json::json!({"http": [{"origin": origin, "cidrs": ["127.0.0.0/8"], "parallel": 2}]}),
    )
    .unwrap();
    let bench = Bench::new();
    let sink = bench.sink(sends_all(&format!("{origin}/"), 20, 0), |spec| spec.grants = grants.clone()).await.unwrap();
    assert_eq!(sink.deliver(&evil()).await.unwrap(), [Verdict::Delivered]);
    assert_eq!(bench.lines().len(), 20);
    assert_eq!(heads.iter().take(20).count(), 20);
    let flood =
        bench.sink(sends_all(&format!("{origin}/"), 1_025, 1_000_000), |spec| spec.grants = grants).await.unwrap();
    let fault = flood.deliver(&evil()).await.unwrap_err();
    assert!(fault.code == "plugin-trap" && fault.message.contains("at most 1024"), "{fault:?}");
}
