//! `search_index`: indexes records by the bulk API of Elasticsearch and OpenSearch. In: a batch of
//! JSON objects and tombstones. Out: a verdict for each, from the item of the bulk answer that is its.
//!
//! A document's version is the record's sequence (`external_gte`), so a late redelivery cannot
//! overwrite newer data; a conflict means that the newer one is there already: delivered. Its id is
//! what `id_pointer` leads to, else the record's key, else the record's id. A tombstone deletes by
//! the record's key.
//!
//! Whose failure an answer is. A missing index, refused credentials, a wrong address and a read-only
//! block are the target's: nothing in a record chooses them, so they throttle, which holds records
//! and spends no attempt until somebody mends them. A refused document is the record's: rejected
//! under the answer's own error type. A request that is too large or refused as a whole is sent again
//! in halves, until the guilty record is alone.

use serde::Deserialize;
use std::ops::Range;
use walhost_sdk::http::{self, Request, Response};
use walhost_sdk::{Later, Reason, Record, Sink, Value, Verdict, context, json};

/// Bytes of a document's id that the servers accept; one longer would refuse the whole request.
const ID_BYTES_MAX: usize = 512;
/// Least time that must be left of a call to send another half, in milliseconds.
const HALF_TIME_MIN_MS: u64 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where the server is, without `/_bulk`. Its origin must be granted.
    url: String,
    /// The index.
    index: String,
    /// JSON pointer to the document's id; none: the record's key, else the record's id.
    id_pointer: Option<String>,
    /// How versions are compared.
    #[serde(default)]
    version: Version,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Version {
    /// The server keeps the document with the greater sequence; an equal one is written again.
    #[default]
    ExternalGte,
    /// The last to arrive is kept.
    None,
}

struct SearchIndex {
    settings: Settings,
    bulk_url: String,
}

/// The lines of one record in a request, or why it has none.
type Lines = Result<Vec<u8>, Reason>;

impl Sink for SearchIndex {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        if !settings.url.starts_with("http://") && !settings.url.starts_with("https://") {
            return Err(format!("url: `{}` must begin with http:// or https://", settings.url));
        }
        if settings.index.is_empty() {
            return Err("index: the name is empty".into());
        }
        if let Some(pointer) = settings.id_pointer.as_ref().filter(|pointer| !pointer.starts_with('/')) {
            return Err(format!("id_pointer: `{pointer}` must begin with a slash"));
        }
        let bulk_url = format!("{}/_bulk", settings.url.trim_end_matches('/'));
        Ok(Self { settings, bulk_url })
    }

    fn deliver(&self, record: &Record) -> Result<Verdict, Reason> {
        let verdict = self.deliver_batch(std::slice::from_ref(record)).pop();
        Ok(verdict.expect("one verdict for one record"))
    }

    fn deliver_batch(&self, batch: &[Record]) -> Vec<Verdict> {
        let lines: Vec<Lines> = batch.iter().map(|record| self.lines(record)).collect();
        let good: Vec<&[u8]> = lines.iter().flatten().map(Vec::as_slice).collect();
        let mut verdicts = self.send(&good).into_iter();
        let verdict = |lines: Lines| match lines {
            Ok(_) => verdicts.next().expect("one verdict for each record that was sent"),
            Err(reason) => Verdict::Reject(reason),
        };
        lines.into_iter().map(verdict).collect()
    }
}

