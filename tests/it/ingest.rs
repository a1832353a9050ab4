//! What producers see: receipts, batches, headers, idempotency, delay, limits.

use crate::stage::{Stage, orders};
use serde_json::{Value, json};
use std::time::Duration;
use walhost_tests::receiver::Receiver;

const SOON: Duration = Duration::from_secs(15);

async fn delivered(stage: &Stage, receiver: &Receiver, count: usize) {
    stage.until("deliveries", SOON, async |_| Ok(receiver.confirmed()), |seen| *seen >= count).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i03_a_record_arrives_byte_for_byte_with_its_key_headers_and_type() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let value: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("content-type", "application/x-thing"),
        ("wal-key", "k-1"),
        ("wal-header-colour", "red"),
        ("traceparent", trace),
    ];
    let answer = stage.post("orders", &headers, value.clone()).await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.text);
    let receipt = answer.json().unwrap();
    assert_eq!(receipt["durability"], "fsync");
    assert_eq!(receipt["deduplicated"], false);
    assert!(receipt["offset"].as_str().unwrap().starts_with("0:"), "{receipt}");
    let id = receipt["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/v1/namespaces/orders/records/{id}"));
    delivered(&stage, &receiver, 1).await;
    let delivery = receiver.deliveries()[0].clone();
    assert_eq!(delivery.value, value);
    assert_eq!(delivery.id, id);
    for (name, wanted) in [
        ("content-type", "application/x-thing"),
        ("wal-key", "k-1"),
        ("colour", "red"),
        ("wal-namespace", "orders"),
        ("wal-attempt", "1"),
        ("traceparent", trace),
    ] {
        assert_eq!(delivery.header(name), wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ndjson_is_one_record_a_line_with_the_lines_own_bytes_and_key() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "key = \"/id\"")).await.unwrap();
    let text = "{\"id\": 7, \"a\":  1}\r\n\n{\"id\":\"x\"}\n{\"no\":\"key\"}";
    let headers = [("content-type", "application/x-ndjson")];
    let url = format!("{}/v1/namespaces/orders/records?ids=true", stage.ingest);
    let answer = stage.client.send("POST", &url, &headers, text.into()).await.unwrap();
    assert_eq!(answer.status, 202);
    let receipt = answer.json().unwrap();
    assert_eq!(receipt["count"], 3);
    assert_eq!(receipt["ids"].as_array().unwrap().len(), 3);
    assert_eq!(receipt["durability"], "fsync");
    delivered(&stage, &receiver, 3).await;
    let mut seen: Vec<_> =
        receiver.deliveries().iter().map(|d| (d.value.to_vec(), d.header("wal-key").to_owned())).collect();
    seen.sort();
    let wanted: Vec<(Vec<u8>, String)> = vec![
        (b"{\"id\": 7, \"a\":  1}".to_vec(), "7".into()),
        (b"{\"id\":\"x\"}".to_vec(), "x".into()),
        (b"{\"no\":\"key\"}".to_vec(), String::new()),
    ];
    assert_eq!(seen, wanted);
    assert!(receiver.deliveries().iter().all(|d| d.header("content-type") == "application/json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i23_one_idempotency_key_is_one_record_across_a_kill() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let key = [("idempotency-key", "\"order-1\"")];
    let first = stage.post("orders", &key, "one").await.unwrap().json().unwrap();
    stage.kill();
    stage.host.start().await.unwrap();
    let bare = [("idempotency-key", "order-1")];
    let answer = stage.post("orders", &bare, "one").await.unwrap();
    assert_eq!(answer.status, 202);
    let second = answer.json().unwrap();
    assert_eq!((&second["id"], &second["deduplicated"]), (&first["id"], &json!(true)));
    let other = stage.post("orders", &key, "two").await.unwrap();
    assert_eq!((other.status, &other.json().unwrap()["code"]), (422, &json!("idempotency-mismatch")));
    delivered(&stage, &receiver, 1).await;
    let ids: std::collections::HashSet<_> = receiver.deliveries().iter().map(|d| d.id.clone()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i20_a_delayed_record_is_never_early_even_across_a_restart() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let begun = std::time::Instant::now();
    let receipt = stage.post("orders", &[("wal-delay", "2s")], "later").await.unwrap().json().unwrap();
    let state = record(&stage, &receipt["id"]).await;
    assert_eq!(state["targets"]["hook"]["state"], "scheduled", "{state}");
    stage.kill();
    stage.host.start().await.unwrap();
    delivered(&stage, &receiver, 1).await;
    let at = receiver.deliveries()[0].at;
    assert!(at.duration_since(begun) >= Duration::from_millis(1_990), "{:?}", at.duration_since(begun));
}

