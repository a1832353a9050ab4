//! From a body and its headers to a `RecordBatch`: parsed once, never checked again.
//!
//! In: the body's bytes, `Wants`, what the namespace says of keys and sizes. Out: a batch, or each line that
//! is wrong.

use super::headers::Wants;
use super::pointer::Pointer;
use crate::http::error::{Code, Place, Problem};
use sha2::{Digest, Sha256};
use walhost_core::{BatchBuilder, Headers, Idempotency, RecordBatch, limits};

/// How a body becomes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The body is one record's value.
    Single,
    /// One record a line.
    Lines,
}

/// What the namespace says of the records in a body.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Largest value, in bytes, inclusive.
    pub record_bytes_max: u64,
    /// Where the key is, unless the producer sent one.
    pub pointer: Option<&'a Pointer>,
}

/// Content type of the records of an NDJSON batch.
const LINE_TYPE: &[u8] = b"application/json";
/// Lines of one answer that are named as wrong.
const PLACES_MAX: usize = 20;

/// The form that a content type asks for; CloudEvents are refused until they are read.
pub fn form(wants: &Wants<'_>) -> Result<Form, Problem> {
    let Some(kind) = wants.content_type else { return Ok(Form::Single) };
    let kind = kind.as_bytes();
    let end = kind.iter().position(|byte| *byte == b';').unwrap_or(kind.len());
    let kind = kind[..end].trim_ascii();
    if kind.eq_ignore_ascii_case(b"application/x-ndjson") {
        return Ok(Form::Lines);
    }
    if kind.len() >= 24 && kind[..24].eq_ignore_ascii_case(b"application/cloudevents+") {
        return Err(cloudevents());
    }
    if kind.eq_ignore_ascii_case(b"application/cloudevents-batch+json") {
        return Err(cloudevents());
    }
    Ok(Form::Single)
}

fn cloudevents() -> Problem {
    Problem::new(Code::UnsupportedMediaType, "this version does not read structured or batched CloudEvents")
}

/// Makes the batch. What it asks of its queue beside the records (target, due time) is for the caller to set.
pub fn build(body: &[u8], form: Form, wants: &Wants<'_>, rules: Rules<'_>) -> Result<RecordBatch, Problem> {
    if wants.tombstone && !(body.is_empty() && form == Form::Single) {
        return Err(Problem::header("wal-tombstone", "a tombstone has an empty body"));
    }
    let mut batch = match form {
        Form::Single => single(body, wants, rules),
        Form::Lines => lines(body, wants, rules)?,
    };
    batch.target.clone_from(&wants.target);
    batch.idempotency = wants.idempotency.map(|key| idempotency(key, body, wants));
    Ok(batch)
}

fn single(body: &[u8], wants: &Wants<'_>, rules: Rules<'_>) -> RecordBatch {
    // A single value may be anything: what is no JSON has no key.
    let found = match rules.pointer {
        Some(pointer) if wants.key.is_none() => pointer.key(body).ok().flatten(),
        _ => None,
    };
    let key = wants.key.or(found.as_deref()).filter(|key| key.len() <= limits::KEY_BYTES_MAX);
    let content_type = wants.content_type.map(http::HeaderValue::as_bytes);
    let mut builder = BatchBuilder::with_capacity(1, body.len() + key.map_or(0, <[u8]>::len) + 256);
    builder.record_with(key, wants.kept(content_type), body);
    builder.build().expect("one record was added")
}