impl SearchIndex {
    /// The action line of a record, and its document.
    fn lines(&self, record: &Record) -> Lines {
        if record.is_tombstone() {
            let id = record.key_text().filter(|key| !key.is_empty());
            let id = id.ok_or_else(|| Reason::new("tombstone-without-key", "nothing says what to delete"))?;
            return self.action("delete", id, record);
        }
        let value: Value = record.json()?;
        if !value.is_object() {
            return Err(Reason::new("not-an-object", "a document must be a JSON object"));
        }
        let id = match &self.settings.id_pointer {
            None => record.key_text().filter(|key| !key.is_empty()).unwrap_or(&record.id).to_owned(),
            Some(pointer) => match value.pointer(pointer) {
                Some(Value::String(text)) if !text.is_empty() => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                _ => return Err(Reason::new("no-id", format!("the document has no id at `{pointer}`"))),
            },
        };
        let mut lines = self.action("index", &id, record)?;
        // Inside JSON's strings a line break is escaped: a bare one is space between two tokens.
        lines.extend(record.value.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        lines.push(b'\n');
        Ok(lines)
    }

    fn action(&self, verb: &str, id: &str, record: &Record) -> Lines {
        if id.len() > ID_BYTES_MAX {
            let text = format!("the document's id has {} bytes, the most is {ID_BYTES_MAX}", id.len());
            return Err(Reason::new("id-too-long", text));
        }
        let mut place = json!({"_index": self.settings.index, "_id": id});
        if self.settings.version == Version::ExternalGte {
            place["version"] = record.sequence.into();
            place["version_type"] = "external_gte".into();
        }
        let mut line = json!({verb: place}).to_string().into_bytes();
        line.push(b'\n');
        Ok(line)
    }

    /// Sends all, in as few requests as the server takes.
    fn send(&self, lines: &[&[u8]]) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Delivered; lines.len()];
        let mut open: Vec<Range<usize>> = Vec::new();
        if !lines.is_empty() {
            open.push(0..lines.len());
        }
        let mut sent = 0;
        while let Some(part) = open.pop() {
            let out_of_time = sent > 0 && context::time_left_ms() < HALF_TIME_MIN_MS;
            let answer = match out_of_time {
                true => Answer::All(retry("out-of-time", "the rest of the batch is sent with the next call")),
                false => self.request(&lines[part.clone()]),
            };
            sent += 1;
            match answer {
                Answer::Each(each) => verdicts[part].clone_from_slice(&each),
                Answer::All(verdict) => verdicts[part].fill(verdict),
                Answer::Refused(reason) if part.len() == 1 => verdicts[part].fill(Verdict::Reject(reason)),
                Answer::Refused(_) => {
                    let middle = part.start + part.len() / 2;
                    open.push(middle..part.end);
                    open.push(part.start..middle);
                }
            }
        }
        verdicts
    }

    fn request(&self, lines: &[&[u8]]) -> Answer {
        let request = Request::post(&self.bulk_url).header("content-type", "application/x-ndjson");
        let answer = http::send(request.body(lines.concat()));
        let response = match &answer {
            Ok(response) if response.is_success() => response,
            _ => return Answer::of_refused_request(http::verdict(&answer), answer.map_or(0, |answer| answer.status)),
        };
        match of_items(response, lines.len()) {
            Ok(verdicts) => Answer::Each(verdicts),
            Err(text) => Answer::All(retry("bad-answer", text)),
        }
    }
}

/// What became of one request.
enum Answer {
    /// A verdict for each of its records.
    Each(Vec<Verdict>),
    /// One verdict for all of them.
    All(Verdict),
    /// The server took offence at something in it: each half may fare better.
    Refused(Reason),
}

impl Answer {
    /// `verdict` is what any HTTP target would say of it; status 0: there was no answer.
    fn of_refused_request(verdict: Verdict, status: u16) -> Self {
        match (status, verdict) {
            // The address, the credentials and the index server's rights are no record's.
            (401 | 403 | 404 | 405, Verdict::Reject(reason)) => Self::All(Verdict::Throttle(reason.into())),
            (400 | 413, Verdict::Reject(reason)) => Self::Refused(reason),
            (_, verdict) => Self::All(verdict),
        }
    }
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<std::collections::BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    error: Option<Value>,
}

