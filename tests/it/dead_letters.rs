//! Dead letters: listed, grouped, read, redriven, purged; nothing is lost on the way.

use crate::stage::{Stage, orders};
use serde_json::{Value, json};
use std::time::Duration;
use walhost_tests::host::Host;
use walhost_tests::http::Reply;
use walhost_tests::receiver::Receiver;

const SOON: Duration = Duration::from_secs(15);
const DLQ: &str = "/admin/v1/namespaces/orders/dlq";

async fn items(stage: &Stage, query: &str) -> Vec<Value> {
    stage.admin_get(&format!("{DLQ}{query}")).await.unwrap()["items"].as_array().unwrap().clone()
}

async fn dead(host: &Host) -> anyhow::Result<f64> {
    host.metric("walhost_accounting_records", &["namespace=\"orders\"", "state=\"dead\""]).await
}

async fn ended(stage: &Stage, task: &Value) -> Value {
    let path = format!("/admin/v1/tasks/{}", task["task"].as_str().unwrap());
    let look = async |host: &Host| host.admin_get(&path).await;
    stage.until("the task's end", SOON, look, |task| task["state"] != "running").await.unwrap()
}

/// 30 records of which every third is rejected with 422 and the others are taken.
async fn rejected(receiver: &Receiver) -> Stage {
    receiver
        .answer(|received| Reply::new(if received.value.starts_with(b"bad") { 422 } else { 200 }, "{\"why\":\"no\"}"));
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    for number in 0..30 {
        let value = if number % 3 == 0 { format!("bad {number}") } else { format!("good {number}") };
        let answer = stage.post("orders", &[("wal-key", &number.to_string())], value).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    stage.until("ten dead letters", SOON, dead, |count| *count == 10.0).await.unwrap();
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_page_by_page_grouped_and_shown_whole() {
    let receiver = Receiver::start().await.unwrap();
    let stage = rejected(&receiver).await;
    let groups = stage.admin_get(&format!("{DLQ}/groups")).await.unwrap();
    let group = &groups["items"][0];
    assert_eq!((&group["code"], &group["target"], &group["count"]), (&json!("http-422"), &json!("hook"), &json!(10)));
    let mut seen = std::collections::HashSet::new();
    let mut query = "?limit=4".to_owned();
    loop {
        let page = stage.admin_get(&format!("{DLQ}{query}")).await.unwrap();
        for letter in page["items"].as_array().unwrap() {
            assert!(seen.insert(letter["id"].as_str().unwrap().to_owned()), "twice: {letter}");
            assert_eq!(letter["exhausted"], Value::Null);
        }
        match page["next"].as_str() {
            Some(next) => query = format!("?limit=4&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 10);
    let letter = &items(&stage, "?limit=1").await[0];
    let whole = stage.admin_get(&format!("{DLQ}/{}", letter["id"].as_str().unwrap())).await.unwrap();
    assert!(whole["value_text"].as_str().unwrap().starts_with("bad "), "{whole}");
    assert_eq!(letter["attempts"], 1, "{letter}");
    assert_eq!(items(&stage, "?code=http-400").await.len(), 0);
    assert_eq!(items(&stage, "?target=hook&code=http-422").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i17_a_redrive_delivers_each_once_with_its_id_and_goes_on_counting() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = rejected(&receiver).await;
    stage.kill();
    stage.host.start().await.unwrap();
    let ids: std::collections::HashSet<_> =
        items(&stage, "").await.iter().map(|letter| letter["record"].as_str().unwrap().to_owned()).collect();
    let dry = stage
        .admin_json("POST", &format!("{DLQ}:redrive"), &json!({"filter": {"code": "http-422"}, "dry_run": true}))
        .await;
    let dry = ended(&stage, &dry.unwrap()).await;
    assert_eq!((&dry["matched"], &dry["moved"], &dry["state"]), (&json!(10), &json!(0), &json!("done")));
    receiver.always(200);
    let task = stage.admin_json("POST", &format!("{DLQ}:redrive"), &json!({"filter": {}})).await.unwrap();
    let again = stage.admin_json("POST", &format!("{DLQ}:redrive"), &json!({"filter": {}})).await.unwrap();
    let (task, again) = (ended(&stage, &task).await, ended(&stage, &again).await);
    assert_eq!(task["moved"].as_u64().unwrap() + again["moved"].as_u64().unwrap(), 10, "{task} {again}");
    stage.until("no dead letter", SOON, dead, |count| *count == 0.0).await.unwrap();
    stage.until("30 confirmed", SOON, async |_| Ok(receiver.confirmed()), |n| *n >= 30).await.unwrap();
    let again: Vec<_> =
        receiver.deliveries().iter().filter(|d| d.status == 200 && d.value.starts_with(b"bad")).cloned().collect();
    assert_eq!(again.len(), 10);
    for delivery in again {
        assert!(ids.contains(&delivery.id), "{}", delivery.id);
        assert_eq!(delivery.header("wal-attempt"), "2");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_takes_the_number_that_its_operator_expects() {
    let receiver = Receiver::start().await.unwrap();
    let stage = rejected(&receiver).await;
    let url = format!("{}{DLQ}:purge", stage.admin);
    let headers = [("content-type", "application/json")];
    let wrong = json!({"filter": {}, "expect_count": 9}).to_string();
    assert_eq!(stage.client.send("POST", &url, &headers, wrong.into()).await.unwrap().status, 409);
    assert_eq!(dead(&stage.host).await.unwrap(), 10.0);
    stage.admin_json("POST", &format!("{DLQ}:purge"), &json!({"filter": {}, "expect_count": 10})).await.unwrap();
    stage.until("none left", SOON, dead, |count| *count == 0.0).await.unwrap();
    let purged = stage.metric("walhost_accounting_records", &["state=\"purged\""]).await.unwrap();
    assert_eq!(purged, 10.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_always_fails_is_given_up_after_its_attempts_while_others_flow() {
    let receiver = Receiver::start().await.unwrap();
    receiver.answer(|received| Reply::new(if received.value.starts_with(b"bad") { 500 } else { 200 }, "{}"));
    let more = "retry = { initial = \"10ms\", max_interval = \"20ms\", max_attempts = 3 }";
    let stage = Stage::start(&orders(&receiver.url(), more)).await.unwrap();
    stage.post("orders", &[], "bad").await.unwrap();
    for number in 0..50 {
        stage.post("orders", &[], format!("good {number}")).await.unwrap();
    }
    stage.until("one dead letter", SOON, dead, |count| *count == 1.0).await.unwrap();
    stage.until("the others", SOON, async |_| Ok(receiver.confirmed()), |n| *n == 50).await.unwrap();
    let letter = &items(&stage, "").await[0];
    assert_eq!(
        (&letter["code"], &letter["exhausted"], &letter["attempts"]),
        (&json!("http-500"), &json!("attempts"), &json!(3))
    );
    let whole = stage.admin_get(&format!("{DLQ}/{}", letter["id"].as_str().unwrap())).await.unwrap();
    assert_eq!(whole["value_text"], "bad");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i17_a_redrive_that_a_kill_interrupts_goes_on() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = rejected(&receiver).await;
    receiver.always(200);
    let asked = json!({ "filter": { "code": "http-422" }, "rate": "4/s" });
    let task = stage.admin_json("POST", &format!("{DLQ}:redrive"), &asked).await.unwrap();
    let path = format!("/admin/v1/tasks/{}", task["task"].as_str().unwrap());
    let look = async |host: &Host| host.admin_get(&path).await;
    stage.until("two moved", SOON, look, |task| task["moved"].as_u64() >= Some(2)).await.unwrap();
    stage.kill();
    stage.host.start().await.unwrap();
    let end = ended(&stage, &task).await;
    assert_eq!((&end["state"], &end["matched"], &end["moved"]), (&json!("done"), &json!(10), &json!(10)), "{end}");
    stage.until("no dead letter", SOON, dead, |count| *count == 0.0).await.unwrap();
}
