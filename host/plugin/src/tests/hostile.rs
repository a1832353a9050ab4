//! Components that want to hurt: each is contained with its exact fault, the next call works on a fresh
//! instance, and a neighbour is served meanwhile (I30, I32).

use super::guest::{Guest, does, passes};
use super::*;
use walhost_core::Fault;

/// Answers `$count` records with outcomes at `$answers`.
const RETURN_LIST: &str = "(i32.store (i32.const 1024) (local.get $answers)) (i32.store (i32.const 1028) (local.get $i)) (return (i32.const 1024))";

async fn contained(component: Vec<u8>, code: &str, words: &str) -> (Fault, Bench) {
    let bench = Bench::new();
    let neighbour = bench.transform(passes(), |_| {}).await.unwrap();
    let hostile = bench.transform(component, |_| {}).await.unwrap();
    let batch = evil();
    let (broke, ()) = tokio::join!(hostile.apply(&batch), async {
        for _ in 0..20 {
            serves(&*neighbour).await;
        }
    });
    let fault = broke.unwrap_err();
    assert_eq!(fault.code, code, "{fault:?}");
    assert!(fault.message.contains(words), "{fault:?}");
    assert_eq!(fault.digest, hostile.digest());
    // A fresh instance serves; the broken one is never seen again.
    serves(&*hostile).await;
    let calls = bench.plugins.calls().into_iter().find(|calls| Some(calls.digest) == hostile.digest()).unwrap();
    let snapshot = calls.snapshot();
    assert_eq!(snapshot.instances, 2, "one before the fault, one after");
    assert!(
        snapshot.endings.contains(&(crate::metrics::ENDINGS.iter().copied().find(|known| *known == code).unwrap(), 1))
    );
    assert!(snapshot.memory_bytes_peak <= 4 << 20, "never above its limit");
    (fault, bench)
}

#[tokio::test]
async fn i30_an_endless_loop_ends_with_its_cpu_budget() {
    let (fault, _) = contained(does("(loop $again (br $again))"), "plugin-deadline", "CPU limit 100 ms").await;
    assert!(fault.took.as_millis() >= 90, "{:?}", fault.took);
}

#[tokio::test]
async fn i30_a_trap_costs_one_call() {
    contained(does("unreachable"), "plugin-trap", "unreachable").await;
}

