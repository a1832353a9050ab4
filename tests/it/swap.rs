//! Fifty hot loads under load: none lost, none mixed, nobody waits.

use crate::stage::{Stage, component};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use walhost_tests::host::Host;
use walhost_tests::http::{Client, Reply};
use walhost_tests::receiver::Receiver;

const SWAPS: usize = 50;
/// Far longer than a swap may take: a swap that waited for a retry would show.
const RETRY: &str = "retry = { initial = \"4s\", max_interval = \"4s\", jitter = \"none\" }";

/// The same plugin under another digest: a custom section changes nothing but that.
fn marked(component: &[u8], mark: &str) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let name = format!("mark-{mark}");
    bytes.extend([0, u8::try_from(name.len() + 1).unwrap(), u8::try_from(name.len()).unwrap()]);
    bytes.extend(name.as_bytes());
    bytes
}

/// Posts until told to stop; every answer must be 202.
async fn produce(client: Client, url: String, stop: Arc<AtomicBool>, ids: Arc<Mutex<Vec<String>>>) -> usize {
    let mut refused = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = "{\"email\":\"a@b.c\"}\n".repeat(10);
        let headers = [("content-type", "application/x-ndjson")];
        let answer = client.send("POST", &url, &headers, text.into()).await.unwrap();
        if answer.status == 202 {
            let receipt = answer.json().unwrap();
            ids.lock()
                .unwrap()
                .extend(receipt["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
        } else {
            refused += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i33_fifty_swaps_under_load_lose_nothing_and_mix_nothing() {
    let mask = component("mask").unwrap();
    let (swapped, sibling) = (Receiver::start().await.unwrap(), Receiver::start().await.unwrap());
    let counter = AtomicUsize::new(0);
    // One delivery in ten fails, at the target that is swapped.
    swapped.answer(move |_| {
        let fails = counter.fetch_add(1, Ordering::Relaxed) % 10 == 9;
        Reply { delay: Duration::from_millis(1), ..Reply::new(if fails { 500 } else { 200 }, "{}") }
    });
    let config = format!(
        "[namespaces.people]\nbreaker = {{ failures = 1000 }}\nconcurrency = 8\n{RETRY}\n\
         [namespaces.people.targets.swapped]\ntype = \"http\"\nurl = \"{}\"\n\
         [namespaces.people.targets.sibling]\ntype = \"http\"\nurl = \"{}\"\n",
        swapped.url(),
        sibling.url()
    );
    let stage = Stage::start(&config).await.unwrap();
    let versions = [
        ("A", stage.upload(marked(&mask, "A")).await.unwrap()),
        ("B", stage.upload(marked(&mask, "B")).await.unwrap()),
    ];
    assert_ne!(versions[0].1, versions[1].1);
    let load = async |number: usize| {
        let (with, digest) = &versions[number % 2];
        let slot = json!({ "digest": digest, "settings": { "fields": ["/email"], "with": with } });
        stage.admin_json("PUT", "/admin/v1/namespaces/people/slots/swapped.transform", &slot).await
    };
    load(0).await.unwrap();

    let (stop, ids) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let url = format!("{}/v1/namespaces/people/records?ids=true", stage.ingest);
    let producers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(produce(Client::new(), url.clone(), Arc::clone(&stop), Arc::clone(&ids))))
        .collect();
    let mut longest = Duration::ZERO;
    for number in 1..=SWAPS {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let begun = Instant::now();
        let answer = load(number).await.unwrap();
        longest = longest.max(begun.elapsed());
        assert_eq!(answer["new_digest"], json!(versions[number % 2].1), "{answer}");
        assert_eq!(answer["old_digest"], json!(versions[(number + 1) % 2].1), "{answer}");
    }
    stop.store(true, Ordering::Relaxed);
    for producer in producers {
        assert_eq!(producer.await.unwrap(), 0, "a request failed while plugins were swapped");
    }
    assert!(longest < Duration::from_secs(3), "a swap took {longest:?}: it waited for a retry");

    let ids = ids.lock().unwrap().clone();
    let pending = async |host: &Host| host.metric("walhost_accounting_records", &["state=\"pending\""]).await;
    stage.until("everything is settled", Duration::from_secs(60), pending, |n| *n == 0.0).await.unwrap();
    let dead = stage.metric("walhost_accounting_records", &["state=\"dead\""]).await.unwrap();
    assert_eq!(dead, 0.0);
    let mark = |digest: &Value| versions.iter().find(|(_, known)| digest == known).map(|(with, _)| *with).unwrap();

    // Every delivery, failed ones too, by record and attempt.
    let mut outputs: HashMap<(String, u64), Vec<String>> = HashMap::new();
    for delivery in swapped.deliveries().iter() {
        let value: Value = serde_json::from_slice(&delivery.value).unwrap();
        let attempt = delivery.header("wal-attempt").parse().unwrap();
        outputs.entry((delivery.id.clone(), attempt)).or_default().push(value["email"].as_str().unwrap().to_owned());
    }
    let (mut attempts_seen, mut by_mark) = (0, HashMap::<String, usize>::new());
    for id in &ids {
        let url = format!("{}/v1/namespaces/people/records/{id}", stage.ingest);
        let state = stage.client.get(&url).await.unwrap().success().unwrap();
        for name in ["swapped", "sibling"] {
            assert_eq!(state["targets"][name]["state"], "delivered", "{state}");
        }
        for attempt in state["targets"]["swapped"]["attempts"].as_array().unwrap() {
            let key = (id.clone(), attempt["attempt"].as_u64().unwrap());
            let wanted = mark(&attempt["digest"]);
            assert_eq!(outputs.get(&key).map(Vec::as_slice), Some([wanted.to_owned()].as_slice()), "{id}: {attempt}");
            *by_mark.entry(wanted.to_owned()).or_default() += 1;
            attempts_seen += 1;
        }
    }
    assert!(attempts_seen > ids.len(), "no attempt failed: the target should fail one in ten");
    assert!(by_mark.len() == 2 && by_mark.values().all(|count| *count > ids.len() / 10), "{by_mark:?}");
    let plain = sibling.deliveries();
    assert_eq!(plain.len(), ids.len(), "the sibling got each record once");
    assert!(plain.iter().all(|delivery| delivery.value == "{\"email\":\"a@b.c\"}"));
    println!("{SWAPS} swaps, the longest {longest:?}; {} records, {attempts_seen} attempts, {by_mark:?}", ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i33_a_refused_load_leaves_the_old_version_serving_and_rollback_is_one_command() {
    let receiver = Receiver::start().await.unwrap();
    let config = format!("[namespaces.people.targets.hook]\ntype = \"http\"\nurl = \"{}\"\n", receiver.url());
    let mut stage = Stage::start(&config).await.unwrap();
    let mask = stage.upload(component("mask").unwrap()).await.unwrap();
    let path = "/admin/v1/namespaces/people/slots/hook.transform";
    let with = |text: &str| json!({ "digest": mask, "settings": { "fields": ["/email"], "with": text } });
    stage.admin_json("PUT", path, &with("one")).await.unwrap();
    let put = |slot: Value| {
        let url = format!("{}{path}", stage.admin);
        let client = stage.client.clone();
        async move {
            client.send("PUT", &url, &[("content-type", "application/json")], slot.to_string().into()).await.unwrap()
        }
    };
    // Settings that the plugin itself refuses, a digest that nobody has, a sink where a transform goes.
    let bad = put(json!({ "digest": mask, "settings": { "fields": "none" } })).await;
    assert_eq!((bad.status, &bad.json().unwrap()["code"]), (422, &json!("plugin-rejected")), "{:?}", bad.text);
    let unknown = put(json!({ "digest": format!("sha256:{}", "0".repeat(64)) })).await;
    assert!(unknown.status == 404 || unknown.status == 422, "{:?}", unknown.text);
    let sink = stage.upload(component("webhook").unwrap()).await.unwrap();
    assert_eq!(put(json!({ "digest": sink, "settings": { "url": receiver.url() } })).await.status, 422);
    let one = async |stage: &Stage, wanted: &str| {
        let receipt = stage.post("people", &[], "{\"email\":\"x\"}").await.unwrap().success().unwrap();
        let find = async |_: &Host| Ok(receiver.deliveries().iter().find(|d| receipt["id"] == d.id.as_str()).cloned());
        let delivery =
            stage.until("the delivery", Duration::from_secs(10), find, Option::is_some).await.unwrap().unwrap();
        let value: Value = serde_json::from_slice(&delivery.value).unwrap();
        assert_eq!(value["email"], wanted);
    };
    one(&stage, "one").await;
    stage.admin_json("PUT", path, &with("two")).await.unwrap();
    one(&stage, "two").await;
    stage.admin_json("POST", &format!("{path}:rollback"), &json!({})).await.unwrap();
    one(&stage, "one").await;
    stage.kill();
    stage.host.start().await.unwrap();
    one(&stage, "one").await;
    let versions = stage.admin_get(&format!("{path}/versions")).await.unwrap();
    assert!(versions["items"].as_array().unwrap().len() >= 2, "{versions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i34_a_version_that_faults_in_its_first_batches_is_taken_back_by_itself() {
    let receiver = Receiver::start().await.unwrap();
    let config = format!(
        "[namespaces.people.targets.hook]\ntype = \"http\"\nurl = \"{}\"\nauto_rollback = true\n\
         retry = {{ initial = \"50ms\", max_interval = \"100ms\" }}\n",
        receiver.url()
    );
    let stage = Stage::start(&config).await.unwrap();
    let path = "/admin/v1/namespaces/people/slots/hook.transform";
    let good = stage.upload(crate::guest::passes()).await.unwrap();
    let bad = stage.upload(crate::guest::does("unreachable")).await.unwrap();
    for digest in [&good, &bad] {
        stage.admin_json("PUT", path, &json!({ "digest": digest })).await.unwrap();
    }
    assert_eq!(stage.admin_get(path).await.unwrap()["digest"], json!(bad));
    assert_eq!(stage.post("people", &[], "!1").await.unwrap().status, 202);
    let slot = async |host: &Host| host.admin_get(path).await;
    stage
        .until("the version before", Duration::from_secs(15), slot, |slot| slot["digest"] == json!(good))
        .await
        .unwrap();
    let confirmed = async |_: &Host| Ok(receiver.confirmed());
    stage.until("the record", Duration::from_secs(15), confirmed, |count| *count == 1).await.unwrap();
    let audit = stage.admin_get("/admin/v1/audit?limit=20").await.unwrap();
    assert!(
        audit["items"].as_array().unwrap().iter().any(|change| change["action"] == "slot.auto-rollback"),
        "{audit}"
    );
}
