//! A transform. In: a record whose value is JSON. Out: the same record with a mark, or nothing when
//! its kind is not wanted.

use serde::Deserialize;
use walhost_sdk::serde_json::{self, Map};
use walhost_sdk::{Outcome, Reason, Record, Transform, Value};

/// What the namespace configures under `settings`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The mark that each record gets.
    mark: String,
    /// Kinds that are not delivered.
    #[serde(default)]
    unwanted: Vec<String>,
}

struct Plugin(Settings);

impl Transform for Plugin {
    type Settings = Settings;

    /// Once in every instance, before anything else. An `Err` refuses the load with this text.
    fn new(settings: Settings) -> Result<Self, String> {
        if settings.mark.is_empty() { Err("mark: it is empty".into()) } else { Ok(Self(settings)) }
    }

    /// For every record. An `Err` makes it a dead letter under the reason's code; `?` on JSON does the
    /// same with `not-json` or `bad-shape`.
    fn apply(&self, record: &Record) -> Result<Outcome, Reason> {
        let mut value: Map<String, Value> = record.json()?;
        let kind = value.get("kind").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| Reason::new("kind-missing", "`kind` is no text"))?;
        if self.0.unwanted.iter().any(|unwanted| unwanted == kind) {
            return Ok(Outcome::Filter);
        }
        value.insert("mark".into(), self.0.mark.as_str().into());
        Ok(record.output(serde_json::to_vec(&value)?).into())
    }
}

walhost_sdk::export_transform!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use walhost_sdk::{json, testing};

    #[test]
    fn each_record_of_the_fixture_gets_the_outcome_it_should() {
        let settings = json!({"mark": "seen", "unwanted": ["test"]});
        let plugin: Plugin = testing::transform(settings).expect("the settings are good");
        let outcomes = plugin.apply_batch(&testing::ndjson(include_str!("../records.ndjson")));
        assert_eq!(outcomes.len(), 3);
        let Outcome::Emit(outputs) = &outcomes[0] else { panic!("an order is delivered") };
        let value: Value = serde_json::from_slice(&outputs[0].value).expect("it is JSON");
        assert_eq!(value, json!({"kind": "order", "id": 1, "mark": "seen"}));
        assert_eq!(outcomes[1], Outcome::Filter);
        assert!(matches!(&outcomes[2], Outcome::Reject(reason) if reason.code() == "kind-missing"));
    }

    #[test]
    fn an_empty_mark_refuses_the_load() {
        assert_eq!(testing::transform::<Plugin>(json!({"mark": ""})).err().as_deref(), Some("mark: it is empty"));
    }
}