/// A verdict for each item of a bulk answer; else what is wrong with it.
fn of_items(response: &Response, count: usize) -> Result<Vec<Verdict>, String> {
    let answer: BulkAnswer = response.json().map_err(|reason| reason.message().to_owned())?;
    if answer.items.len() != count {
        return Err(format!("{count} records were sent, {} items came back", answer.items.len()));
    }
    let item = |item: std::collections::BTreeMap<String, Item>| {
        let (verb, item) = item.into_iter().next().ok_or("an item of the answer is empty")?;
        Ok(of_item(&verb, &item))
    };
    answer.items.into_iter().map(item).collect()
}

fn of_item(verb: &str, item: &Item) -> Verdict {
    let reason = || item.reason();
    match item.status {
        200..300 => Verdict::Delivered,
        // A newer version is there already.
        409 => Verdict::Delivered,
        // What was to be deleted is not there; with an error it is the index that is missing.
        404 if verb == "delete" && item.error.is_none() => Verdict::Delivered,
        401 | 403 | 404 | 408 | 429 | 502 | 503 | 504 => Verdict::Throttle(reason().into()),
        500.. => Verdict::Retry(reason().into()),
        _ => Verdict::Reject(reason()),
    }
}

impl Item {
    /// The answer's own error type is the code: `mapper_parsing_exception` becomes
    /// `mapper-parsing-exception`.
    fn reason(&self) -> Reason {
        let status = format!("item-{}", self.status);
        match &self.error {
            Some(Value::Object(error)) => {
                let code = error.get("type").and_then(Value::as_str).unwrap_or(&status);
                let text = error.get("reason").and_then(Value::as_str).unwrap_or("the server gave no reason");
                Reason::new(code, text)
            }
            Some(other) => Reason::new(status, other.to_string()),
            None => Reason::new(status, "the server gave no error"),
        }
    }
}

fn retry(code: &str, text: impl Into<String>) -> Verdict {
    Verdict::Retry(Later::backoff(Reason::new(code, text)))
}

