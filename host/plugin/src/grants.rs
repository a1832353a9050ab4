//! What a slot was granted, read and checked once at load.
//!
//! In: `core::plugin::Grants` as an operator wrote them. Out: `Granted`: origins with their filters and
//! the headers that the host adds, secrets by name; or the sentence that says which grant is wrong.

use crate::limits;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use walhost_core::config::Secret;
use walhost_core::plugin::{Grants, HttpGrant};
use walhost_net::{Allow, Origin};

/// One origin that may be called.
pub(crate) struct GrantedOrigin {
    pub origin: Origin,
    pub allow: Allow,
    /// Added by the host; their values are marked sensitive and never shown to the guest (I40).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub parallel: usize,
    pub response_bytes_max: u64,
}

/// Everything that a slot was granted.
#[derive(Default)]
pub(crate) struct Granted {
    pub origins: Vec<GrantedOrigin>,
    pub secrets: BTreeMap<String, Vec<u8>>,
}

impl Granted {
    /// Reads addresses and secrets. The error names the grant, never a value.
    pub fn resolve(grants: &Grants) -> Result<Granted, String> {
        let mut granted = Granted::default();
        for grant in &grants.http {
            let origin =
                one_origin(grant).map_err(|error| format!("grant http `{}`: {error}", grant.origin.escape_debug()))?;
            if granted.origins.iter().any(|known| known.origin == origin.origin) {
                return Err(format!("grant http `{}`: this origin is granted twice", origin.origin));
            }
            granted.origins.push(origin);
        }
        for (name, secret) in &grants.secrets {
            let value = read(secret).map_err(|error| format!("grant secret `{}`: {error}", name.escape_debug()))?;
            granted.secrets.insert(name.clone(), value);
        }
        Ok(granted)
    }

    /// The grant for this origin.
    pub fn origin(&self, origin: &Origin) -> Option<&GrantedOrigin> {
        self.origins.iter().find(|granted| granted.origin == *origin)
    }

    /// The most that one `send-all` may have in flight.
    pub fn parallel(&self) -> usize {
        self.origins.iter().map(|granted| granted.parallel).max().unwrap_or(1)
    }
}

fn one_origin(grant: &HttpGrant) -> Result<GrantedOrigin, String> {
    let origin = Origin::parse(&grant.origin)?;
    let allow = Allow::parse(grant.cidrs.iter().map(String::as_str))?;
    let parallel = grant.parallel.unwrap_or(limits::PARALLEL_DEFAULT);
    if parallel == 0 || parallel > limits::PARALLEL_MAX {
        return Err(format!("parallel = {parallel}: 1 to {} are possible", limits::PARALLEL_MAX));
    }
    let response_bytes_max = grant.response.map_or(limits::RESPONSE_BYTES_DEFAULT, |size| size.bytes());
    if response_bytes_max > limits::RESPONSES_BYTES_MAX {
        let most = walhost_core::config::Size(limits::RESPONSES_BYTES_MAX);
        return Err(format!("response = {response_bytes_max}: at most {most} are possible"));
    }
    let mut headers = Vec::new();
    for (name, secret) in &grant.headers {
        let wrong = |what: &str| format!("header `{}`: {what}", name.escape_debug());
        let header: HeaderName = name.parse().map_err(|_| wrong("this is no header name"))?;
        if walhost_net::client::is_framing(&header) {
            return Err(wrong("it belongs to HTTP's own framing"));
        }
        let mut value = HeaderValue::from_bytes(&read(secret).map_err(|error| wrong(&error))?)
            .map_err(|_| wrong("its secret has bytes that no header can carry"))?;
        value.set_sensitive(true);
        headers.push((header, value));
    }
    Ok(GrantedOrigin { origin, allow, headers, parallel: parallel as usize, response_bytes_max })
}

fn read(secret: &Secret) -> Result<Vec<u8>, String> {
    let value = secret.read()?;
    if value.len() > limits::SECRET_BYTES_MAX {
        return Err(format!("the secret is longer than {} bytes", limits::SECRET_BYTES_MAX));
    }
    Ok(value)
}

/// Compares what a component imports with what it was granted. The error names the import.
pub(crate) fn check(imports: &[String], grants: &Grants) -> Result<(), String> {
    let http = imports.iter().find(|import| crate::world::is_http(import));
    match http {
        Some(import) if grants.http.is_empty() => Err(format!(
            "it imports `{import}`, which needs a grant: grants = {{ http = [{{ origin = \"https://host:port\" }}] }}"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn grant(json: serde_json::Value) -> Grants {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn i31_grants_are_exact_and_their_mistakes_are_named() {
        let granted =
            Granted::resolve(&grant(serde_json::json!({"http": [{"origin": "https://a.example:9200"}]}))).unwrap();
        assert!(granted.origin(&Origin::parse("https://a.example:9200").unwrap()).is_some());
        for other in ["https://a.example", "http://a.example:9200", "https://b.a.example:9200"] {
            assert!(granted.origin(&Origin::parse(other).unwrap()).is_none(), "{other}");
        }
        for (wrong, word) in [
            (serde_json::json!({"http": [{"origin": "https://a/path"}]}), "a/path"),
            (serde_json::json!({"http": [{"origin": "https://a", "cidrs": ["x"]}]}), "x"),
            (serde_json::json!({"http": [{"origin": "https://a", "parallel": 0}]}), "parallel"),
            (serde_json::json!({"http": [{"origin": "https://a"}, {"origin": "https://a:443"}]}), "twice"),
            (serde_json::json!({"http": [{"origin": "https://a", "headers": {"host": {"env": "HOME"}}}]}), "framing"),
            (serde_json::json!({"secrets": {"s": {"env": "WALHOST_NO_SUCH_SECRET"}}}), "WALHOST_NO_SUCH_SECRET"),
        ] {
            let error = Granted::resolve(&grant(wrong)).err().unwrap();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn i31_http_without_a_grant_is_refused_by_name() {
        let imports = ["walhost:plugin/http@0.1.0".to_owned()];
        let error = check(&imports, &Grants::default()).unwrap_err();
        assert!(error.contains("walhost:plugin/http@0.1.0"), "{error}");
        assert!(check(&imports, &grant(serde_json::json!({"http": [{"origin": "https://a"}]}))).is_ok());
        assert!(check(&[], &Grants::default()).is_ok());
    }
}
