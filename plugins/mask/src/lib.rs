//! `mask`: replaces fields of a JSON value. In: a record whose value is JSON. Out: the same record
//! with every configured field replaced, or the record untouched when it has none of them.
//!
//! A value that is not JSON is rejected (`not-json`): what cannot be read cannot be masked, and must
//! not slip through. A tombstone has no value and passes.

use serde::Deserialize;
use walhost_sdk::{Outcome, Reason, Record, Transform, Value, serde_json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What to replace, as JSON pointers: `/email`, `/customer/phone`. A `*` stands for every element
    /// of a list or every member of an object: `/items/*/card`.
    fields: Vec<String>,
    /// What to put in their place.
    #[serde(default = "stars")]
    with: Value,
}

fn stars() -> Value {
    Value::from("***")
}

pub(crate) struct Mask {
    /// Each pointer, split at its slashes and unescaped.
    paths: Vec<Vec<String>>,
    with: Value,
}

impl Transform for Mask {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let paths = settings.fields.iter().map(|pointer| path(pointer)).collect::<Result<_, _>>()?;
        Ok(Self { paths, with: settings.with })
    }

    fn apply(&self, record: &Record) -> Result<Outcome, Reason> {
        if record.is_tombstone() {
            return Ok(Outcome::Pass);
        }
        let mut value: Value = record.json()?;
        let mut masked = 0;
        for path in &self.paths {
            masked += self.replace(&mut value, path);
        }
        if masked == 0 {
            return Ok(Outcome::Pass);
        }
        Ok(record.output(serde_json::to_vec(&value)?).into())
    }
}

impl Mask {
    /// Replaces what the path leads to and says how many values that were.
    fn replace(&self, value: &mut Value, path: &[String]) -> usize {
        let Some((step, rest)) = path.split_first() else {
            *value = self.with.clone();
            return 1;
        };
        match value {
            Value::Object(members) if step == "*" => members.values_mut().map(|inner| self.replace(inner, rest)).sum(),
            Value::Array(elements) if step == "*" => elements.iter_mut().map(|inner| self.replace(inner, rest)).sum(),
            Value::Object(members) => members.get_mut(step).map_or(0, |inner| self.replace(inner, rest)),
            Value::Array(elements) => {
                let index: Option<usize> = step.parse().ok();
                index.and_then(|index| elements.get_mut(index)).map_or(0, |inner| self.replace(inner, rest))
            }
            _ => 0,
        }
    }
}

/// The steps of a JSON pointer (RFC 6901).
fn path(pointer: &str) -> Result<Vec<String>, String> {
    let steps = pointer.strip_prefix('/').ok_or_else(|| format!("fields: `{pointer}` must begin with a slash"))?;
    Ok(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

walhost_sdk::export_transform!(Mask);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_sdk::{Header, json, testing};

    fn masked(settings: Value, value: &str) -> Option<String> {
        let mask: Mask = testing::transform(settings).unwrap();
        match mask.apply(&testing::record(value)).unwrap() {
            Outcome::Pass => None,
            Outcome::Emit(outputs) => Some(String::from_utf8(outputs[0].value.clone()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_field_is_masked_and_the_rest_stays_as_it_was() {
        let value = r#"{"zip":"1","email":"a@b.c","sum":12345678901234567890.10,"a":1.0}"#;
        let expected = r#"{"zip":"1","email":"***","sum":12345678901234567890.10,"a":1.0}"#;
        assert_eq!(masked(json!({"fields": ["/email"]}), value).as_deref(), Some(expected));
    }

    #[test]
    fn lists_indices_stars_and_escapes_are_followed() {
        let settings = json!({"fields": ["/items/*/card", "/items/0/n", "/a~1b"], "with": null});
        let value = r#"{"items":[{"card":1,"n":1},{"card":2,"n":2}],"a/b":3}"#;
        let expected = r#"{"items":[{"card":null,"n":null},{"card":null,"n":2}],"a/b":null}"#;
        assert_eq!(masked(settings, value).as_deref(), Some(expected));
    }

    #[test]
    fn a_record_without_the_field_passes_untouched() {
        let settings = || json!({"fields": ["/email", "/a/b"]});
        assert_eq!(masked(settings(), r#"{ "id": 1, "a": "text" }"#), None);
        assert_eq!(masked(settings(), "[1, 2]"), None);
    }

    #[test]
    fn what_is_not_json_is_rejected_and_a_tombstone_passes() {
        let mask: Mask = testing::transform(json!({"fields": ["/email"]})).unwrap();
        assert_eq!(mask.apply(&testing::record("email: a@b.c")).unwrap_err().code(), "not-json");
        let headers = vec![Header { name: "wal-tombstone".into(), value: b"true".to_vec() }];
        assert_eq!(mask.apply(&Record { headers, ..testing::record("") }), Ok(Outcome::Pass));
    }

    #[test]
    fn key_and_headers_stay() {
        let mask: Mask = testing::transform(json!({"fields": ["/email"]})).unwrap();
        let headers = vec![Header { name: "content-type".into(), value: b"application/json".to_vec() }];
        let record = Record { key: Some(b"7".to_vec()), headers, ..testing::record(r#"{"email":1}"#) };
        let Ok(Outcome::Emit(outputs)) = mask.apply(&record) else { panic!("it has the field") };
        assert_eq!((&outputs[0].key, &outputs[0].headers), (&record.key, &record.headers));
    }

    #[test]
    fn a_pointer_without_its_slash_refuses_the_load() {
        let refusal = testing::transform::<Mask>(json!({"fields": ["email"]})).err().unwrap();
        assert_eq!(refusal, "fields: `email` must begin with a slash");
    }
}