walhost_sdk::export_sink!(SearchIndex);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_sdk::http::Failure;
    use walhost_sdk::testing::{self, Host};
    use walhost_sdk::{Header, serde_json};

    fn sink(settings: Value) -> SearchIndex {
        testing::sink(settings).unwrap()
    }

    fn movies() -> SearchIndex {
        sink(json!({"url": "http://x.test:9200/", "index": "movies", "id_pointer": "/id"}))
    }

    fn tombstone(key: &str) -> Record {
        let headers = vec![Header { name: "wal-tombstone".into(), value: b"true".to_vec() }];
        Record { headers, key: Some(key.into()), ..testing::record("") }
    }

    fn documents(count: u64) -> Vec<Record> {
        let document = |n| Record { sequence: n, ..testing::json(json!({"id": n})) };
        (1..=count).map(document).collect()
    }

    /// Answers every item of a request as `status` says of its id.
    fn bulk_server(status: impl Fn(&str) -> Value + 'static) -> Host {
        Host::new().answer_with(move |request| {
            let actions =
                request.body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
            let actions = actions.filter(|line: &Value| line["index"].is_object() || line["delete"].is_object());
            let items: Vec<Value> = actions
                .map(|action| {
                    let (verb, place) = action.as_object().unwrap().iter().next().unwrap();
                    json!({verb.as_str(): status(place["_id"].as_str().unwrap())})
                })
                .collect();
            Ok(Response::new(200, json!({"took": 1, "errors": false, "items": items}).to_string()))
        })
    }

    /// One word a verdict.
    fn words(verdicts: &[Verdict]) -> Vec<String> {
        let word = |verdict: &Verdict| match verdict {
            Verdict::Delivered => "delivered".to_owned(),
            Verdict::Retry(later) => format!("retry {}", later.reason().code()),
            Verdict::Throttle(later) => format!("throttle {}", later.reason().code()),
            Verdict::Reject(reason) => format!("reject {}", reason.code()),
        };
        verdicts.iter().map(word).collect()
    }

    /// What one answer makes of a batch of two.
    fn of_answer(answer: impl Into<testing::Answer>) -> Vec<String> {
        let _host = Host::new().answer(answer);
        words(&movies().deliver_batch(&documents(2)))
    }

    #[test]
    fn a_batch_is_one_request_of_lines_with_versions_and_a_final_line_break() {
        let host = bulk_server(|_| json!({"status": 201}));
        let pretty = Record { sequence: 7, ..testing::record("{\n \"id\": \"a\\nb\"\r\n}") };
        assert_eq!(movies().deliver_batch(&[pretty, tombstone("9")]), [Verdict::Delivered, Verdict::Delivered]);
        let sent = &host.requests()[0];
        assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "http://x.test:9200/_bulk"));
        assert_eq!(sent.headers, [("content-type".to_owned(), b"application/x-ndjson".to_vec())]);
        let expected = concat!(
            r#"{"index":{"_index":"movies","_id":"a\nb","version":7,"version_type":"external_gte"}}"#,
            "\n{  \"id\": \"a\\nb\"  }\n",
            r#"{"delete":{"_index":"movies","_id":"9","version":1,"version_type":"external_gte"}}"#,
            "\n",
        );
        assert_eq!(str::from_utf8(&sent.body).unwrap(), expected);
    }

    #[test]
    fn the_id_is_the_pointers_else_the_key_else_the_records() {
        let host = bulk_server(|_| json!({"status": 201}));
        let plain = sink(json!({"url": "http://x.test", "index": "i", "version": "none"}));
        let keyed = Record { key: Some(b"k".to_vec()), ..testing::json(json!({})) };
        plain.deliver_batch(&[keyed, testing::json(json!({}))]);
        let expected = "{\"index\":{\"_index\":\"i\",\"_id\":\"k\"}}\n{}\n{\"index\":{\"_index\":\"i\",\"_id\":\"record-1\"}}\n{}\n";
        assert_eq!(str::from_utf8(&host.requests()[0].body).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_a_document_is_rejected_and_not_sent() {
        let host = bulk_server(|_| json!({"status": 201}));
        let long = json!({"id": "x".repeat(ID_BYTES_MAX + 1)});
        let mut batch =
            vec![testing::record("{"), testing::json(json!([1])), testing::json(json!({})), testing::json(long)];
        batch.extend([tombstone(""), testing::json(json!({"id": true}))]);
        let expected = [
            "reject not-json",
            "reject not-an-object",
            "reject no-id",
            "reject id-too-long",
            "reject tombstone-without-key",
            "delivered",
        ];
        assert_eq!(words(&movies().deliver_batch(&batch)), expected);
        assert_eq!(host.requests()[0].body.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(words(&movies().deliver_batch(&batch[..1])), ["reject not-json"]);
        assert_eq!(host.requests().len(), 1, "nothing good, nothing sent");
    }

    #[test]
    fn each_item_has_its_own_verdict() {
        let error = |status: u16, kind: &str| json!({"status": status, "error": {"type": kind, "reason": "because"}});
        let _host = bulk_server(move |id| match id {
            "1" => json!({"status": 200}),
            "2" => error(409, "version_conflict_engine_exception"),
            "3" => error(400, "mapper_parsing_exception"),
            "4" => error(429, "cluster_block_exception"),
            "5" => error(404, "index_not_found_exception"),
            "6" => error(500, "illegal_state_exception"),
            "7" => error(503, "unavailable_shards_exception"),
            _ => json!({"status": 400}),
        });
        let expected = [
            "delivered",
            "delivered",
            "reject mapper-parsing-exception",
            "throttle cluster-block-exception",
            "throttle index-not-found-exception",
            "retry illegal-state-exception",
            "throttle unavailable-shards-exception",
            "reject item-400",
        ];
        assert_eq!(words(&movies().deliver_batch(&documents(8))), expected);
    }

    #[test]
    fn a_delete_of_what_is_not_there_is_delivered_but_a_missing_index_is_not() {
        let _host = bulk_server(|id| match id {
            "1" => json!({"status": 404, "result": "not_found"}),
            _ => json!({"status": 404, "error": {"type": "index_not_found_exception"}}),
        });
        let verdicts = movies().deliver_batch(&[tombstone("1"), tombstone("2")]);
        assert_eq!(words(&verdicts), ["delivered", "throttle index-not-found-exception"]);
    }

    #[test]
    fn a_refusal_of_the_whole_request_says_whose_it_is() {
        for (status, expected) in [
            (429, "throttle http-429"),
            (503, "throttle http-503"),
            (401, "throttle http-401"),
            (404, "throttle http-404"),
            (500, "retry http-500"),
            (406, "reject http-406"),
            (302, "reject http-302"),
        ] {
            assert_eq!(of_answer(Response::new(status, "")), [expected; 2]);
        }
        assert_eq!(of_answer(Failure::Connect("refused".into())), ["throttle connect"; 2]);
        assert_eq!(of_answer(Failure::Denied("no grant".into())), ["throttle http-denied"; 2]);
        assert_eq!(of_answer(Failure::Timeout("2 s".into())), ["retry timeout"; 2]);
        assert_eq!(of_answer(Failure::Broken("reset".into())), ["retry broken"; 2]);
    }

    #[test]
    fn an_answer_that_does_not_fit_the_request_is_a_retry() {
        assert_eq!(of_answer(Response::new(200, r#"{"items":[{"index":{"status":201}}]}"#)), ["retry bad-answer"; 2]);
        assert_eq!(of_answer(Response::new(200, r#"{"items":[{},{}]}"#)), ["retry bad-answer"; 2]);
        assert_eq!(of_answer(Response::new(200, "<html>")), ["retry bad-answer"; 2]);
    }

    /// A server that takes at most `most` documents at once and never document 3.
    fn picky_server(most: usize, status: u16) -> Host {
        Host::new().answer_with(move |request| {
            let text = str::from_utf8(&request.body).unwrap();
            let count = text.lines().count() / 2;
            if count > most || text.contains("\"_id\":\"3\"") {
                return Ok(Response::new(status, ""));
            }
            Ok(Response::new(200, json!({"items": vec![json!({"index": {"status": 201}}); count]}).to_string()))
        })
    }

    #[test]
    fn a_request_too_large_is_halved_until_the_guilty_record_is_alone() {
        for status in [413, 400] {
            let host = picky_server(2, status);
            let verdicts = words(&movies().deliver_batch(&documents(5)));
            assert_eq!(verdicts[2], format!("reject http-{status}"));
            assert_eq!(verdicts.iter().filter(|word| *word == "delivered").count(), 4);
            assert!(host.requests().len() <= 9);
        }
    }

    #[test]
    fn halving_stops_when_the_time_is_up() {
        let host = picky_server(1, 413).with_time_left_ms(HALF_TIME_MIN_MS - 1);
        assert_eq!(words(&movies().deliver_batch(&documents(2))), ["retry out-of-time"; 2]);
        assert_eq!(host.requests().len(), 1);
    }

    #[test]
    fn settings_that_cannot_work_refuse_the_load() {
        let refusal = |settings| testing::sink::<SearchIndex>(settings).err().unwrap();
        assert!(refusal(json!({"url": "x.test", "index": "i"})).contains("http://"));
        assert!(refusal(json!({"url": "http://x.test", "index": ""})).contains("empty"));
        assert!(refusal(json!({"url": "http://x.test", "index": "i", "id_pointer": "id"})).contains("slash"));
        assert!(
            refusal(json!({"url": "http://x.test", "index": "i", "version": "internal"})).contains("unknown variant")
        );
    }
}
