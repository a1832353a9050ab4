//! JSON pointers (RFC 6901) into a value, without reading more than the way there.
//!
//! In: the bytes of a JSON text and a pointer. Out: the text of what it points to, as it was written:
//! numbers keep their digits.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// What a pointer finds; `None` when the value is not JSON or has nothing there. The last of several equal
/// names wins.
pub fn find<'a>(json: &'a [u8], pointer: &str) -> Option<&'a RawValue> {
    let mut here: &'a RawValue = serde_json::from_slice(json).ok()?;
    let Some(path) = pointer.strip_prefix('/') else {
        return pointer.is_empty().then_some(here);
    };
    for token in path.split('/') {
        here = match here.get().as_bytes().first()? {
            b'{' => {
                let mut object: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(here.get()).ok()?;
                object.remove(unescape(token).as_ref())?
            }
            b'[' => {
                let canonical = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
                let place: usize = token.parse().ok().filter(|_| canonical)?;
                let list: Vec<&'a RawValue> = serde_json::from_str(here.get()).ok()?;
                *list.get(place)?
            }
            _ => return None,
        };
    }
    Some(here)
}

/// A string's bytes, or the text of a number or boolean; nothing of anything else.
pub fn as_key(found: &RawValue) -> Option<Cow<'_, [u8]>> {
    match found.get().as_bytes().first()? {
        b'"' => string(found),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(found.get().as_bytes())),
    }
}

/// A string's bytes, or the JSON text of anything else.
pub fn as_value(found: &RawValue) -> Option<Cow<'_, [u8]>> {
    if found.get().starts_with('"') { string(found) } else { Some(Cow::Borrowed(found.get().as_bytes())) }
}

fn string(found: &RawValue) -> Option<Cow<'_, [u8]>> {
    serde_json::from_str::<String>(found.get()).ok().map(|text| Cow::Owned(text.into_bytes()))
}

fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_find_strings_numbers_and_booleans_as_they_were_written() {
        let json = br#"{"id": 1e2, "a": {"b/c": [true, "x\n", 1.50, null, {}]}, "": "e", "t~": 7, "d": 1, "d": 2}"#;
        let key = |pointer: &str| find(json, pointer).and_then(|found| as_key(found).map(Cow::into_owned));
        for (pointer, text) in [
            ("/id", "1e2"),
            ("/a/b~1c/0", "true"),
            ("/a/b~1c/1", "x\n"),
            ("/a/b~1c/2", "1.50"),
            ("/", "e"),
            ("/t~0", "7"),
            ("/d", "2"),
        ] {
            assert_eq!(key(pointer).as_deref(), Some(text.as_bytes()), "{pointer}");
        }
        for pointer in
            ["", "/x", "/a", "/a/b~1c", "/a/b~1c/3", "/a/b~1c/4", "/a/b~1c/5", "/a/b~1c/00", "/a/b~1c/-", "/id/x"]
        {
            assert_eq!(key(pointer), None, "{pointer}");
        }
        assert!(
            find(b"not json", "/id").is_none() && find(b"", "/id").is_none() && find(b"{\"id\":1} x", "/id").is_none()
        );
        assert_eq!(find(json, "/a/b~1c/4").and_then(as_value).as_deref(), Some(&b"{}"[..]));
    }
}
