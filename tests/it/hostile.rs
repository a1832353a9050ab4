//! Eight components that want to hurt, loaded into the real host while a neighbour namespace flows.

use crate::guest::{Guest, does, passes};
use crate::stage::Stage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use walhost_tests::host::Host;
use walhost_tests::receiver::Receiver;

/// Answers `$i` outcomes at `$answers`.
const ANSWER: &str = "(i32.store (i32.const 1024) (local.get $answers)) (i32.store (i32.const 1028) (local.get $i)) (return (i32.const 1024))";
/// Records of one POST of the neighbour, and the pause between two of them: 1,000 records a second.
const NEIGHBOUR: (usize, Duration) = (10, Duration::from_millis(10));

/// How often a neighbour that fell behind is looked at again.
const TRIES: usize = 3;

/// What each does when a value begins with `!`, and the code that its dead letters have.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let huge = format!(
        "(drop (memory.grow (i32.const 64))) (memory.fill (i32.const 2800) (i32.const 0) (i32.const 200))
         (i32.store (i32.const 2920) (i32.const 0)) (i32.store (i32.const 2924) (i32.const 4000000))
         (i32.store8 (i32.const 2800) (i32.const 1))
         (i32.store (i32.const 2808) (i32.const 2900)) (i32.store (i32.const 2812) (i32.const 1))
         (local.set $answers (i32.const 2800)) (local.set $i (i32.const 1)) {ANSWER}"
    );
    let grow = "(loop $again (if (i32.eq (i32.const -1) (memory.grow (i32.const 16))) (then unreachable)) (br $again))";
    vec![
        ("endless loop", does("(loop $again (br $again))"), "plugin-deadline"),
        ("allocation", does(grow), "plugin-memory"),
        ("recursion", does("(return (call $run (local.get $batch) (local.get $count)))"), "plugin-trap"),
        ("trap", does("unreachable"), "plugin-trap"),
        ("wrong count", does(&format!("(local.set $i (i32.const 0)) {ANSWER}")), "plugin-count"),
        ("huge output", does(&huge), "plugin-output"),
    ]
}

/// Posts to the neighbour at its rate until told to stop; answers how many records were acknowledged.
async fn neighbour(host: (walhost_tests::http::Client, String), stop: Arc<AtomicBool>) -> usize {
    let (client, url) = host;
    let (records, pause) = NEIGHBOUR;
    let text = "{\"calm\":true}\n".repeat(records);
    let (begun, mut posts) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let headers = [("content-type", "application/x-ndjson")];
        let answer = client.send("POST", &url, &headers, text.clone().into()).await.unwrap();
        assert_eq!(answer.status, 202, "the neighbour was refused: {:?}", answer.text);
        posts += 1;
        tokio::time::sleep((pause * posts).saturating_sub(begun.elapsed())).await;
    }
    posts as usize * records
}

/// Deliveries a second to the neighbour while `meanwhile` runs, for at least two seconds.
async fn rate<T>(stage: &Stage, calm: &Receiver, meanwhile: impl Future<Output = T>) -> (f64, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let url = format!("{}/v1/namespaces/calm/records", stage.ingest);
    let load = tokio::spawn(neighbour((stage.client.clone(), url), Arc::clone(&stop)));
    let (begun, before) = (Instant::now(), calm.confirmed());
    let outcome = meanwhile.await;
    tokio::time::sleep(Duration::from_secs(2).saturating_sub(begun.elapsed())).await;
    let rate = (calm.confirmed() - before) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    (rate, outcome)
}

