//! A configuration as it may be shown: secrets masked (I40).
//!
//! In: JSON of a model or of a table. Out: the same, with every value that may be a secret replaced.

use super::model::Model;
use serde_json::Value;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Parts of key names under which a secret may stand, written out or in the user's part of a URL.
const SUSPECT: [&str; 13] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "auth",
    "api-key",
    "api_key",
    "apikey",
    "cookie",
    "credential",
    "private",
    "hash",
];

/// The whole model as JSON, merged from all files, defaults filled in.
pub fn show(model: &Model) -> Value {
    let mut shown = serde_json::to_value(model).unwrap_or_default();
    if let Some(namespaces) = shown.get_mut("namespaces").and_then(Value::as_object_mut) {
        for namespace in namespaces.values_mut().filter_map(Value::as_object_mut) {
            // The table as written says the same as the rest.
            namespace.remove("table");
        }
    }
    mask(&mut shown);
    shown
}

/// Masks in place. A secret's place, `{ env }` or `{ file }`, is no secret.
pub fn mask(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if is_suspect(key) => MASK.clone_into(text),
                    Value::String(text) => mask_url(text),
                    _ => mask(value),
                }
            }
        }
        Value::String(text) => mask_url(text),
        _ => {}
    }
}

/// `https://user:secret@host/` keeps its host.
fn mask_url(text: &mut String) {
    let Some(start) = text.find("://").map(|place| place + 3) else { return };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
    if let Some(at) = text[start..end].rfind('@') {
        text.replace_range(start..start + at, MASK);
    }
    let Some(query) = text.find('?').map(|place| place + 1) else { return };
    let parts = text[query..].split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if is_suspect(name) => format!("{name}={MASK}"),
        _ => part.to_owned(),
    });
    let masked = parts.collect::<Vec<_>>().join("&");
    text.replace_range(query.., &masked);
}

fn is_suspect(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SUSPECT.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn i40_secrets_are_masked_and_their_places_are_not() {
        let mut value = json!({
            "headers": { "Authorization": "Bearer abc", "x": { "env": "X" } },
            "sign": { "secret": { "file": "/etc/secret" } },
            "url": "https://me:pass@host/a@b",
            "list": ["http://u@h"],
            "api_key": "k",
            "hook": "https://h/x?a=1&token=t&b",
            "tokens": [{ "name": "n", "hash": "sha256:00" }],
        });
        mask(&mut value);
        assert_eq!(value["headers"]["Authorization"], MASK);
        assert_eq!(value["headers"]["x"]["env"], "X");
        assert_eq!(value["sign"]["secret"]["file"], "/etc/secret");
        assert_eq!(value["url"], "https://***@host/a@b");
        assert_eq!(value["list"][0], "http://***@h");
        assert_eq!(value["api_key"], MASK);
        assert_eq!(value["hook"], "https://h/x?a=1&token=***&b");
        assert_eq!((&value["tokens"][0]["name"], &value["tokens"][0]["hash"]), (&json!("n"), &json!(MASK)));
    }
}