#[tokio::test]
async fn i30_division_by_zero_and_wild_pointers_are_traps() {
    contained(does("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), "plugin-trap", "divide by zero").await;
    contained(does("(drop (i32.load (i32.const -8)))"), "plugin-trap", "out of bounds").await;
}

#[tokio::test]
async fn i30_allocation_ends_at_the_memory_limit_by_its_name() {
    let grow = "(loop $again (if (i32.eq (i32.const -1) (memory.grow (i32.const 16))) (then unreachable)) (br $again))";
    contained(does(grow), "plugin-memory", "memory limit 4 MiB").await;
}

#[tokio::test]
async fn i30_one_huge_allocation_is_refused_too() {
    let grow = "(if (i32.eq (i32.const -1) (memory.grow (i32.const 16384))) (then unreachable))";
    contained(does(grow), "plugin-memory", "memory limit 4 MiB").await;
}

#[tokio::test]
async fn i30_a_guest_that_never_stops_asking_for_memory_runs_out_of_cpu() {
    let grow = "(loop $again (drop (memory.grow (i32.const 16384))) (br $again))";
    contained(does(grow), "plugin-deadline", "CPU limit").await;
}

#[tokio::test]
async fn i30_endless_recursion_overflows_its_own_stack() {
    contained(
        does("(return (call $run (local.get $batch) (local.get $count)))"),
        "plugin-trap",
        "call stack exhausted",
    )
    .await;
}

#[tokio::test]
async fn i37_too_few_and_too_many_outcomes_are_a_fault() {
    let none = format!("(local.set $i (i32.const 0)) {RETURN_LIST}");
    contained(does(&none), "plugin-count", "0 outcomes for 1 records").await;
    let many = format!(
        "(local.set $answers (call $new (i32.const 400))) (memory.fill (local.get $answers) (i32.const 0) (i32.const 400)) (local.set $i (i32.const 10)) {RETURN_LIST}"
    );
    contained(does(&many), "plugin-count", "10 outcomes for 1 records").await;
}

#[tokio::test]
async fn i30_a_list_of_a_million_outcomes_is_not_even_read() {
    let huge = format!("(local.set $i (i32.const 1000000)) {RETURN_LIST}");
    contained(does(&huge), "plugin-trap", "out of bounds").await;
    let grown = format!(
        "(drop (memory.grow (i32.const 46))) (local.set $answers (i32.const 65536)) (memory.fill (local.get $answers) (i32.const 0) (i32.const 3000000)) (local.set $i (i32.const 75000)) {RETURN_LIST}"
    );
    contained(does(&grown), "plugin-output", "limit `output`").await;
}

/// One outcome `emit` with one output whose value is `$bytes` long, and one header where asked.
fn emits(bytes: u32, header: Option<(&str, &str)>) -> String {
    let header = header.map_or(String::new(), |(name, value)| {
        let bytes = format!("{name}{value}");
        let stores: String = bytes
            .bytes()
            .enumerate()
            .map(|(at, byte)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", 4096 + at))
            .collect();
        format!(
            "{stores} (i32.store (i32.const 3000) (i32.const 4096)) (i32.store (i32.const 3004) (i32.const {}))
             (i32.store (i32.const 3008) (i32.const {})) (i32.store (i32.const 3012) (i32.const {}))
             (i32.store (i32.const 2912) (i32.const 3000)) (i32.store (i32.const 2916) (i32.const 1))",
            name.len(),
            4096 + name.len(),
            value.len(),
        )
    });
    format!(
        "(memory.fill (i32.const 2800) (i32.const 0) (i32.const 200)) {header}
         (i32.store (i32.const 2920) (i32.const 0)) (i32.store (i32.const 2924) (i32.const {bytes}))
         (i32.store8 (i32.const 2800) (i32.const 1))
         (i32.store (i32.const 2808) (i32.const 2900)) (i32.store (i32.const 2812) (i32.const 1))
         (local.set $answers (i32.const 2800)) (local.set $i (i32.const 1)) {RETURN_LIST}"
    )
}

#[tokio::test]
async fn i37_a_huge_output_is_a_fault_and_one_within_bounds_is_not() {
    contained(does(&emits(1_100_000, None)), "plugin-trap", "out of bounds").await;
    contained(
        does(&format!("(drop (memory.grow (i32.const 46))) {}", emits(2_500_000, None))),
        "plugin-output",
        "limit `output`",
    )
    .await;
    contained(does(&emits(70_000, None)), "plugin-output", "64KiB").await;
    let bench = Bench::new();
    let fits = bench.transform(does(&emits(60_000, Some(("X-A", "b")))), |_| {}).await.unwrap();
    let Outcome::Emit(outputs) = fits.apply(&evil()).await.unwrap().remove(0) else { panic!("emit") };
    assert_eq!((outputs[0].value.len(), outputs[0].headers.text("x-a")), (60_000, Some("b")));
}

#[tokio::test]
async fn i37_malformed_headers_and_names_of_the_host_are_a_fault() {
    contained(does(&emits(1, Some(("a b", "c")))), "plugin-output", "no header name").await;
    contained(does(&emits(1, Some(("a", "b\r\nc: d")))), "plugin-output", "no header can carry").await;
    contained(does(&emits(1, Some(("wal-attempt", "1")))), "plugin-output", "the host's").await;
    contained(does(&emits(1, Some(("traceparent", "00-2")))), "plugin-output", "the host's").await;
    let bench = Bench::new();
    let carries = bench.transform(does(&emits(1, Some(("traceparent", "00-1")))), |_| {}).await.unwrap();
    assert!(carries.apply(&evil()).await.is_ok(), "what the record carries may be carried on");
}

#[tokio::test]
async fn i37_an_unknown_case_and_text_that_is_not_utf8_are_traps() {
    let case = format!(
        "(i32.store8 (i32.const 2800) (i32.const 77)) (local.set $answers (i32.const 2800)) (local.set $i (i32.const 1)) {RETURN_LIST}"
    );
    contained(does(&case), "plugin-trap", "").await;
    let code = format!(
        "(memory.fill (i32.const 2800) (i32.const 0) (i32.const 40)) (i32.store8 (i32.const 2800) (i32.const 4))
         (i32.store8 (i32.const 4096) (i32.const 255)) (i32.store (i32.const 2808) (i32.const 4096)) (i32.store (i32.const 2812) (i32.const 1))
         (local.set $answers (i32.const 2800)) (local.set $i (i32.const 1)) {RETURN_LIST}"
    );
    contained(does(&code), "plugin-trap", "utf-8").await;
}

#[tokio::test]
async fn i30_an_allocator_that_lies_while_records_are_lowered_is_contained() {
    let bench = Bench::new();
    let neighbour = bench.transform(passes(), |_| {}).await.unwrap();
    let liar = Guest { init: "(global.set $next (i32.const -65536))", ..Guest::default() };
    let liar = bench.transform(liar.build(), |_| {}).await.unwrap();
    for _ in 0..2 {
        assert_eq!(liar.apply(&good()).await.unwrap_err().code, "plugin-trap");
        serves(&*neighbour).await;
    }
}

const CLOCK: Guest<'_> = Guest {
    world: "transform-plugin",
    imports: "import wasi:clocks/monotonic-clock@0.2.6; import wasi:io/poll@0.2.6;",
    items: r#"
        (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))
        (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop (param i32)))"#,
    init: "",
    run: "",
    wit: include_str!("../../../../wit/0.1.0/plugin.wit"),
};

