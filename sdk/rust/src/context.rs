//! Where and for whom the plugin runs. In: nothing. Out: names, time left, secrets, settings.

use crate::host;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The namespace whose record this is.
pub fn namespace() -> String {
    host::namespace()
}

/// The target that it is on its way to.
pub fn target() -> String {
    host::target()
}

/// What is left of this call's time, in milliseconds; then the host ends it and the batch is tried
/// again.
pub fn time_left_ms() -> u64 {
    host::time_left_ms()
}

/// A secret that the namespace granted by name. None: not granted, or there is none of that name.
pub fn secret(name: &str) -> Option<Vec<u8>> {
    host::secret(name)
}

/// The settings of a plugin that has none; any key in them refuses the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Reads the settings that the host holds into the author's type. The error is for the operator.
pub(crate) fn settings<T: DeserializeOwned>() -> Result<T, String> {
    serde_json::from_str(&host::settings()).map_err(|error| format!("settings: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, testing};

    #[test]
    fn context_and_secrets_are_the_hosts() {
        let _host = testing::Host::new()
            .with_namespace("catalog")
            .with_target("search")
            .with_time_left_ms(70)
            .with_secret("token", b"s3cret");
        assert_eq!((namespace().as_str(), target().as_str(), time_left_ms()), ("catalog", "search", 70));
        assert_eq!(secret("token").as_deref(), Some(b"s3cret".as_slice()));
        assert_eq!(secret("other"), None);
    }

    #[test]
    fn no_settings_means_none() {
        let _host = testing::Host::new().with_settings(json!({}));
        assert_eq!(settings::<NoSettings>(), Ok(NoSettings {}));
        let _host = testing::Host::new().with_settings(json!({"field": 1}));
        let refusal = settings::<NoSettings>().expect_err("an unknown key");
        assert!(refusal.contains("unknown field `field`"), "{refusal}");
    }
}
