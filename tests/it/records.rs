//! One record's state, from `scheduled` to its end, with the sentence that says what it waits for.

use crate::stage::{Stage, orders};
use serde_json::{Value, json};
use std::time::Duration;
use walhost_tests::http::Answer;
use walhost_tests::receiver::Receiver;

const SOON: Duration = Duration::from_secs(15);

async fn ask(stage: &Stage, method: &str, id: &str, value: &str) -> Answer {
    let url = format!("{}/v1/namespaces/orders/records/{id}", stage.ingest);
    let headers = [("content-type", "application/json")];
    stage.client.send(method, &url, &headers, value.to_owned().into()).await.unwrap()
}

async fn post(stage: &Stage, headers: &[(&str, &str)], value: &str) -> String {
    let answer = stage.post("orders", headers, value.to_owned()).await.unwrap();
    answer.success().unwrap()["id"].as_str().unwrap().to_owned()
}

async fn state_is(stage: &Stage, id: &str, wanted: &str) -> Value {
    let is = |state: &Value| state["targets"]["hook"]["state"] == wanted;
    let look = async |_: &walhost_tests::host::Host| ask(stage, "GET", id, "").await.success();
    stage.until(wanted, SOON, look, is).await.unwrap()["targets"]["hook"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_record_shows_its_attempt() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let id = post(&stage, &[("wal-key", "k")], "x").await;
    let target = state_is(&stage, &id, "delivered").await;
    let attempts = target["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{target}");
    assert_eq!((&attempts[0]["attempt"], &attempts[0]["verdict"]), (&json!(1), &json!("delivered")));
    assert!(attempts[0]["at"].as_str().unwrap().ends_with('Z'), "{target}");
    let whole = ask(&stage, "GET", &id, "").await.json().unwrap();
    assert_eq!((&whole["namespace"], &whole["id"], &whole["key"]), (&json!("orders"), &json!(id), &json!("k")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_record_says_what_it_waits_for() {
    let receiver = Receiver::start().await.unwrap();
    receiver.always(500);
    let stage =
        Stage::start(&orders(&receiver.url(), "retry = { initial = \"30s\", jitter = \"none\" }")).await.unwrap();
    let id = post(&stage, &[], "x").await;
    let target = state_is(&stage, &id, "retrying").await;
    let why = target["why"].as_str().unwrap();
    assert!(why.contains("http-500") && why.len() > 20, "{why}");
    assert!(target["next_attempt_at"].is_string(), "{target}");
    assert_eq!(target["attempts"][0]["code"], "http-500");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i22_a_target_that_is_down_holds_records_and_spends_no_attempt() {
    let receiver = Receiver::start().await.unwrap();
    receiver.always(503);
    let more = "retry = { initial = \"20ms\", max_interval = \"50ms\", max_attempts = 2 }\nbreaker = { failures = 3, open = \"200ms\", max_open = \"300ms\" }";
    let stage = Stage::start(&orders(&receiver.url(), more)).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(post(&stage, &[], &number.to_string()).await);
    }
    let target = state_is(&stage, &ids[0], "held").await;
    assert!(target["why"].as_str().unwrap().contains("http-503"), "{target}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let dead = stage.metric("walhost_accounting_records", &["namespace=\"orders\"", "state=\"dead\""]).await.unwrap();
    assert_eq!(dead, 0.0);
    receiver.always(200);
    for id in &ids {
        let target = state_is(&stage, id, "delivered").await;
        assert_eq!(target["attempts"].as_array().unwrap().last().unwrap()["attempt"], 1, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_record_can_be_rescheduled_and_cancelled_until_it_is_delivered() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let id = post(&stage, &[("wal-delay", "1h")], "x").await;
    let moved = ask(&stage, "PATCH", &id, "{\"deliver_at\":\"2999-01-01T00:00:00Z\"}").await;
    assert_eq!((moved.status, &moved.json().unwrap()["code"]), (422, &json!("delay-too-long")));
    assert_eq!(ask(&stage, "DELETE", &id, "").await.status, 200);
    let again = ask(&stage, "DELETE", &id, "").await;
    assert_eq!((again.status, &again.json().unwrap()["targets"]["hook"]["state"]), (200, &json!("cancelled")));
    let soon = post(&stage, &[("wal-delay", "1h")], "soon").await;
    let answer = ask(&stage, "PATCH", &soon, "{\"deliver_at\":\"2020-01-01T00:00:00Z\"}").await;
    assert_eq!(answer.status, 200, "{:?}", answer.text);
    state_is(&stage, &soon, "delivered").await;
    let late = ask(&stage, "DELETE", &soon, "").await;
    assert_eq!((late.status, &late.json().unwrap()["code"]), (409, &json!("too-late")));
    stage.kill();
    stage.host.start().await.unwrap();
    state_is(&stage, &id, "cancelled").await;
    assert!(receiver.deliveries().iter().all(|d| d.value == "soon"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_410_pauses_the_target_until_it_is_resumed_by_hand() {
    let receiver = Receiver::start().await.unwrap();
    receiver.always(410);
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let id = post(&stage, &[], "x").await;
    let target = state_is(&stage, &id, "held").await;
    let why = target["why"].as_str().unwrap();
    assert!(why.contains("http-410") && why.contains("resumed"), "{why}");
    receiver.always(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.confirmed(), 0);
    stage.admin_json("POST", "/admin/v1/namespaces/orders/targets/hook:resume", &json!({})).await.unwrap();
    let target = state_is(&stage, &id, "delivered").await;
    assert_eq!(target["attempts"].as_array().unwrap().last().unwrap()["attempt"], 1, "{target}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_opened_says_why_and_is_opened_by_a_reload() {
    let receiver = Receiver::start().await.unwrap();
    let config = orders(&receiver.url(), "") + "headers = { authorization = { file = \"late.secret\" } }\n";
    let stage = Stage::start(&config).await.unwrap();
    let id = post(&stage, &[], "x").await;
    let target = state_is(&stage, &id, "held").await;
    assert!(target["why"].as_str().unwrap().contains("late.secret"), "{target}");
    let shown = stage.admin_get("/admin/v1/namespaces/orders/targets/hook").await.unwrap();
    assert!(shown["refused"]["target"].as_str().unwrap().contains("late.secret"), "{shown}");
    std::fs::write(stage.directory().join("late.secret"), "Bearer later").unwrap();
    stage.admin_json("POST", "/admin/v1/config:reload", &json!({})).await.unwrap();
    state_is(&stage, &id, "delivered").await;
    assert_eq!(receiver.deliveries()[0].header("authorization"), "Bearer later");
}