fn lines(body: &[u8], wants: &Wants<'_>, rules: Rules<'_>) -> Result<RecordBatch, Problem> {
    let headers = Headers::encode(wants.kept(Some(LINE_TYPE)));
    let count = split(body).take(limits::BATCH_RECORDS_MAX + 1).count();
    if count == 0 {
        return Err(Problem::new(Code::MalformedJson, "there is no record in the body: one JSON value a line"));
    }
    let whole = Problem::new(Code::BatchTooLarge, format!("a batch has at most {} records", limits::BATCH_RECORDS_MAX));
    if count > limits::BATCH_RECORDS_MAX {
        return Err(whole.limit(limits::BATCH_RECORDS_MAX as u64));
    }
    let each = headers.as_bytes().len() + wants.key.map_or(0, <[u8]>::len);
    // A key found in a value is no longer than it.
    let found = if rules.pointer.is_some() && wants.key.is_none() { body.len() } else { 0 };
    let total = body.len().saturating_add(count.saturating_mul(each)).saturating_add(found);
    if total > limits::BATCH_BYTES_HARD_MAX {
        let detail = format!("with its keys and headers the batch has {total} bytes");
        return Err(Problem::new(Code::BatchTooLarge, detail).limit(limits::BATCH_BYTES_HARD_MAX as u64));
    }
    let mut builder = BatchBuilder::with_capacity(count, total);
    let (mut large, mut malformed) = (Vec::new(), Vec::new());
    for (line, value) in split(body) {
        let place = |detail: String| Place { line: Some(line), pointer: None, detail };
        if value.len() as u64 > rules.record_bytes_max {
            large.push(place(format!("the record has {} bytes", value.len())));
            continue;
        }
        // Lines are parsed only where the key is looked for in them: then a line that is no JSON shows.
        let found = match rules.pointer {
            Some(pointer) if wants.key.is_none() => match pointer.key(value) {
                Ok(found) => found,
                Err(error) => {
                    malformed.push(place(error.to_string()));
                    continue;
                }
            },
            _ => None,
        };
        let key = wants.key.or(found.as_deref()).filter(|key| key.len() <= limits::KEY_BYTES_MAX);
        builder.record(key, &headers, value);
    }
    if !large.is_empty() {
        let detail = format!("a record of this namespace has at most {} bytes", rules.record_bytes_max);
        let mut problem = Problem::new(Code::RecordTooLarge, detail).limit(rules.record_bytes_max);
        large.truncate(PLACES_MAX);
        problem.errors = large;
        return Err(problem);
    }
    if !malformed.is_empty() {
        let mut problem =
            Problem::new(Code::MalformedJson, format!("{} lines are no JSON; nothing was appended", malformed.len()));
        malformed.truncate(PLACES_MAX);
        problem.errors = malformed;
        return Err(problem);
    }
    Ok(builder.build().expect("records were counted before"))
}

