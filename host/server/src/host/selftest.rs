//! The tests that a namespace's configuration has for its transforms: run before every hot load, and by
//! `walhost test`.
//!
//! In: tests, a target's name, a transform. Out: what held and what did not, in words.

use crate::config::model::{Test, TestExpect, TestInput};
use crate::http::error::Place;
use base64::Engine;
use bytes::Bytes;
use serde_json::{Value, json};
use walhost_core::transform::Output;
use walhost_core::{Headers, Outcome as Said, Record, RecordId, TargetName, Transform};

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// What did not hold; none: it passed.
    pub failure: Option<String>,
}

impl Outcome {
    /// As JSON.
    pub fn shown(&self) -> Value {
        json!({ "name": self.name, "passed": self.failure.is_none(), "failure": self.failure })
    }

    /// As a place of a problem.
    pub fn place(&self) -> Place {
        let detail = self.failure.clone().unwrap_or_default();
        Place { line: None, pointer: Some(self.name.clone()), detail }
    }
}

/// Runs the tests of this target, one after another.
pub async fn run(tests: &[Test], target: &TargetName, transform: &dyn Transform) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for test in tests.iter().filter(|test| test.target == *target) {
        let failure = match record(&test.input) {
            Err(why) => Some(why),
            Ok(record) => match transform.apply(std::slice::from_ref(&record)).await {
                Err(fault) => Some(format!("{}: {}", fault.code, fault.message)),
                Ok(mut said) if said.len() == 1 => judge(&record, said.remove(0), &test.expect),
                Ok(said) => Some(format!("one record went in, {} outcomes came out", said.len())),
            },
        };
        outcomes.push(Outcome { name: test.name.clone(), failure });
    }
    outcomes
}

fn record(input: &TestInput) -> Result<Record, String> {
    let value = match (&input.json, &input.text, &input.base64) {
        (Some(json), _, _) => json.to_string().into_bytes(),
        (_, Some(text), _) => text.clone().into_bytes(),
        (_, _, Some(text)) => {
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("input.base64: {error}"))?
        }
        _ => Vec::new(),
    };
    let content_type = input.json.as_ref().map(|_| ("content-type", b"application/json".as_slice()));
    let headers = input.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Ok(Record {
        id: RecordId::new("test"),
        sequence: 1,
        appended_at_ms: 0,
        attempt: 1,
        key: input.key.clone().map(Bytes::from),
        headers: Headers::encode(content_type.into_iter().chain(headers)),
        value: value.into(),
    })
}

fn judge(record: &Record, said: Said, expected: &[TestExpect]) -> Option<String> {
    let reject = expected.iter().find_map(|expect| expect.reject.as_deref());
    let outputs = match said {
        Said::Reject(failure) if reject == Some(failure.code.as_str()) => return None,
        Said::Reject(failure) => return Some(format!("it was rejected with {}: {}", failure.code, failure.message)),
        Said::Retry(failure, _) => return Some(format!("it asks for a retry: {}: {}", failure.code, failure.message)),
        Said::Filter => Vec::new(),
        Said::Emit(outputs) => outputs,
        Said::Pass => {
            vec![Output { key: record.key.clone(), headers: record.headers.clone(), value: record.value.clone() }]
        }
    };
    if let Some(code) = reject {
        return Some(format!("it should be rejected with {code}, and {} records came out", outputs.len()));
    }
    if outputs.len() != expected.len() {
        return Some(format!("{} records were expected, {} came out", expected.len(), outputs.len()));
    }
    outputs
        .iter()
        .zip(expected)
        .enumerate()
        .find_map(|(place, (output, expect))| differs(output, expect).map(|why| format!("output {}: {why}", place + 1)))
}

fn differs(output: &Output, expect: &TestExpect) -> Option<String> {
    let text = String::from_utf8_lossy(&output.value);
    let shown = || text.chars().take(200).collect::<String>();
    let json = || serde_json::from_slice::<Value>(&output.value).ok();
    if let Some(wanted) = &expect.json
        && json().as_ref() != Some(wanted)
    {
        return Some(format!("the value is {}, not {wanted}", shown()));
    }
    if let Some(wanted) = &expect.json_subset
        && !json().is_some_and(|value| covers(&value, wanted))
    {
        return Some(format!("the value {} does not have {wanted}", shown()));
    }
    if let Some(wanted) = &expect.text
        && *wanted != text
    {
        return Some(format!("the value is {:?}, not {wanted:?}", shown()));
    }
    if let Some(wanted) = &expect.key
        && output.key.as_deref() != Some(wanted.as_bytes())
    {
        return Some(format!("the key is not {wanted:?}"));
    }
    let missing = expect.headers.iter().find(|(name, value)| output.headers.get(name) != Some(value.as_bytes()));
    missing.map(|(name, value)| format!("header {name} is not {value:?}"))
}

/// True when `value` has every member of `wanted`, with the same value; lists and scalars are compared whole.
fn covers(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| covers(value, wanted)))
        }
        (value, wanted) => value == wanted,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn judged(said: Said, expect: Value) -> Option<String> {
        let expect: Vec<TestExpect> = serde_json::from_value(expect).unwrap();
        let input: TestInput =
            serde_json::from_value(json!({ "json": { "id": 1, "email": "a@b.c" }, "key": "k" })).unwrap();
        judge(&record(&input).unwrap(), said, &expect)
    }

    fn emit(value: &str) -> Said {
        Said::Emit(vec![Output {
            key: None,
            headers: Headers::default(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        }])
    }

    #[test]
    fn what_is_expected_passes_and_what_is_not_is_said() {
        assert_eq!(judged(Said::Pass, json!([{ "json_subset": { "email": "a@b.c" }, "key": "k" }])), None);
        assert_eq!(judged(emit(r#"{"email":"***","id":1}"#), json!([{ "json_subset": { "email": "***" } }])), None);
        assert_eq!(judged(Said::Filter, json!([])), None);
        assert!(judged(emit("x"), json!([{ "text": "y" }])).unwrap().contains("output 1"));
        assert!(judged(Said::Pass, json!([])).unwrap().contains("0 records were expected"));
    }

    #[test]
    fn a_rejection_is_expected_by_its_code() {
        let reject = || Said::Reject(walhost_core::Failure::new("bad-title", "no", walhost_core::Blame::Record));
        assert_eq!(judged(reject(), json!([{ "reject": "bad-title" }])), None);
        assert!(judged(reject(), json!([{ "reject": "other" }])).unwrap().contains("bad-title"));
        assert!(judged(Said::Pass, json!([{ "reject": "bad-title" }])).is_some());
    }
}
