//! `identity`: passes every record. In: a record. Out: the same.
//!
//! It is for measuring: what it takes is what a call into a plugin costs, whatever the plugin does.

use walhost_sdk::{NoSettings, Outcome, Reason, Record, Transform};

struct Identity;

impl Transform for Identity {
    type Settings = NoSettings;

    fn new(_: NoSettings) -> Result<Self, String> {
        Ok(Self)
    }

    fn apply(&self, _: &Record) -> Result<Outcome, Reason> {
        Ok(Outcome::Pass)
    }
}

walhost_sdk::export_transform!(Identity);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_sdk::{json, testing};

    #[test]
    fn every_record_passes_and_no_setting_is_known() {
        let identity: Identity = testing::transform(json!({})).unwrap();
        assert_eq!(identity.apply_batch(&testing::ndjson("1\n2")), [Outcome::Pass, Outcome::Pass]);
        assert!(testing::transform::<Identity>(json!({"a": 1})).is_err());
    }
}
