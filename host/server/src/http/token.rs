//! Bearer tokens and their scopes: who may ask for what (I38, I39).
//!
//! In: the Authorization header, the configured tokens, what is needed. Out: go on, 401 or 403.

use super::error::{Code, Problem};
use crate::config::model::{Scope, Token};
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// To append to this namespace, or to ask for its records.
    Ingest(&'a str),
    /// To look.
    Read,
    /// To pause, resume, redrive, purge.
    Operate,
    /// To load plugins into this namespace's slots; none: to upload one.
    Plugins(Option<&'a str>),
    /// To change configuration.
    Admin,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name; `-` where none is asked for.
    pub name: std::borrow::Cow<'static, str>,
    /// May do everything.
    pub admin: bool,
}

/// Checks a request. Without configured tokens everybody may do everything: such a listener is a loopback
/// one (I38).
pub fn check(tokens: &Option<Vec<Token>>, headers: &HeaderMap, need: Need<'_>, now_ms: u64) -> Result<Caller, Problem> {
    let Some(tokens) = tokens else { return Ok(Caller { name: "-".into(), admin: true }) };
    let given = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let Some(given) = given else {
        return Err(Problem::new(Code::Unauthenticated, "send Authorization: Bearer and a token"));
    };
    let hash: [u8; 32] = Sha256::digest(given).into();
    // Every token is compared, so that the time says nothing of which one it was.
    let mut found = None;
    for token in tokens {
        if bool::from(token.hash.0.ct_eq(&hash)) {
            found = Some(token);
        }
    }
    let known = found.filter(|token| token.expires_ms.is_none_or(|expires| now_ms < expires));
    let Some(token) = known else {
        return Err(Problem::new(Code::Unauthenticated, "the token is not known, or has expired"));
    };
    if !token.scopes.iter().any(|scope| allows(scope, need)) {
        return Err(Problem::new(Code::Forbidden, format!("the token `{}` has no scope for this", token.name)));
    }
    Ok(Caller { name: token.name.clone().into(), admin: token.scopes.contains(&Scope::Admin) })
}

/// Where nobody is asked for a token, a page of somebody else's in the operator's browser could change things
/// here. Browsers say where a request comes from.
pub fn no_foreign_page(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let foreign =
        headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    if foreign && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::new(Code::Forbidden, "a page of another site may change nothing here"));
    }
    Ok(())
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

fn allows(scope: &Scope, need: Need<'_>) -> bool {
    match (scope, need) {
        (Scope::Admin, _) => true,
        (Scope::Ingest(granted), Need::Ingest(namespace)) => {
            granted.as_ref().is_none_or(|granted| granted.as_str() == namespace)
        }
        (Scope::Plugins(granted), Need::Plugins(namespace)) => match (granted, namespace) {
            (Some(granted), Some(namespace)) => granted.as_str() == namespace,
            _ => true,
        },
        (Scope::Read, Need::Read) | (Scope::Operate, Need::Operate | Need::Read) => true,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::NamespaceName;

    fn token(scopes: Vec<Scope>) -> Option<Vec<Token>> {
        let hash = walhost_core::Digest(Sha256::digest(b"s3cret").into());
        Some(vec![Token { name: "t".into(), hash, scopes, expires_ms: Some(1_000) }])
    }

    fn asked(tokens: &Option<Vec<Token>>, given: Option<&str>, need: Need<'_>, now_ms: u64) -> Option<Code> {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(AUTHORIZATION, given.parse().unwrap());
        }
        check(tokens, &headers, need, now_ms).err().map(|problem| problem.code)
    }

    #[test]
    fn i38_without_a_known_and_living_token_nothing_is_served() {
        let tokens = token(vec![Scope::Admin]);
        assert_eq!(asked(&tokens, None, Need::Read, 0), Some(Code::Unauthenticated));
        assert_eq!(asked(&tokens, Some("Bearer wrong"), Need::Read, 0), Some(Code::Unauthenticated));
        assert_eq!(asked(&tokens, Some("Basic s3cret"), Need::Read, 0), Some(Code::Unauthenticated));
        assert_eq!(asked(&tokens, Some("Bearer s3cret"), Need::Read, 1_000), Some(Code::Unauthenticated));
        assert_eq!(asked(&tokens, Some("bearer s3cret"), Need::Admin, 999), None);
        assert_eq!(asked(&None, None, Need::Admin, 0), None);
    }

    #[test]
    fn i38_a_page_of_another_site_changes_nothing() {
        let asked = |method: Method, site: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            no_foreign_page(&method, &headers).is_ok()
        };
        assert!(!asked(Method::POST, Some("cross-site")) && !asked(Method::PUT, Some("same-site")));
        assert!(
            asked(Method::POST, None)
                && asked(Method::POST, Some("same-origin"))
                && asked(Method::GET, Some("cross-site"))
        );
    }

    #[test]
    fn i39_a_token_of_one_namespace_opens_no_other() {
        let a = NamespaceName::new("a").unwrap();
        let tokens = token(vec![Scope::Ingest(Some(a.clone())), Scope::Plugins(Some(a))]);
        let ask = |need| asked(&tokens, Some("Bearer s3cret"), need, 0);
        assert_eq!(ask(Need::Ingest("a")), None);
        assert_eq!(ask(Need::Plugins(Some("a"))), None);
        for need in [Need::Ingest("b"), Need::Plugins(Some("b")), Need::Read, Need::Operate, Need::Admin] {
            assert_eq!(ask(need), Some(Code::Forbidden), "{need:?}");
        }
    }
}
