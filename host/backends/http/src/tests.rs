//! Deliveries to local servers.
#![allow(clippy::unwrap_used)]

use super::*;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use walhost_core::testkit::target_suite::{self, Harness, Mood};
use walhost_core::time::SystemClock;
use walhost_core::{Headers, NamespaceName, Random, Record, RecordId, TargetName, Verdict};

type Seen = Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>;

fn context(restricted: bool) -> TargetContext {
    TargetContext {
        namespace: NamespaceName::new("catalog").unwrap(),
        target: TargetName::new("partner").unwrap(),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(Random::seeded(1)),
        restricted,
    }
}

fn config(json: serde_json::Value) -> Config {
    serde_json::from_value(json).unwrap()
}

async fn open(config: Config) -> Arc<dyn Target> {
    Http::new(Arc::new(SystemClock::default())).unwrap().open(context(false), config).await.unwrap()
}

/// Answers every request with `status`, after `wait`; keeps what it has seen.
async fn server(status: u16, wait: Duration) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let seen = Seen::default();
    let kept = seen.clone();
    walhost_core::exec::task(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = kept.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let kept = kept.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let value = body.collect().await?.to_bytes();
                    tokio::time::sleep(wait).await;
                    let shown = head
                        .headers
                        .get("authorization")
                        .map_or(Bytes::new(), |v| Bytes::copy_from_slice(v.as_bytes()));
                    kept.lock().unwrap().push((head, value));
                    let response = http::Response::builder().status(status).body(Full::new(shown)).unwrap();
                    Ok::<_, hyper::Error>(response)
                }
            });
            walhost_core::exec::task(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, seen)
}

fn record(id: &str, key: Option<&str>, headers: &[(&str, &str)], value: &str) -> Record {
    Record {
        id: RecordId::new(id),
        sequence: 9,
        appended_at_ms: 1,
        attempt: 3,
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        headers: Headers::encode(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

struct Moods {
    seen: Mutex<Vec<Seen>>,
}

#[async_trait]
impl Harness for Moods {
    async fn target(&self, mood: Mood) -> Option<Arc<dyn Target>> {
        let url = match mood {
            Mood::Takes | Mood::Busy | Mood::Rejects => {
                let status = match mood {
                    Mood::Takes => 200,
                    Mood::Busy => 503,
                    _ => 400,
                };
                let (url, seen) = server(status, Duration::ZERO).await;
                if mood == Mood::Takes {
                    self.seen.lock().unwrap().push(seen);
                }
                url
            }
            Mood::Refuses => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                format!("http://{}/", listener.local_addr().unwrap())
            }
            Mood::Hangs => server(200, Duration::from_secs(3600)).await.0,
            Mood::Tears => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("http://{}/", listener.local_addr().unwrap());
                walhost_core::exec::task(async move {
                    while let Ok((mut stream, _)) = listener.accept().await {
                        assert!(stream.read(&mut [0; 65536]).await.unwrap() > 0);
                    }
                });
                url
            }
        };
        Some(open(config(serde_json::json!({ "url": url, "timeout": "300ms" }))).await)
    }

    async fn kept(&self) -> Vec<Vec<u8>> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .flat_map(|seen| seen.lock().unwrap().iter().map(|(_, value)| value.to_vec()).collect::<Vec<_>>())
            .collect()
    }
}

#[tokio::test]
async fn the_target_suite_holds() {
    let moods = Moods { seen: Mutex::default() };
    target_suite::run(&moods).await;
    assert!(!moods.kept().await.is_empty());
}