#[tokio::test]
async fn i30_a_sleep_ends_with_the_deadline() {
    let bench = Bench::new();
    let sleeps = Guest { run: "(call $block (call $subscribe (i64.const 3600000000000)))", ..CLOCK }.build();
    let hostile = bench.transform(sleeps, |spec| spec.limits.deadline = Some("150ms".parse().unwrap())).await.unwrap();
    let fault = hostile.apply(&evil()).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.message.as_str()), ("plugin-deadline", "deadline 150 ms"));
    serves(&*hostile).await;
}

#[tokio::test]
async fn i30_short_sleeps_without_end_run_out_of_time_too() {
    let bench = Bench::new();
    let naps = Guest {
        run: "(loop $again (local.set $i (call $subscribe (i64.const 1000))) (call $block (local.get $i)) (call $drop (local.get $i)) (br $again))",
        ..CLOCK
    };
    let hostile =
        bench.transform(naps.build(), |spec| spec.limits.deadline = Some("200ms".parse().unwrap())).await.unwrap();
    assert_eq!(hostile.apply(&evil()).await.unwrap_err().code, "plugin-deadline");
    serves(&*hostile).await;
}

#[tokio::test]
async fn i30_a_flood_of_handles_is_stopped() {
    let floods = Guest { run: "(loop $again (drop (call $subscribe (i64.const 1000000000))) (br $again))", ..CLOCK };
    contained(floods.build(), "plugin-trap", "").await;
}

#[tokio::test]
async fn i30_a_flood_of_log_lines_is_dropped_and_counted() {
    let log = r#"(import "walhost:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))"#;
    let run = "(i32.store (i32.const 3000) (i32.const 0x0a410a5b)) (loop $again
        (call $log (i32.const 1) (i32.const 3000) (i32.const 4) (i32.const 0) (i32.const 0))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 10000))))";
    let bench = Bench::new();
    let floods = bench.transform(Guest { items: log, run, ..Guest::default() }.build(), |_| {}).await.unwrap();
    assert_eq!(floods.apply(&evil()).await.unwrap(), [Outcome::Pass]);
    let lines = bench.lines();
    assert!(lines.len() < 300, "{} lines", lines.len());
    assert_eq!(lines.len() as u64 + bench.calls().snapshot().lines_dropped, 10_000);
    assert!(lines.iter().all(|line| line == r"[\nA\n"), "I44: {:?}", lines[0]);
}

#[tokio::test]
async fn i30_a_flood_of_output_becomes_few_lines_of_bounded_length() {
    let imports = "import wasi:cli/stdout@0.2.6; import wasi:io/streams@0.2.6;";
    let items = r#"
        (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))"#;
    let run = "(memory.fill (i32.const 8192) (i32.const 65) (i32.const 4095)) (i32.store8 (i32.const 12287) (i32.const 10))
        (loop $again (call $write (call $stdout) (i32.const 8192) (i32.const 4096) (i32.const 3000))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 500))))";
    let bench = Bench::new();
    let floods = bench.transform(Guest { imports, items, run, ..Guest::default() }.build(), |_| {}).await.unwrap();
    assert_eq!(floods.apply(&evil()).await.unwrap(), [Outcome::Pass]);
    let lines = bench.lines();
    assert!(!lines.is_empty() && lines.len() < 300, "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.len() == 1024), "{}", lines[0].len());
}

#[tokio::test]
async fn i31_wasi_is_closed_no_environment_and_bounded_random() {
    let imports = "import wasi:cli/environment@0.2.6; import wasi:random/random@0.2.6;";
    let items = r#"
        (import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
        (import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#;
    let empty = "(call $environment (i32.const 3000)) (if (i32.load (i32.const 3004)) (then unreachable))";
    let bench = Bench::new();
    let looks =
        bench.transform(Guest { imports, items, run: empty, ..Guest::default() }.build(), |_| {}).await.unwrap();
    assert!(looks.apply(&evil()).await.is_ok());
    let greedy =
        Guest { imports, items, run: "(call $random (i64.const 1000000000000) (i32.const 3000))", ..Guest::default() };
    contained(greedy.build(), "plugin-trap", "").await;
}

#[tokio::test]
async fn i31_wasi_http_links_and_says_what_to_use_instead() {
    let imports = "import wasi:http/types@0.2.6;";
    let items = r#"(import "wasi:http/types@0.2.6" "[constructor]fields" (func $fields (result i32)))"#;
    let calls = Guest { imports, items, run: "(drop (call $fields))", ..Guest::default() };
    contained(calls.build(), "plugin-trap", "import walhost:plugin/http").await;
}

#[tokio::test]
async fn i30_a_table_does_not_grow_above_its_bound() {
    let items = "(table $table 1 funcref)";
    let run = "(loop $again (if (i32.eq (i32.const -1) (table.grow $table (ref.null func) (i32.const 10000))) (then unreachable)) (br $again))";
    contained(Guest { items, run, ..Guest::default() }.build(), "plugin-memory", "table limit").await;
}