/// The lines that hold something, numbered from 1: LF or CRLF, the last one's end is optional.
fn split(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .enumerate()
        .map(|(place, line)| (place + 1, line))
        .filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// The producer's mark: what it called the request, and what it must be the same as. The trace context is
/// another one with every try and does not count.
fn idempotency(key: &[u8], body: &[u8], wants: &Wants<'_>) -> Idempotency {
    let mut content = Sha256::new();
    let mut part = |bytes: &[u8]| {
        content.update((bytes.len() as u64).to_le_bytes());
        content.update(bytes);
    };
    part(body);
    part(wants.key.unwrap_or_default());
    part(wants.content_type.map_or(b"", |kind| kind.as_bytes()));
    part(wants.target.as_ref().map_or(b"", |target| target.as_str().as_bytes()));
    part(format!("{:?} {} {}", wants.due, wants.jitter_ms, wants.tombstone).as_bytes());
    for (name, value) in &wants.record_headers {
        part(name.as_bytes());
        part(value);
    }
    Idempotency { key: first_half(&Sha256::digest(key)), content: first_half(&content.finalize()) }
}

fn first_half(hash: &[u8]) -> [u8; 16] {
    hash[..16].try_into().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::str::FromStr;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (HeaderName::from_str(name).unwrap(), HeaderValue::from_str(value).unwrap());
        pairs.iter().map(pair).collect()
    }

    fn batch(pairs: &[(&str, &str)], body: &[u8], pointer: Option<&str>) -> Result<RecordBatch, Problem> {
        let headers = headers(pairs);
        let wants = Wants::read(&headers).unwrap();
        let pointer = pointer.map(|text| Pointer::parse(text).unwrap());
        build(body, form(&wants)?, &wants, Rules { record_bytes_max: 20, pointer: pointer.as_ref() })
    }

    const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson; charset=utf-8");

    #[test]
    fn a_single_value_is_kept_byte_for_byte_with_its_content_type() {
        let batch = batch(&[("content-type", "text/plain"), ("wal-key", "k")], b"a\r\n\nb", None).unwrap();
        let (key, headers, value) = batch.parts(0);
        assert_eq!((&key[..], &value[..]), (b"k".as_slice(), b"a\r\n\nb".as_slice()));
        assert_eq!(headers.text("content-type"), Some("text/plain"));
    }

    #[test]
    fn lines_end_in_lf_or_crlf_and_blank_ones_are_skipped() {
        let batch = batch(&[NDJSON], b"{\"id\":1}\r\n\n  \n{\"id\":2} \n[]", Some("/id")).unwrap();
        let parts: Vec<_> = (0..batch.count()).map(|place| batch.parts(place)).collect();
        let values: Vec<_> = parts.iter().map(|(key, _, value)| (&key[..], &value[..])).collect();
        let wanted: [(&[u8], &[u8]); 3] = [(b"1", b"{\"id\":1}"), (b"2", b"{\"id\":2} "), (b"", b"[]")];
        assert_eq!(values, wanted);
        assert_eq!(parts[2].1.text("content-type"), Some("application/json"));
    }

    #[test]
    fn a_line_that_is_too_large_is_named_and_nothing_is_built() {
        let body = format!("{}\n{}\n{}", "1".repeat(20), "2".repeat(21), "3".repeat(22));
        let problem = batch(&[NDJSON], body.as_bytes(), None).unwrap_err();
        assert_eq!(problem.code, Code::RecordTooLarge);
        assert_eq!(problem.errors.iter().map(|place| place.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
        assert_eq!(batch(&[NDJSON], b"\n \r\n", None).unwrap_err().code, Code::MalformedJson);
    }

    #[test]
    fn lines_are_parsed_only_where_the_key_is_looked_for_in_them() {
        let body = b"{\"id\":1}\n{oops\n";
        assert_eq!(batch(&[NDJSON], body, None).unwrap().count(), 2);
        assert_eq!(batch(&[NDJSON, ("wal-key", "k")], body, Some("/id")).unwrap().count(), 2);
        let problem = batch(&[NDJSON], body, Some("/id")).unwrap_err();
        assert_eq!((problem.code, problem.errors[0].line), (Code::MalformedJson, Some(2)));
        assert!(batch(&[], b"{oops", Some("/id")).unwrap().parts(0).0.is_empty());
    }

    #[test]
    fn a_batch_that_its_headers_blow_up_is_refused_and_not_built() {
        let big = "x".repeat(8_000);
        let body = b"1\n".repeat(10_000);
        let problem = batch(&[NDJSON, ("wal-header-big", &big)], &body, None).unwrap_err();
        assert_eq!(problem.code, Code::BatchTooLarge);
        assert_eq!(batch(&[NDJSON], &b"1\n".repeat(65_537), None).unwrap_err().code, Code::BatchTooLarge);
    }

    #[test]
    fn the_mark_against_duplicates_compares_everything_but_the_trace() {
        let mark = |pairs: &[(&str, &str)], body: &[u8]| {
            let mut all = vec![("idempotency-key", "k")];
            all.extend_from_slice(pairs);
            batch(&all, body, None).unwrap().idempotency.unwrap()
        };
        let plain = mark(&[], b"v");
        assert_eq!(mark(&[("traceparent", "00-1")], b"v"), plain);
        for other in [
            mark(&[], b"w"),
            mark(&[("wal-key", "a")], b"v"),
            mark(&[("wal-header-a", "b")], b"v"),
            mark(&[("content-type", "a/b")], b"v"),
            mark(&[("wal-target", "t")], b"v"),
            mark(&[("wal-delay", "1s")], b"v"),
        ] {
            assert_eq!(other.key, plain.key);
            assert_ne!(other.content, plain.content);
        }
    }

    #[test]
    fn a_tombstone_has_no_body_and_cloudevents_are_refused_by_their_type() {
        assert_eq!(batch(&[("wal-tombstone", "true")], b"x", None).unwrap_err().code, Code::BadHeader);
        let built = batch(&[("wal-tombstone", "true"), ("wal-key", "k")], b"", None).unwrap();
        assert_eq!(built.parts(0).1.text("wal-tombstone"), Some("true"));
        for kind in ["application/cloudevents+json", "application/cloudevents-batch+json; charset=utf-8"] {
            assert_eq!(batch(&[("content-type", kind)], b"", None).unwrap_err().code, Code::UnsupportedMediaType);
        }
    }
}
