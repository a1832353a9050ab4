//! Tests of the test host, of the export macros in a native build, and of the WIT's two copies.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{NoSettings, Outcome, Reason, Verdict, json};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    limit: usize,
}

struct Short(Settings);

impl Transform for Short {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        if settings.limit == 0 { Err("limit: 0 would reject everything".into()) } else { Ok(Self(settings)) }
    }

    fn apply(&self, record: &Record) -> Result<Outcome, Reason> {
        if record.value.len() > self.0.limit { Err(Reason::new("too-long", "")) } else { Ok(Outcome::Pass) }
    }
}
crate::export_transform!(Short);

struct Quiet;

impl Sink for Quiet {
    type Settings = NoSettings;

    fn new(_: NoSettings) -> Result<Self, String> {
        Ok(Self)
    }

    fn deliver(&self, record: &Record) -> Result<Verdict, Reason> {
        if record.is_tombstone() { Err(Reason::new("no-delete", "")) } else { Ok(Verdict::Delivered) }
    }
}
crate::export_sink!(Quiet);

#[test]
fn a_batch_is_answered_record_by_record_and_an_err_rejects_its_own_only() {
    let short: Short = transform(json!({"limit": 2})).unwrap();
    let outcomes = short.apply_batch(&ndjson("1\n\n123\r\n2"));
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[0], Outcome::Pass);
    assert!(matches!(&outcomes[1], Outcome::Reject(reason) if reason.code() == "too-long"));
    assert_eq!(sink::<Quiet>(json!({})).unwrap().deliver_batch(&[record("")]), [Verdict::Delivered]);
}

#[test]
fn bad_settings_are_refused_in_words() {
    let refusal = |settings| transform::<Short>(settings).err().unwrap();
    assert!(refusal(json!({})).contains("missing field `limit`"));
    assert!(refusal(json!({"limit": 1, "limt": 2})).contains("unknown field `limt`"));
    assert_eq!(refusal(json!({"limit": 0})), "limit: 0 would reject everything");
}

#[test]
fn records_of_a_fixture_are_numbered_and_keep_their_bytes() {
    let records = ndjson("{\"a\": 1}\r\n{\"b\":2}");
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(records[0].value, b"{\"a\": 1}");
    assert_eq!(records[1].id, "record-2");
}

#[test]
fn a_host_replaced_before_it_is_dropped_clears_nothing() {
    let first = Host::new().with_target("first");
    let second = Host::new().with_target("second");
    drop(first);
    assert_eq!(crate::context::target(), "second");
    drop(second);
    assert_eq!(crate::context::target(), "test");
}

#[test]
#[should_panic(expected = "the test host has no answer for GET http://x.test/")]
fn a_request_nobody_answers_fails_the_test() {
    let _host = Host::new();
    let _ = crate::http::send(Request::get("http://x.test/"));
    unreachable!("the call above panics");
}

#[test]
fn the_wit_inside_the_sdk_is_the_released_one() {
    let released = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/0.1.0/plugin.wit");
    let released = std::fs::read_to_string(released).unwrap();
    assert_eq!(include_str!("../../wit/0.1.0/plugin.wit"), released);
}