#[tokio::test]
async fn a_delivery_carries_the_headers_of_the_contract_and_a_signature_that_holds() {
    let (url, seen) = server(204, Duration::ZERO).await;
    let dir = tempfile::tempdir().unwrap();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    std::fs::write(dir.path().join("secret"), format!("{secret}\n")).unwrap();
    let mut config = config(serde_json::json!({
        "url": url, "headers": { "x-fixed": "1" }, "tombstone": "delete",
        "sign": { "scheme": "standard-webhooks", "secret": { "file": "secret" } },
    }));
    config.resolve(dir.path());
    let target = open(config).await;
    let headers = [
        ("content-type", "application/json"),
        ("colour", "red"),
        ("x-fixed", "2"),
        ("host", "evil"),
        ("wal-attempt", "99"),
        ("webhook-id", "forged"),
        ("traceparent", "00-1-2-01"),
    ];
    let sent =
        [record("1-2", Some("50%"), &headers, "{\"a\":1}"), record("1-3", Some("k"), &[("wal-tombstone", "true")], "")];
    assert_eq!(target.deliver(&sent).await.unwrap(), vec![Verdict::Delivered, Verdict::Delivered]);
    let seen = seen.lock().unwrap();
    let (head, value) = seen.iter().find(|(head, _)| head.headers["webhook-id"] == "1-2").unwrap();
    for (name, value) in [
        ("wal-namespace", "catalog"),
        ("wal-key", "50%25"),
        ("wal-attempt", "3"),
        ("wal-sequence", "9"),
        ("content-type", "application/json"),
        ("colour", "red"),
        ("x-fixed", "1"),
        ("traceparent", "00-1-2-01"),
        ("content-length", "7"),
    ] {
        assert_eq!(head.headers[name], value, "{name}");
    }
    assert!(head.headers["host"].to_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!((&head.method, &value[..]), (&http::Method::POST, &b"{\"a\":1}"[..]));
    standardwebhooks::Webhook::new(secret).unwrap().verify(value, &head.headers).unwrap();
    let (head, value) = seen.iter().find(|(head, _)| head.headers["webhook-id"] == "1-3").unwrap();
    assert_eq!((&head.method, value.len()), (&http::Method::DELETE, 0));
}

#[tokio::test]
async fn i40_a_secret_that_the_other_side_repeats_is_not_shown() {
    let (url, _) = server(500, Duration::ZERO).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth");
    std::fs::write(&path, "Bearer t0psecret\n").unwrap();
    let target =
        open(config(serde_json::json!({ "url": url, "headers": { "authorization": { "file": path } } }))).await;
    let verdicts = target.deliver(&[record("1", None, &[], "v")]).await.unwrap();
    let failure = verdicts[0].failure().unwrap();
    assert_eq!(failure.code, "http-500");
    assert!(failure.message.contains("***") && !failure.message.contains("t0psecret"), "{}", failure.message);
}

#[tokio::test]
async fn records_of_a_batch_go_side_by_side_and_those_of_one_key_in_order() {
    let (url, seen) = server(200, Duration::from_millis(20)).await;
    let target = open(config(serde_json::json!({ "url": url, "parallel": 4 }))).await;
    let records: Vec<Record> =
        (0..8).map(|n| record(&n.to_string(), Some(if n % 2 == 0 { "a" } else { "b" }), &[], &n.to_string())).collect();
    let verdicts = target.deliver(&records).await.unwrap();
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Delivered));
    let seen: Vec<u32> =
        seen.lock().unwrap().iter().map(|(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap()).collect();
    for parity in [0, 1] {
        assert!(seen.iter().filter(|n| *n % 2 == parity).is_sorted(), "{seen:?}");
    }
}

#[tokio::test]
async fn i41_a_restricted_target_reaches_no_private_address_and_names_no_secret() {
    let (url, seen) = server(200, Duration::ZERO).await;
    let backend = Http::new(Arc::new(SystemClock::default())).unwrap();
    let target = backend.open(context(true), config(serde_json::json!({ "url": url }))).await.unwrap();
    let verdicts = target.deliver(&[record("1", None, &[], "v")]).await.unwrap();
    assert_eq!(verdicts[0].failure().unwrap().code, "denied");
    assert!(seen.lock().unwrap().is_empty());
    let stolen = config(serde_json::json!({ "url": url, "headers": { "x": { "env": "HOME" } } }));
    assert_eq!(backend.open(context(true), stolen).await.err().unwrap().kind(), Kind::Denied);
}

#[test]
fn every_complaint_is_made_at_once() {
    let bad = config(serde_json::json!({
        "url": "ftp://x", "method": "GET", "timeout": "0ms", "parallel": 0, "tls": { "cert": "c" },
        "headers": { "host": "x", "a b": "x", "wal-key": "x", "ok": "two\nlines" },
        "sign": { "scheme": "standard-webhooks", "secret": [] },
    }));
    let keys: Vec<String> = Http::check_config(&bad).into_iter().map(|complaint| complaint.key).collect();
    assert_eq!(
        keys,
        [
            "tls.cert",
            "url",
            "method",
            "timeout",
            "parallel",
            "headers.a b",
            "headers.host",
            "headers.ok",
            "headers.wal-key",
            "sign.secret"
        ]
    );
    assert!(Http::check_config(&config(serde_json::json!({ "url": "https://a/" }))).is_empty());
    assert!(serde_json::from_value::<Config>(serde_json::json!({ "url": "https://a/", "ulr": 1 })).is_err());
}
