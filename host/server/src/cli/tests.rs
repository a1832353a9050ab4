//! The command line without a host.
#![allow(clippy::unwrap_used)]

use super::arguments::{Arguments, Command, Format, command};
use super::client::{Client, escape};
use super::failure::{Failure, UNREACHABLE, USAGE};
use super::output::table;
use clap::FromArgMatches;
use serde_json::json;

fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from([&["walhost"], words].concat())?;
    Arguments::from_arg_matches(&matches)
}

#[test]
fn every_command_of_the_contract_is_understood() {
    command().debug_assert();
    for line in [
        "dev --port 0",
        "serve -c walhost.toml --shard ads",
        "config validate -c x.toml",
        "config show",
        "config schema",
        "config reload",
        "ns list",
        "ns get a",
        "ns apply -f a.toml",
        "ns delete a --yes",
        "ns pause a --ingest",
        "ns resume a",
        "ns stats a --watch",
        "target list a",
        "target check a t",
        "send a -d x --key k -H a:b --delay 30s --idempotency-key i",
        "send a -",
        "send a -f x.ndjson --ndjson",
        "-o json get a 1-2",
        "cancel a 1-2 -o ndjson",
        "peek a --from 0:1 -n 10",
        "dlq list a --target t --code c --since 1h --until 1m --digest d",
        "dlq groups a",
        "dlq get a 1",
        "dlq redrive a --rate 100/s --max 5 --dry-run",
        "dlq purge a",
        "dlq export a",
        "task list",
        "task get x",
        "task cancel x",
        "plugin new --lang rust --kind sink x",
        "plugin build",
        "plugin inspect x.wasm",
        "plugin test x.wasm --records f.ndjson --set k=v --allow http://x",
        "plugin push x.wasm",
        "plugin load a t.transform sha256:x --set k=v",
        "plugin rollback a t.transform",
        "plugin versions a t.transform",
        "plugin list",
        "wal inspect d",
        "wal verify d",
        "wal dump d",
        "bench a --rate 100 --size 1KiB --duration 1s",
        "version",
        "completion bash",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(parse(&words).is_ok(), "{line}: {}", parse(&words).err().unwrap());
    }
}

#[test]
fn what_is_not_understood_is_usage() {
    for line in ["no-such-command", "get a", "send a -d x -f y", "-o yaml version", "plugin new --lang cobol x"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(parse(&words).err().map(|error| error.exit_code()), Some(i32::from(USAGE)), "{line}");
    }
}

#[test]
fn every_flag_has_its_variable() {
    let help = |command: &clap::Command| -> Vec<(String, bool)> {
        command.get_arguments().filter_map(|one| Some((one.get_long()?.to_owned(), one.get_env().is_some()))).collect()
    };
    let whole = command();
    let mut seen = help(&whole);
    for sub in whole.get_subcommands() {
        seen.extend(help(sub));
        sub.get_subcommands().for_each(|below| seen.extend(help(below)));
    }
    let without: Vec<_> = seen.iter().filter(|(_, has)| !has).map(|(long, _)| long.as_str()).collect();
    assert!(without.iter().all(|long| ["help", "version"].contains(long)), "{without:?}");
    assert!(seen.len() > 60);
}

#[test]
fn global_flags_stand_before_and_after_the_command() {
    let arguments = parse(&["ns", "list", "-o", "json", "--url", "http://127.0.0.1:1"]).unwrap();
    assert_eq!((arguments.output, arguments.url.as_str()), (Format::Json, "http://127.0.0.1:1"));
    assert!(matches!(arguments.command, Command::Ns(_)));
}

#[test]
fn a_problem_is_told_with_its_detail_its_code_and_its_parts() {
    let body = json!({ "detail": "no such", "code": "not-found", "request_id": "r", "errors": [{ "pointer": "/a", "detail": "bad" }] });
    let failure = Failure::problem(404, body.to_string().as_bytes());
    assert_eq!((failure.code, failure.message.as_str()), (1, "no such [not-found]\n  /a: bad\n  request r"));
    assert!(Failure::problem(502, b"<html>").message.contains("502"));
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&format!("http://{address}/"), None, None).unwrap();
    let failure = client.get("/admin/v1/info").await.unwrap_err();
    assert_eq!(failure.code, UNREACHABLE);
    assert!(failure.message.contains(&address.to_string()), "{}", failure.message);
}

#[test]
fn what_is_no_url_is_usage_and_a_token_file_must_be_there() {
    for url in ["localhost", "https://x", "ftp://x", "http://"] {
        assert_eq!(Client::new(url, None, None).err().map(|failure| failure.code), Some(USAGE), "{url}");
    }
    assert!(Client::new("http://x", None, Some(std::path::Path::new("/nowhere"))).is_err());
}

#[test]
fn tables_are_plain_and_cells_bounded_and_clean() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let rows = [
        json!({ "a": digest, "b": null, "c": ["x", "y"] }),
        json!({ "a": "x\u{1b}[31m", "b": "y".repeat(200), "c": 5 }),
    ];
    let text = table(&rows, &[("first", "/a"), ("second", "/b"), ("third", "/c")]);
    assert!(text.starts_with("FIRST"), "{text}");
    assert!(text.contains("abababababab ") && text.contains("x, y") && text.contains('-'), "{text}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() < 140), "{text}");
}

#[test]
fn parts_of_paths_are_escaped() {
    assert_eq!(escape("a/b c?%ü:1"), "a%2Fb%20c%3F%25%C3%BC:1");
}

#[test]
fn i44_an_answer_cannot_move_the_cursor() {
    let failure = Failure::problem(
        422,
        br#"{"detail":"a\u001b[2Jb\nwalhost: fine","code":"x","errors":[{"pointer":"\u0007","detail":"\u009b"}]}"#,
    );
    assert!(
        !failure.message.chars().any(|character| character.is_control() && character != '\n'),
        "{:?}",
        failure.message
    );
    assert!(failure.message.starts_with("a\\u{1b}[2Jb\\nwalhost"), "{:?}", failure.message);
    assert_eq!(super::output::escaped("k\u{1b}"), "k\\u{1b}");
}
