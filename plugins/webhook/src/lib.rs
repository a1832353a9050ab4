//! `webhook`: posts each record to a URL. In: a batch. Out: a verdict for each record, as walhost's
//! own http target would give it; the requests of a batch run in parallel.
//!
//! The value is the body, its content type is kept; `webhook-id` is the record's id, by which the
//! receiver deduplicates. A tombstone is a DELETE when the settings say so, else rejected.

use serde::Deserialize;
use walhost_sdk::http::{self, Request};
use walhost_sdk::{Reason, Record, Sink, Verdict, context};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where to post. Its origin must be granted.
    url: String,
    /// Requests at once; 0: as many as the grant allows.
    #[serde(default)]
    parallel: u32,
    /// Send a DELETE for a tombstone.
    #[serde(default)]
    delete: bool,
}

struct Webhook(Settings);

impl Sink for Webhook {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        if settings.url.starts_with("http://") || settings.url.starts_with("https://") {
            Ok(Self(settings))
        } else {
            Err(format!("url: `{}` must begin with http:// or https://", settings.url))
        }
    }

    fn deliver(&self, record: &Record) -> Result<Verdict, Reason> {
        let request = self.request(record, &context::namespace())?;
        Ok(http::verdict(&http::send(request)))
    }

    fn deliver_batch(&self, batch: &[Record]) -> Vec<Verdict> {
        let namespace = context::namespace();
        let mut requests = Vec::with_capacity(batch.len());
        // Of every record: nothing when its request is among those sent, else why it cannot be.
        let refused: Vec<Option<Reason>> = batch
            .iter()
            .map(|record| self.request(record, &namespace).map(|request| requests.push(request)).err())
            .collect();
        let mut answers = http::send_all(requests, self.0.parallel).into_iter();
        let verdict = |refused: Option<Reason>| match refused {
            Some(reason) => Verdict::Reject(reason),
            None => http::verdict(&answers.next().expect("the host answers every request")),
        };
        refused.into_iter().map(verdict).collect()
    }
}

impl Webhook {
    fn request(&self, record: &Record, namespace: &str) -> Result<Request, Reason> {
        let method = match record.is_tombstone() {
            false => "POST",
            true if self.0.delete => "DELETE",
            true => return Err(Reason::new("tombstone", "the settings name no way to delete")),
        };
        let mut request = Request::new(method, &self.0.url)
            .header("webhook-id", record.id.as_str())
            .header("wal-namespace", namespace)
            .header("wal-attempt", record.attempt.to_string())
            .header("wal-sequence", record.sequence.to_string());
        if let Some(key) = record.key_text().filter(|key| key.chars().all(|letter| !letter.is_control())) {
            request = request.header("wal-key", key);
        }
        for header in record.headers.iter().filter(|header| !header.name.starts_with("wal-")) {
            request = request.header(header.name.as_str(), header.value.as_slice());
        }
        Ok(request.body(record.value.as_slice()))
    }
}

walhost_sdk::export_sink!(Webhook);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_sdk::http::{Failure, Response};
    use walhost_sdk::testing::{self, Host};
    use walhost_sdk::{Header, json};

    fn webhook(settings: walhost_sdk::Value) -> Webhook {
        testing::sink(settings).unwrap()
    }

    fn tombstone() -> Record {
        let headers = vec![Header { name: "wal-tombstone".into(), value: b"true".to_vec() }];
        Record { headers, key: Some(b"7".to_vec()), ..testing::record("") }
    }

    #[test]
    fn a_record_is_posted_with_its_id_key_headers_and_content_type() {
        let host = Host::new().with_namespace("catalog").answer(Response::new(204, ""));
        let headers = [("content-type", "text/csv"), ("wal-secret", "x"), ("colour", "red")];
        let headers = headers.map(|(name, value)| Header { name: name.into(), value: value.into() });
        let record = Record { attempt: 3, key: Some(b"7".to_vec()), headers: headers.into(), ..testing::record("a;b") };
        assert_eq!(webhook(json!({"url": "http://x.test/hook"})).deliver_batch(&[record]), [Verdict::Delivered]);
        let sent = &host.requests()[0];
        assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "http://x.test/hook"));
        assert_eq!(sent.body, b"a;b");
        let header = |name: &str| sent.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice());
        assert_eq!(header("webhook-id"), Some(b"record-1".as_slice()));
        assert_eq!(header("wal-namespace"), Some(b"catalog".as_slice()));
        assert_eq!((header("wal-key"), header("wal-attempt")), (Some(b"7".as_slice()), Some(b"3".as_slice())));
        assert_eq!((header("content-type"), header("colour")), (Some(b"text/csv".as_slice()), Some(b"red".as_slice())));
        assert_eq!(header("wal-secret"), None);
    }

    #[test]
    fn each_record_has_the_verdict_of_its_own_answer() {
        let host = Host::new()
            .answer(Response::new(200, ""))
            .answer(Response::new(400, "no"))
            .answer(Failure::Timeout("2 s".into()))
            .answer(Response::new(429, "").with_header("retry-after", "2"));
        let batch =
            [testing::record("1"), testing::record("2"), tombstone(), testing::record("3"), testing::record("4")];
        let verdicts = webhook(json!({"url": "http://x.test/", "parallel": 4})).deliver_batch(&batch);
        assert_eq!(verdicts.len(), 5);
        assert_eq!(verdicts[0], Verdict::Delivered);
        assert!(matches!(&verdicts[1], Verdict::Reject(reason) if reason.code() == "http-400"));
        assert!(matches!(&verdicts[2], Verdict::Reject(reason) if reason.code() == "tombstone"));
        assert!(matches!(&verdicts[3], Verdict::Retry(later) if later.reason().code() == "timeout"));
        assert!(matches!(&verdicts[4], Verdict::Throttle(later) if later.after_ms() == Some(2000)));
        assert_eq!((host.requests().len(), host.parallel()), (4, vec![4]));
    }

    #[test]
    fn a_tombstone_is_a_delete_when_the_settings_say_so() {
        let host = Host::new().answer(Response::new(204, ""));
        let webhook = webhook(json!({"url": "http://x.test/", "delete": true}));
        assert_eq!(webhook.deliver(&tombstone()), Ok(Verdict::Delivered));
        assert_eq!(host.requests()[0].method, "DELETE");
    }

    #[test]
    fn a_url_of_another_scheme_refuses_the_load() {
        let refusal = testing::sink::<Webhook>(json!({"url": "ftp://x.test"})).err().unwrap();
        assert!(refusal.contains("must begin with http://"), "{refusal}");
    }
}