async fn record(stage: &Stage, id: &Value) -> Value {
    let url = format!("{}/v1/namespaces/orders/records/{}", stage.ingest, id.as_str().unwrap());
    stage.client.get(&url).await.unwrap().success().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wal_target_sends_a_record_to_one_target_only() {
    let (one, two) = (Receiver::start().await.unwrap(), Receiver::start().await.unwrap());
    let more = format!("[namespaces.orders.targets.other]\ntype = \"http\"\nurl = \"{}\"\n", two.url());
    let stage = Stage::start(&(orders(&one.url(), "") + &more)).await.unwrap();
    assert_eq!(stage.post("orders", &[("wal-target", "other")], "to one").await.unwrap().status, 202);
    assert_eq!(stage.post("orders", &[], "to both").await.unwrap().status, 202);
    delivered(&stage, &one, 1).await;
    delivered(&stage, &two, 2).await;
    assert!(one.deliveries().iter().all(|d| d.value == "to both"));
    let unknown = stage.post("orders", &[("wal-target", "nobody")], "x").await.unwrap();
    assert_eq!((unknown.status, &unknown.json().unwrap()["code"]), (422, &json!("unknown-target")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_values_are_kept_plain_and_bombs_are_refused() {
    use std::io::Write;
    let receiver = Receiver::start().await.unwrap();
    let stage =
        Stage::start(&orders(&receiver.url(), "limits = { record = \"64KiB\", batch = \"128KiB\" }")).await.unwrap();
    let pack = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let gzip = [("content-encoding", "gzip"), ("content-type", "text/plain")];
    assert_eq!(stage.post("orders", &gzip, pack(b"plain text")).await.unwrap().status, 202);
    let bomb = stage.post("orders", &gzip, pack(&vec![0; 1 << 20])).await.unwrap();
    assert_eq!((bomb.status, &bomb.json().unwrap()["code"]), (413, &json!("record-too-large")));
    delivered(&stage, &receiver, 1).await;
    assert_eq!(receiver.deliveries()[0].value, "plain text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_inclusive_and_named_in_the_refusal() {
    let receiver = Receiver::start().await.unwrap();
    let stage =
        Stage::start(&orders(&receiver.url(), "limits = { record = \"1KiB\", batch = \"4KiB\" }")).await.unwrap();
    assert_eq!(stage.post("orders", &[], vec![b'x'; 1024]).await.unwrap().status, 202);
    let large = stage.post("orders", &[], vec![b'x'; 1025]).await.unwrap();
    let problem = large.json().unwrap();
    assert_eq!((large.status, &problem["code"], &problem["limit"]), (413, &json!("record-too-large"), &json!(1024)));
    let lines = "{\"a\":1}\n".repeat(1_000);
    let batch = stage.post("orders", &[("content-type", "application/x-ndjson")], lines).await.unwrap();
    assert_eq!((batch.status, &batch.json().unwrap()["code"]), (413, &json!("batch-too-large")));
    delivered(&stage, &receiver, 1).await;
    assert_eq!(receiver.confirmed(), 1);
}
