//! What guests may give back and what they may not.

use super::*;
use walhost_core::RecordId;

fn record(headers: &[(&str, &str)]) -> Record {
    Record {
        id: RecordId::new("1-1-0-2z"),
        sequence: 1,
        appended_at_ms: 1,
        attempt: 1,
        key: None,
        headers: Headers::encode(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
        value: bytes::Bytes::from_static(b"v"),
    }
}

fn emit(headers: &[(&str, &str)], value: &[u8]) -> RawOutcome {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    RawOutcome::Emit(vec![RawOutput { key: Some(b"k".to_vec()), headers, value: value.to_vec() }])
}

fn one(raw: RawOutcome, record: &Record, bytes_max: u64) -> Result<Outcome, Broken> {
    outcomes(vec![raw], std::slice::from_ref(record), bytes_max).map(|mut outcomes| outcomes.remove(0))
}

#[test]
fn i37_one_answer_for_each_record_or_none_counts() {
    let records = [record(&[]), record(&[])];
    assert_eq!(outcomes(vec![RawOutcome::Pass], &records, 1).unwrap_err().code, COUNT);
    assert_eq!(outcomes(vec![RawOutcome::Pass; 3], &records, 1).unwrap_err().code, COUNT);
    assert_eq!(outcomes(vec![RawOutcome::Pass; 2], &records, 1).unwrap().len(), 2);
    assert_eq!(verdicts(vec![], &records, 1).unwrap_err().code, COUNT);
}

#[test]
fn i37_header_names_are_checked_and_made_lower_case() {
    let plain = record(&[]);
    let Outcome::Emit(made) = one(emit(&[("X-Colour", "red")], b"v"), &plain, 100).unwrap() else { panic!("emit") };
    assert_eq!(made[0].headers.text("x-colour"), Some("red"));
    for name in ["", "a b", "a\nb", "ü", "a:b", &"x".repeat(257)] {
        assert_eq!(one(emit(&[(name, "v")], b"v"), &plain, 9_999).unwrap_err().code, OUTPUT, "{name}");
    }
    for value in ["a\nb", "a\rb", "a\0b", &"x".repeat(8193)] {
        assert_eq!(one(emit(&[("a", value)], b"v"), &plain, 99_999).unwrap_err().code, OUTPUT, "{value}");
    }
}

#[test]
fn i37_names_of_the_host_are_refused_unless_the_record_carries_the_very_same() {
    let plain = record(&[]);
    for name in ["webhook-id", "wal-attempt", "Wal-Key", "traceparent", "host", "content-length", "transfer-encoding"] {
        let broken = one(emit(&[(name, "x")], b"v"), &plain, 100).unwrap_err();
        assert!(broken.code == OUTPUT && broken.message.contains("the host's"), "{name}: {}", broken.message);
    }
    let traced = record(&[("traceparent", "00-1")]);
    assert!(one(emit(&[("traceparent", "00-1")], b"v"), &traced, 100).is_ok());
    assert!(one(emit(&[("traceparent", "00-2")], b"v"), &traced, 100).is_err());
}

#[test]
fn i37_sizes_and_counts_are_bounded_inclusively() {
    let plain = record(&[]);
    assert!(one(emit(&[("a", "b")], &[0; 7]), &plain, 10).is_ok());
    assert_eq!(one(emit(&[("a", "b")], &[0; 8]), &plain, 10).unwrap_err().code, OUTPUT);
    let outputs = |count| RawOutcome::Emit(vec![RawOutput { key: None, headers: vec![], value: vec![] }; count]);
    assert!(one(outputs(OUTPUTS_MAX), &plain, 10).is_ok());
    assert_eq!(one(outputs(OUTPUTS_MAX + 1), &plain, 10).unwrap_err().code, OUTPUT);
    assert_eq!(one(outputs(0), &plain, 10).unwrap(), Outcome::Filter);
    let key =
        RawOutcome::Emit(vec![RawOutput { key: Some(vec![0; KEY_BYTES_MAX + 1]), headers: vec![], value: vec![] }]);
    assert_eq!(one(key, &plain, 1 << 20).unwrap_err().code, OUTPUT);
    let headers: Vec<_> = (0..=HEADERS_MAX).map(|_| ("a", "")).collect();
    assert_eq!(one(emit(&headers, b""), &plain, 1 << 20).unwrap_err().code, OUTPUT);
    let long = RawReason { code: "c".into(), message: "m".repeat(11) };
    assert_eq!(one(RawOutcome::Reject(long), &plain, 10).unwrap_err().code, OUTPUT);
}

#[test]
fn i37_codes_become_kebab_case() {
    for (code, expected) in [
        ("too-old", "too-old"),
        ("Too Old!", "too-old"),
        ("__a__b__", "a-b"),
        ("", "plugin-reject"),
        ("§§", "plugin-reject"),
        ("a\nb", "a-b"),
    ] {
        assert_eq!(kebab(code, "plugin-reject"), expected);
    }
    assert_eq!(kebab(&"a".repeat(100), "x").len(), CODE_BYTES_MAX);
}

#[test]
fn a_sink_says_retry_of_the_record_and_throttle_of_itself() {
    let why = RawReason { code: "busy".into(), message: "m".into() };
    let records = [record(&[]), record(&[]), record(&[]), record(&[])];
    let raw = vec![
        RawVerdict::Delivered,
        RawVerdict::Retry(why.clone(), Some(u64::MAX)),
        RawVerdict::Throttle(why.clone(), None),
        RawVerdict::Reject(why),
    ];
    let verdicts = verdicts(raw, &records, 100).unwrap();
    let blames: Vec<_> = verdicts.iter().map(|verdict| verdict.failure().map(|failure| failure.blame)).collect();
    assert_eq!(blames, [None, Some(Blame::Record), Some(Blame::Target), Some(Blame::Record)]);
    let Verdict::Retry { after, .. } = &verdicts[1] else { panic!("retry") };
    assert_eq!(after.unwrap().as_millis(), u128::from(limits::AFTER_MS_MAX));
}
