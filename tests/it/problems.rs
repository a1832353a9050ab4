//! Every refusal is problem+json with a stable code, from every layer, the router's included.

use crate::stage::{Stage, orders};
use std::time::Duration;
use walhost_tests::http::Answer;
use walhost_tests::receiver::Receiver;

fn is_problem(answer: &Answer, status: u16, code: &str) {
    let text = String::from_utf8_lossy(&answer.text);
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{text}");
    let problem = answer.json().unwrap();
    assert_eq!(problem["code"], code, "{text}");
    assert_eq!(problem["status"], status, "{text}");
    assert_eq!(problem["type"], format!("/problems/{code}"), "{text}");
    for name in ["title", "detail", "request_id"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {text}");
    }
    if status == 429 || status == 503 {
        assert!(answer.headers.contains_key("retry-after"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_answer_every_wrong_request_with_a_problem() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "key = \"/id\"")).await.unwrap();
    let records = "/v1/namespaces/orders/records";
    let json = ("content-type", "application/json");
    let ndjson = ("content-type", "application/x-ndjson");
    let ingest: [(&str, &str, &[(&str, &str)], &str, u16, &str); 16] = [
        ("POST", "/v1/namespaces/nobody/records", &[], "x", 404, "unknown-namespace"),
        ("POST", "/v1/namespaces/No_Name/records", &[], "x", 404, "unknown-namespace"),
        ("GET", "/nowhere", &[], "", 404, "not-found"),
        ("PUT", records, &[], "x", 405, "method-not-allowed"),
        ("POST", records, &[ndjson], "{\"id\":1}\n{oops\n", 400, "malformed-json"),
        ("POST", records, &[("wal-delay", "soon")], "x", 400, "bad-header"),
        ("POST", records, &[("wal-deliver-at", "tomorrow")], "x", 400, "bad-header"),
        ("POST", records, &[("wal-header-webhook-id", "1")], "x", 400, "bad-header"),
        ("POST", records, &[("wal-header-content-length", "1")], "x", 400, "bad-header"),
        ("POST", records, &[("wal-header-wal-key", "1")], "x", 400, "bad-header"),
        ("POST", records, &[("idempotency-key", "")], "x", 400, "bad-header"),
        ("POST", records, &[("wal-tombstone", "true")], "x", 400, "bad-header"),
        ("POST", records, &[("wal-delay", "9999d")], "x", 422, "delay-too-long"),
        ("POST", records, &[("content-encoding", "br")], "x", 415, "unsupported-media-type"),
        ("GET", "/v1/namespaces/orders/records/no-such-id", &[], "", 404, "not-found"),
        ("GET", "/v1/namespaces/nobody", &[], "", 404, "unknown-namespace"),
    ];
    for (method, path, headers, value, status, code) in ingest {
        let url = format!("{}{path}", stage.ingest);
        let answer = stage.client.send(method, &url, headers, value.to_owned().into()).await.unwrap();
        eprintln!("{method} {path} {headers:?}");
        is_problem(&answer, status, code);
    }
    let admin: [(&str, &str, &[(&str, &str)], &str, u16, &str); 10] = [
        ("GET", "/admin/v1/nowhere", &[], "", 404, "not-found"),
        ("PATCH", "/admin/v1/info", &[], "", 405, "method-not-allowed"),
        ("GET", "/admin/v1/namespaces/nobody", &[], "", 404, "unknown-namespace"),
        ("GET", "/admin/v1/namespaces/orders/targets/nobody", &[], "", 404, "not-found"),
        ("POST", "/admin/v1/plugins", &[("content-type", "application/wasm")], "not wasm", 422, "plugin-rejected"),
        ("PUT", "/admin/v1/namespaces/orders/slots/hook.transform", &[json], "{", 400, "malformed-json"),
        ("GET", "/admin/v1/tasks/nothing", &[], "", 404, "not-found"),
        ("GET", "/admin/v1/namespaces/orders/dlq/nothing", &[], "", 404, "not-found"),
        (
            "POST",
            "/admin/v1/namespaces/orders/dlq:purge",
            &[json],
            "{\"filter\":{},\"expect_count\":17}",
            409,
            "conflict",
        ),
        ("GET", "/admin/v1/namespaces/orders/dlq?limit=many", &[], "", 400, "bad-request"),
    ];
    for (method, path, headers, value, status, code) in admin {
        let url = format!("{}{path}", stage.admin);
        let answer = stage.client.send(method, &url, headers, value.to_owned().into()).await.unwrap();
        eprintln!("{method} {path}");
        let said = answer.json().unwrap()["code"].as_str().unwrap_or_default().to_owned();
        // The contract leaves the code of these two to the host; the rest it names.
        let code = if matches!(code, "conflict" | "bad-request") { said.as_str() } else { code };
        is_problem(&answer, status, code);
        let page = stage.client.get(&format!("{}/problems/{said}", stage.admin)).await.unwrap();
        assert_eq!(page.status, 200, "/problems/{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_is_named_and_nothing_of_the_batch_is_kept() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "key = \"/id\"")).await.unwrap();
    let headers = [("content-type", "application/x-ndjson")];
    let answer = stage.post("orders", &headers, "{\"id\":1}\n{\"id\":2}\n{\"id\":\n").await.unwrap();
    is_problem(&answer, 400, "malformed-json");
    assert_eq!(answer.json().unwrap()["errors"][0]["line"], 3);
    assert_eq!(stage.post("orders", &[], "after").await.unwrap().status, 202);
    stage.until("the one", Duration::from_secs(10), async |_| Ok(receiver.confirmed()), |n| *n == 1).await.unwrap();
    assert_eq!(receiver.deliveries()[0].value, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i25_a_namespace_over_its_rate_or_backlog_is_told_to_wait_and_nothing_is_dropped() {
    let receiver = Receiver::start().await.unwrap();
    receiver.always(503);
    let more = "limits = { record = \"4KiB\", batch = \"8KiB\", backlog = \"64KiB\" }\nbreaker = { open = \"200ms\", max_open = \"300ms\" }\nretry = { initial = \"50ms\", max_interval = \"100ms\" }";
    let stage = Stage::start(&orders(&receiver.url(), more)).await.unwrap();
    let mut accepted = 0;
    let refused = loop {
        let answer = stage.post("orders", &[], vec![b'x'; 1_024]).await.unwrap();
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 1_000, "the backlog limit is never reached");
    };
    is_problem(&refused, 429, "quota-exceeded");
    receiver.always(200);
    let all = async |_: &walhost_tests::host::Host| Ok(receiver.confirmed());
    stage.until("all of them", Duration::from_secs(20), all, |seen| *seen >= accepted).await.unwrap();
    assert_eq!(stage.post("orders", &[], "room again").await.unwrap().status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i45_a_namespace_of_another_shard_is_sent_there() {
    let config = "[shards.ads]\nurl = \"http://ads.wal.internal:7070\"\n[namespaces.clicks]\nshard = \"ads\"\n";
    let stage = Stage::start(config).await.unwrap();
    let answer = stage.post("clicks", &[], "x").await.unwrap();
    is_problem(&answer, 421, "wrong-shard");
    assert_eq!(answer.json().unwrap()["location"], "http://ads.wal.internal:7070");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i26_sigterm_answers_what_is_open_and_ends_with_0() {
    let receiver = Receiver::start().await.unwrap();
    let mut stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let post = |number: usize| {
        let (client, url) = (stage.client.clone(), format!("{}/v1/namespaces/orders/records", stage.ingest));
        tokio::spawn(async move { client.send("POST", &url, &[], format!("{number}").into()).await })
    };
    let posts: Vec<_> = (0..200).map(post).collect();
    // Some are answered, others open, when the signal comes.
    let some = async |host: &walhost_tests::host::Host| host.metric("walhost_ingest_records_total", &[]).await;
    stage.until("the first receipts", Duration::from_secs(15), some, |n| *n > 0.0).await.unwrap();
    let status = stage.host.stop().await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", stage.log());
    let mut accepted = 0;
    for post in posts {
        match post.await.unwrap() {
            Ok(answer) if answer.status == 202 => accepted += 1,
            Ok(answer) => is_problem(&answer, 503, "draining"),
            // Not accepted any more: the listener was closed.
            Err(_) => {}
        }
    }
    stage.host.start().await.unwrap();
    let pending = async |host: &walhost_tests::host::Host| {
        host.metric("walhost_accounting_records", &["state=\"delivered\""]).await
    };
    stage.until("all accepted", Duration::from_secs(15), pending, |n| *n as usize == accepted).await.unwrap();
    assert!(accepted > 0, "no request was in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i08_a_data_directory_in_use_is_refused_with_a_sentence() {
    let receiver = Receiver::start().await.unwrap();
    let stage = Stage::start(&orders(&receiver.url(), "")).await.unwrap();
    let other = stage.directory().join("other.toml");
    let ports = walhost_tests::host::Ports::free().unwrap();
    std::fs::write(&other, ports.config("it")).unwrap();
    let output = std::process::Command::new(crate::stage::binary().unwrap())
        .arg("serve")
        .arg("-c")
        .arg(&other)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert_eq!(stage.post("orders", &[], "still there").await.unwrap().status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i38_i39_a_token_opens_what_its_scopes_say_and_nothing_else() {
    // SHA-256 of `adm`, `pl` and `ing`.
    let tokens = "[[tokens]]\nname = \"adm\"\nscopes = [\"admin\"]\n\
        hash = \"sha256:86f65e28a754e1a71b2df9403615a6c436c32c42a75a10d02813961b86f1e428\"\n\
        [[tokens]]\nname = \"pl\"\nscopes = [\"plugins:orders\"]\n\
        hash = \"sha256:3485639faf1591f3c16f295198e9389db5b33c949587ec48663597d4e00299d5\"\n\
        [[tokens]]\nname = \"ing\"\nscopes = [\"ingest:orders\"]\n\
        hash = \"sha256:91af7d847f80f22c5ef0d11588ce9bb5d10d9ba7e8f83f380f807ab3066eb289\"\n";
    let receiver = Receiver::start().await.unwrap();
    let listeners = "[server.ingest.tokens]\nfile = \"tokens.toml\"\n[server.admin.tokens]\nfile = \"tokens.toml\"\n";
    let mut stage = Stage::set(&format!("{listeners}{}", orders(&receiver.url(), ""))).unwrap();
    std::fs::write(stage.directory().join("tokens.toml"), tokens).unwrap();
    stage.host.start().await.unwrap();
    let stage = &stage;
    let ask = async |token: &str, method: &str, url: String, value: Vec<u8>| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/wasm")];
        let answer = stage.client.send(method, &url, &headers, value.into()).await.unwrap();
        (answer.status, answer.json().unwrap()["digest"].as_str().unwrap_or_default().to_owned())
    };
    let records = |namespace: &str| format!("{}/v1/namespaces/{namespace}/records", stage.ingest);
    assert_eq!(ask("ing", "POST", records("orders"), b"x".to_vec()).await.0, 202);
    assert_eq!(ask("ing", "POST", records("other"), b"x".to_vec()).await.0, 403, "whether it exists is not told");
    assert_eq!(ask("no", "POST", records("orders"), b"x".to_vec()).await.0, 401);
    let admin = |path: &str| format!("{}{path}", stage.admin);
    assert_eq!(ask("ing", "GET", admin("/admin/v1/info"), Vec::new()).await.0, 403);
    assert_eq!(ask("adm", "GET", admin("/admin/v1/info"), Vec::new()).await.0, 200);
    assert_eq!(stage.client.get(&admin("/metrics")).await.unwrap().status, 401);
    let (status, digest) = ask("pl", "POST", admin("/admin/v1/plugins"), crate::guest::passes()).await;
    assert_eq!(status, 201);
    let slot = admin("/admin/v1/namespaces/orders/slots/hook.transform");
    let put =
        |grants: serde_json::Value| serde_json::json!({ "digest": digest, "grants": grants }).to_string().into_bytes();
    let secret = put(serde_json::json!({ "secrets": { "home": { "env": "HOME" } } }));
    assert_eq!(
        ask("pl", "PUT", slot.clone(), secret.clone()).await.0,
        403,
        "the host's secrets are not a plugin author's"
    );
    assert_eq!(ask("pl", "PUT", slot.clone(), put(serde_json::json!({}))).await.0, 200);
    assert_eq!(ask("adm", "PUT", slot, secret).await.0, 200);
    assert!(!stage.log().contains("Bearer"));
}
