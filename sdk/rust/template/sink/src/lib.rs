//! A sink. In: a batch of records. Out: a verdict for each, from the answers of an HTTP server.

use serde::Deserialize;
use walhost_sdk::http::{self, Request};
use walhost_sdk::{Reason, Record, Sink, Verdict};

/// What the namespace configures under `settings`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where records go. Its origin must be granted.
    url: String,
}

struct Plugin(Settings);

impl Sink for Plugin {
    type Settings = Settings;

    /// Once in every instance, before anything else. An `Err` refuses the load with this text.
    fn new(settings: Settings) -> Result<Self, String> {
        if settings.url.starts_with("http") { Ok(Self(settings)) } else { Err("url: it must be http or https".into()) }
    }

    /// For one record. An `Err` makes it a dead letter under the reason's code; `http::verdict` says
    /// what walhost's own http target would say of an answer.
    fn deliver(&self, record: &Record) -> Result<Verdict, Reason> {
        Ok(http::verdict(&http::send(self.request(record))))
    }

    /// For a batch, with its requests in parallel. Without this function `deliver` is called for each
    /// record in turn.
    fn deliver_batch(&self, batch: &[Record]) -> Vec<Verdict> {
        let requests = batch.iter().map(|record| self.request(record)).collect();
        http::send_all(requests, 0).iter().map(http::verdict).collect()
    }
}

impl Plugin {
    fn request(&self, record: &Record) -> Request {
        let request = Request::post(&self.0.url).header("webhook-id", record.id.as_str());
        let content_type = record.content_type().unwrap_or("application/octet-stream");
        request.header("content-type", content_type).body(record.value.as_slice())
    }
}

walhost_sdk::export_sink!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use walhost_sdk::http::Response;
    use walhost_sdk::json;
    use walhost_sdk::testing::{self, Host};

    #[test]
    fn each_record_has_the_verdict_of_its_own_answer() {
        let host = Host::new().answer(Response::new(204, "")).answer(Response::new(422, "no such field"));
        let plugin: Plugin = testing::sink(json!({"url": "http://x.test/in"})).expect("the settings are good");
        let verdicts = plugin.deliver_batch(&testing::ndjson(include_str!("../records.ndjson")));
        assert_eq!(verdicts[0], Verdict::Delivered);
        assert!(matches!(&verdicts[1], Verdict::Reject(reason) if reason.code() == "http-422"));
        assert_eq!(host.requests()[1].url, "http://x.test/in");
    }
}
