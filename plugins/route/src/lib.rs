//! `route`: keeps records by a field's value, and makes several records of a list. In: a record whose
//! value is JSON. Out: nothing, the record as it is, or one output for each element of the list.

use serde::Deserialize;
use walhost_sdk::{Outcome, Output, Reason, Record, Transform, Value, serde_json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Conditions that must all hold; a record that fails one is filtered. None: every record is kept.
    #[serde(default)]
    keep: Vec<Condition>,
    /// Makes one record of every element of a list. None: the record is delivered as it is.
    split: Option<Split>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    /// JSON pointer to the value to look at. A missing one counts as null.
    at: String,
    /// The value must be one of these.
    #[serde(rename = "in")]
    one_of: Option<Vec<Value>>,
    /// The value must be none of these.
    not_in: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    /// JSON pointer to the list. An empty list is a filtered record.
    at: String,
    /// JSON pointer inside an element to its key; none: the outputs keep the record's key.
    key: Option<String>,
    /// Members of the record that are copied into every element, by name: `{"order": "/id"}`.
    #[serde(default)]
    carry: std::collections::BTreeMap<String, String>,
}

struct Route(Settings);

impl Transform for Route {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let split = settings.split.iter();
        let of_split = split
            .flat_map(|split| [Some(&split.at), split.key.as_ref()].into_iter().flatten().chain(split.carry.values()));
        for pointer in settings.keep.iter().map(|condition| &condition.at).chain(of_split) {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(format!("`{pointer}` is no JSON pointer: it must begin with a slash"));
            }
        }
        if let Some(idle) =
            settings.keep.iter().find(|condition| condition.one_of.is_none() == condition.not_in.is_none())
        {
            return Err(format!("keep: the condition on `{}` needs either `in` or `not_in`", idle.at));
        }
        Ok(Self(settings))
    }

    fn apply(&self, record: &Record) -> Result<Outcome, Reason> {
        let value: Value = record.json()?;
        if !self.0.keep.iter().all(|condition| condition.holds(&value)) {
            return Ok(Outcome::Filter);
        }
        let Some(split) = &self.0.split else { return Ok(Outcome::Pass) };
        let list = value.pointer(&split.at).and_then(Value::as_array);
        let list = list.ok_or_else(|| Reason::new("not-a-list", format!("there is no list at `{}`", split.at)))?;
        let outputs =
            list.iter().map(|element| split.output(record, &value, element)).collect::<Result<Vec<_>, _>>()?;
        Ok(if outputs.is_empty() { Outcome::Filter } else { Outcome::Emit(outputs) })
    }
}

impl Condition {
    fn holds(&self, value: &Value) -> bool {
        let found = value.pointer(&self.at).unwrap_or(&Value::Null);
        let among = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| list.contains(found));
        if self.one_of.is_some() { among(&self.one_of) } else { !among(&self.not_in) }
    }
}

impl Split {
    fn output(&self, record: &Record, whole: &Value, element: &Value) -> Result<Output, Reason> {
        let mut element = element.clone();
        if let Some(members) = element.as_object_mut() {
            for (name, pointer) in &self.carry {
                members.insert(name.clone(), whole.pointer(pointer).cloned().unwrap_or_default());
            }
        }
        let mut output = record.output(serde_json::to_vec(&element)?);
        if let Some(pointer) = &self.key {
            output.key = Some(match element.pointer(pointer) {
                Some(Value::String(text)) => text.clone().into_bytes(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string().into_bytes(),
                _ => return Err(Reason::new("no-key", format!("an element has no key at `{pointer}`"))),
            });
        }
        Ok(output)
    }
}

walhost_sdk::export_transform!(Route);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_sdk::{json, testing};

    fn routed(settings: Value, value: Value) -> Result<Outcome, Reason> {
        testing::transform::<Route>(settings).unwrap().apply(&testing::json(value))
    }

    #[test]
    fn records_that_fail_a_condition_are_filtered() {
        let settings = || json!({"keep": [{"at": "/kind", "in": ["order", 7]}, {"at": "/test", "not_in": [true]}]});
        assert_eq!(routed(settings(), json!({"kind": "order"})), Ok(Outcome::Pass));
        assert_eq!(routed(settings(), json!({"kind": 7})), Ok(Outcome::Pass));
        assert_eq!(routed(settings(), json!({"kind": "order", "test": true})), Ok(Outcome::Filter));
        assert_eq!(routed(settings(), json!({"kind": "view"})), Ok(Outcome::Filter));
        assert_eq!(routed(settings(), json!([])), Ok(Outcome::Filter));
    }

    #[test]
    fn a_missing_value_counts_as_null() {
        assert_eq!(routed(json!({"keep": [{"at": "/gone", "in": [null]}]}), json!({})), Ok(Outcome::Pass));
    }

    #[test]
    fn every_element_becomes_a_record_with_its_own_key() {
        let settings = json!({"split": {"at": "/items", "key": "/sku", "carry": {"order": "/id"}}});
        let value = json!({"id": 9, "items": [{"sku": "a"}, {"sku": 5}]});
        let Ok(Outcome::Emit(outputs)) = routed(settings, value) else { panic!("there is a list") };
        let read = |output: &Output| (output.key.clone().unwrap(), serde_json::from_slice(&output.value).unwrap());
        assert_eq!(read(&outputs[0]), (b"a".to_vec(), json!({"sku": "a", "order": 9})));
        assert_eq!(read(&outputs[1]), (b"5".to_vec(), json!({"sku": 5, "order": 9})));
    }

    #[test]
    fn without_a_key_of_its_own_an_element_keeps_the_records() {
        let route: Route = testing::transform(json!({"split": {"at": ""}})).unwrap();
        let record = Record { key: Some(b"k".to_vec()), ..testing::json(json!([1, 2])) };
        let Ok(Outcome::Emit(outputs)) = route.apply(&record) else { panic!("the value is a list") };
        assert_eq!(outputs.iter().map(|output| output.key.as_deref()).collect::<Vec<_>>(), [Some(b"k".as_slice()); 2]);
    }

    #[test]
    fn an_empty_list_filters_and_no_list_or_no_key_rejects() {
        let settings = || json!({"split": {"at": "/items", "key": "/sku"}});
        assert_eq!(routed(settings(), json!({"items": []})), Ok(Outcome::Filter));
        assert_eq!(routed(settings(), json!({"items": 1})).unwrap_err().code(), "not-a-list");
        assert_eq!(routed(settings(), json!({"items": [{"sku": []}]})).unwrap_err().code(), "no-key");
    }

    #[test]
    fn settings_that_mean_nothing_refuse_the_load() {
        let refusal = |settings| testing::transform::<Route>(settings).err().unwrap();
        assert!(refusal(json!({"keep": [{"at": "kind", "in": []}]})).contains("must begin with a slash"));
        assert!(refusal(json!({"keep": [{"at": "/kind"}]})).contains("either `in` or `not_in`"));
    }
}
