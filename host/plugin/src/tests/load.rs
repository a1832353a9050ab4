//! Loading: all or nothing, refusals that name what is wrong, nothing trusted from disk.

use super::guest::{Guest, does, passes};
use super::*;
use walhost_core::Kind;
use walhost_core::plugin::PluginKind;

async fn refused(bench: &Bench, component: Vec<u8>, words: &str) {
    let error = bench.plugins.store(Bytes::from(component)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PluginRejected);
    assert!(error.detail().contains(words), "{}", error.detail());
    assert!(bench.plugins.list().await.unwrap().is_empty(), "a refusal leaves nothing behind");
}

#[tokio::test]
async fn i33_a_good_component_is_described_kept_and_found_again() {
    let bench = Bench::new();
    let component = Bytes::from(passes());
    let info = bench.plugins.store(component.clone()).await.unwrap();
    assert_eq!((info.kind, info.world.as_str()), (PluginKind::Transform, "walhost:plugin/transform-plugin@0.1.0"));
    assert_eq!(info.size_bytes, component.len() as u64);
    assert_eq!(bench.plugins.store(component.clone()).await.unwrap(), info, "idempotent");
    assert_eq!(bench.plugins.list().await.unwrap(), std::slice::from_ref(&info));
    assert_eq!(bench.plugins.component(info.digest).await.unwrap().unwrap(), component);
    // Another process opens the same directory.
    let options = PluginOptions::small(bench.dir.path().into(), Arc::new(OsDisk), Arc::new(SystemClock::default()));
    let again = Plugins::open(options).unwrap();
    assert_eq!(again.info(info.digest).await.unwrap(), Some(info.clone()));
    serves(&*again.transform(&spec(info.digest)).await.unwrap()).await;
    assert!(again.remove(info.digest).await.unwrap());
    assert!(!again.remove(info.digest).await.unwrap());
    assert_eq!(again.transform(&spec(info.digest)).await.err().unwrap().kind(), Kind::NotFound);
}

#[tokio::test]
async fn i36_what_is_not_a_component_is_refused_with_its_own_sentence() {
    let bench = Bench::new();
    refused(&bench, wat::parse_str("(module)").unwrap(), "core module").await;
    refused(&bench, b"\x7fELF\x02\x01\x01\0\0".to_vec(), ".cwasm").await;
    refused(&bench, b"(component)".to_vec(), "text").await;
    let mut torn = passes();
    torn.truncate(torn.len() / 2);
    refused(&bench, torn, "not a valid component").await;
}