/// Loads a component into `hurt`, posts five bad records and twenty good ones, and waits for their ends.
/// `times`: how often that was done with this component, this time included.
async fn hurt(stage: &Stage, receiver: &Receiver, component: Vec<u8>, times: usize) -> Vec<Value> {
    let digest = stage.upload(component).await.unwrap();
    let limits = json!({ "memory": "16MiB", "deadline": "400ms", "cpu": "200ms", "output": "1MiB", "instances": 4 });
    let slot = json!({ "digest": digest, "limits": limits });
    stage.admin_json("PUT", "/admin/v1/namespaces/hurt/slots/hook.transform", &slot).await.unwrap();
    let before = receiver.confirmed();
    for number in 0..25 {
        let value = if number % 5 == 0 { format!("!{number}") } else { format!("good {number}") };
        assert_eq!(stage.post("hurt", &[], value).await.unwrap().status, 202);
    }
    let path = format!("/admin/v1/namespaces/hurt/dlq?digest={digest}");
    let letters = async |host: &Host| Ok(host.admin_get(&path).await?["items"].as_array().unwrap().clone());
    let letters =
        stage.until("five dead letters", Duration::from_secs(60), letters, |l| l.len() == 5 * times).await.unwrap();
    let good = async |_: &Host| Ok(receiver.confirmed());
    stage.until("twenty good ones", Duration::from_secs(30), good, |n| *n == before + 20).await.unwrap();
    letters
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i30_hostile_components_are_contained_while_a_neighbour_flows() {
    let (receiver, calm) = (Receiver::start().await.unwrap(), Receiver::start().await.unwrap());
    let config = format!(
        "[namespaces.hurt]\nretry = {{ initial = \"10ms\", max_interval = \"20ms\", max_attempts = 2 }}\n\
         breaker = {{ failures = 1000, rejects = 0 }}\n\
         [namespaces.hurt.targets.hook]\ntype = \"http\"\nurl = \"{}\"\n\
         [namespaces.calm.targets.hook]\ntype = \"http\"\nurl = \"{}\"\n",
        receiver.url(),
        calm.url()
    );
    let mut stage = Stage::start(&config).await.unwrap();
    let id = stage.host.process().unwrap().id();
    let (usual, ()) = rate(&stage, &calm, async {
        let digest = stage.upload(passes()).await.unwrap();
        stage
            .admin_json("PUT", "/admin/v1/namespaces/hurt/slots/hook.transform", &json!({ "digest": digest }))
            .await
            .unwrap();
    })
    .await;
    assert!(usual > 700.0, "the neighbour itself is too slow to judge by: {usual:.0} records/s");
    for (name, component, code) in hostile() {
        // A machine that stalls is slow at everything, for a moment: who is hurt by a neighbour is so each time.
        let (mut fastest, mut letters) = (0.0_f64, Vec::new());
        for times in 1..=TRIES {
            let (meanwhile, seen) = rate(&stage, &calm, hurt(&stage, &receiver, component.clone(), times)).await;
            println!("{name}: neighbour {meanwhile:.0} of {usual:.0} records/s");
            (fastest, letters) = (fastest.max(meanwhile), seen);
            if fastest >= 0.8 * usual {
                break;
            }
        }
        for letter in &letters {
            assert_eq!(
                (&letter["code"], &letter["attempts"], &letter["exhausted"]),
                (&json!(code), &json!(2), &json!("attempts")),
                "{name}"
            );
        }
        assert!(fastest >= 0.8 * usual, "{name}: the neighbour fell from {usual:.0} to {fastest:.0} records/s");
    }
    // The two that are not even taken, each by its own sentence.
    let foreign = Guest {
        imports: "import other:things/launch@1.0.0;",
        items: "(import \"other:things/launch@1.0.0\" \"missiles\" (func $missiles))",
        run: "(call $missiles)",
        ..Guest::default()
    };
    let core = wat::parse_str("(module)").unwrap();
    for (component, words) in [(foreign.build(), "other:things/launch"), (core, "core module")] {
        let url = format!("{}/admin/v1/plugins", stage.admin);
        let answer =
            stage.client.send("POST", &url, &[("content-type", "application/wasm")], component.into()).await.unwrap();
        let problem = answer.json().unwrap();
        assert_eq!((answer.status, &problem["code"]), (422, &json!("plugin-rejected")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    assert_eq!(stage.host.process().unwrap().id(), id);
    assert!(stage.host.process().unwrap().ended().is_none(), "the host is the one that was started");
}