#[tokio::test]
async fn i31_an_unknown_import_is_refused_by_its_name() {
    let bench = Bench::new();
    let items = r#"(import "other:things/launch@1.0.0" "missiles" (func $launch))"#;
    let guest =
        Guest { imports: "import other:things/launch@1.0.0;", items, run: "(call $launch)", ..Guest::default() };
    refused(&bench, guest.build(), "other:things/launch@1.0.0").await;
    let component = wat::parse_str(r#"(component (import "log" (func)))"#).unwrap();
    refused(&bench, component, "exports no interface").await;
}

#[tokio::test]
async fn i31_a_transform_cannot_import_http() {
    let bench = Bench::new();
    let items = r#"(import "walhost:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let guest = Guest { imports: "import walhost:plugin/http@0.1.0;", items, ..Guest::default() };
    refused(&bench, guest.build(), "only sinks").await;
}

#[tokio::test]
async fn a_mismatch_is_said_in_words() {
    let bench = Bench::new();
    let frozen = include_str!("../../../../wit/0.1.0/plugin.wit");
    let fewer = frozen.replace("    appended-at-ms: u64,\n", "");
    assert_ne!(fewer, frozen);
    refused(
        &bench,
        Guest { wit: &fewer, ..Guest::default() }.build(),
        "expected 7 fields, found 6: missing `appended-at-ms`",
    )
    .await;
    let other = frozen.replace("    attempt: u32,\n", "    attempt: u64,\n");
    assert_ne!(other, frozen);
    refused(&bench, Guest { wit: &other, ..Guest::default() }.build(), "field `attempt`: expected u32, found u64")
        .await;
}

#[tokio::test]
async fn a_version_that_is_not_served_is_named_and_so_are_those_that_are() {
    let bench = Bench::new();
    let empty =
        wat::parse_str(r#"(component (instance $i) (export "walhost:plugin/transform@9.0.0" (instance $i)))"#).unwrap();
    refused(&bench, empty, "walhost:plugin@9.0.0; this host serves 0.1.0").await;
    let half =
        wat::parse_str(r#"(component (instance $i) (export "walhost:plugin/transform@0.1.0" (instance $i)))"#).unwrap();
    refused(&bench, half, "lifecycle").await;
    let both = wat::parse_str(
        r#"(component (instance $i) (export "walhost:plugin/transform@0.1.0" (instance $i)) (export "walhost:plugin/sink@0.1.0" (instance $i)))"#,
    )
    .unwrap();
    refused(&bench, both, "one of the two").await;
}

/// An `init` that fails with the text at 4096.
const FAILING: &str = "(i32.store (i32.const 4096) (i32.const 0x21206f6e)) (i32.store8 (i32.const 2048) (i32.const 1))
    (i32.store (i32.const 2052) (i32.const 4096)) (i32.store (i32.const 2056) (i32.const 4)) (return (i32.const 2048))";

#[tokio::test]
async fn i33_an_init_that_fails_traps_or_never_ends_refuses_the_load() {
    let bench = Bench::new();
    for (init, words) in [
        (FAILING, "its init refuses: no !"),
        ("unreachable", "plugin-trap"),
        ("(loop $again (br $again))", "CPU limit 300 ms"),
        ("(drop (memory.grow (i32.const 5000))) unreachable", "memory limit 4 MiB"),
    ] {
        let error = bench.transform(Guest { init, ..Guest::default() }.build(), |_| {}).await.err().unwrap();
        assert_eq!(error.kind(), Kind::PluginRejected);
        assert!(error.detail().contains(words), "{}", error.detail());
    }
    assert!(bench.plugins.calls().is_empty(), "nothing is loaded");
}

#[tokio::test]
async fn limits_and_settings_that_cannot_be_kept_are_refused() {
    let bench = Bench::new();
    for (change, words) in [
        (
            Box::new(|spec: &mut PluginSpec| spec.limits.memory = Some("2GiB".parse().unwrap()))
                as Box<dyn FnOnce(&mut PluginSpec)>,
            "memory",
        ),
        (Box::new(|spec: &mut PluginSpec| spec.limits.instances = Some(0)), "instances"),
        (Box::new(|spec: &mut PluginSpec| spec.limits.deadline = Some("1h".parse().unwrap())), "deadline"),
        (Box::new(|spec: &mut PluginSpec| spec.settings = serde_json::json!([1])), "JSON object"),
        (Box::new(|spec: &mut PluginSpec| spec.limits.memory = Some("64KiB".parse().unwrap())), "memory limit 64 KiB"),
    ] {
        let error = bench.transform(passes(), change).await.err().unwrap();
        assert!(error.kind() == Kind::PluginRejected && error.detail().contains(words), "{}", error.detail());
    }
}

#[tokio::test]
async fn a_transform_does_not_fit_the_slot_of_a_sink() {
    let bench = Bench::new();
    let error = bench.sink(passes(), |_| {}).await.err().unwrap();
    assert!(error.detail().contains("it is a transform"), "{}", error.detail());
}

#[tokio::test]
async fn i36_damaged_native_code_is_compiled_again_and_never_run() {
    let bench = Bench::new();
    let digest = bench.stored(passes()).await;
    let compiled = std::fs::read_dir(bench.dir.path().join("compiled")).unwrap().next().unwrap().unwrap().path();
    let code = compiled.join(format!("{}.code", digest.to_string().replace(':', "-")));
    let whole = std::fs::read(&code).unwrap();
    for damage in [0, 8, 40, 72, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[damage] ^= 1;
        std::fs::write(&code, &bytes).unwrap();
        serves(&*bench.plugins.transform(&spec(digest)).await.unwrap()).await;
        assert_eq!(std::fs::read(&code).unwrap().len(), whole.len(), "the cache is mended");
        assert_ne!(std::fs::read(&code).unwrap(), bytes);
    }
    // A damaged component is an error, not a surprise.
    let component = bench.dir.path().join("components").join(format!("{}.wasm", digest.to_string().replace(':', "-")));
    let mut bytes = std::fs::read(&component).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&component, bytes).unwrap();
    assert_eq!(bench.plugins.transform(&spec(digest)).await.err().unwrap().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_guest_sees_its_settings_and_its_own_place() {
    let items = r#"
        (import "walhost:plugin/config@0.1.0" "settings" (func $settings (param i32)))
        (import "walhost:plugin/context@0.1.0" "namespace" (func $namespace (param i32)))
        (import "walhost:plugin/context@0.1.0" "time-left-ms" (func $left (result i64)))
        (import "walhost:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    let say =
        "(call $log (i32.const 2) (i32.load (i32.const 3000)) (i32.load (i32.const 3004)) (i32.const 0) (i32.const 0))";
    let run = format!(
        "(call $settings (i32.const 3000)) {say} (call $namespace (i32.const 3000)) {say}
         (if (i64.gt_u (call $left) (i64.const 2000)) (then unreachable))"
    );
    let bench = Bench::new();
    let transform = bench.transform(Guest { items, run: &run, ..Guest::default() }.build(), |_| {}).await.unwrap();
    transform.apply(&evil()).await.unwrap();
    assert_eq!(bench.lines(), [r#"{"index":"movies"}"#, "catalog"]);
}

#[tokio::test]
async fn a_sink_delivers_and_its_check_makes_an_instance() {
    let bench = Bench::new();
    let component = Guest { world: "sink-plugin", run: "unreachable", ..Guest::default() }.build();
    let sink = bench.sink(component, |_| {}).await.unwrap();
    let verdicts = sink.deliver(&good()).await.unwrap();
    assert_eq!(verdicts, [walhost_core::Verdict::Delivered, walhost_core::Verdict::Delivered]);
    assert!(sink.check().await.unwrap().contains("accepts its settings"));
    assert_eq!(sink.deliver(&evil()).await.unwrap_err().code, "plugin-trap");
    assert!(sink.deliver(&[]).await.unwrap().is_empty());
}

#[test]
fn an_inspection_needs_no_store_and_shows_what_is_missing() {
    let items = r#"(import "walhost:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let component = Guest { world: "sink-plugin", items, ..Guest::default() }.build();
    let found = crate::inspect(&component, &Grants::default()).unwrap();
    assert_eq!((found.kind, found.size_bytes), (PluginKind::Sink, component.len() as u64));
    let http = found.imports.iter().find(|(name, _)| name == "walhost:plugin/http@0.1.0").unwrap();
    assert!(http.1.as_ref().unwrap().contains("needs a grant"));
    assert!(crate::inspect(b"(component)", &Grants::default()).is_err());
    assert!(crate::inspect(&does(""), &Grants::default()).unwrap().compiled_bytes > 0);
}
