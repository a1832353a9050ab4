//! Guests in WAT, good and hostile, through the ports: what the sandbox promises, by number.

#![allow(clippy::unwrap_used)]

mod guest;
mod hostile;
mod limits;
mod load;
mod outbound;

use crate::options::{LogLine, LogSink, PluginOptions};
use crate::{Calls, Plugins};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use walhost_core::disk::OsDisk;
use walhost_core::plugin::{Grants, PluginLimits, PluginSpec};
use walhost_core::time::SystemClock;
use walhost_core::{
    Digest, Headers, NamespaceName, Outcome, PluginLoader, Record, RecordId, Result, Target, TargetName, Transform,
};

/// Keeps what guests say.
#[derive(Default)]
struct Kept(Mutex<Vec<LogLine>>);

impl LogSink for Kept {
    fn line(&self, line: LogLine) {
        self.0.lock().push(line);
    }
}

/// A sandbox in a directory of its own.
struct Bench {
    plugins: Plugins,
    log: Arc<Kept>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut PluginOptions)) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(Kept::default());
        let mut options = PluginOptions::small(dir.path().into(), Arc::new(OsDisk), Arc::new(SystemClock::default()));
        options.log = log.clone();
        change(&mut options);
        Bench { plugins: Plugins::open(options).unwrap(), log, dir }
    }

    async fn stored(&self, component: Vec<u8>) -> Digest {
        self.plugins.store(Bytes::from(component)).await.unwrap().digest
    }

    async fn transform(&self, component: Vec<u8>, change: impl FnOnce(&mut PluginSpec)) -> Result<Arc<dyn Transform>> {
        let mut spec = spec(self.stored(component).await);
        change(&mut spec);
        self.plugins.transform(&spec).await
    }

    async fn sink(&self, component: Vec<u8>, change: impl FnOnce(&mut PluginSpec)) -> Result<Arc<dyn Target>> {
        let mut spec = spec(self.stored(component).await);
        change(&mut spec);
        self.plugins.sink(&spec).await
    }

    fn calls(&self) -> Arc<Calls> {
        self.plugins.calls().pop().unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.log.0.lock().iter().map(|line| line.text.clone()).collect()
    }
}

fn spec(digest: Digest) -> PluginSpec {
    PluginSpec {
        digest,
        namespace: NamespaceName::new("catalog").unwrap(),
        target: TargetName::new("search").unwrap(),
        settings: serde_json::json!({"index": "movies"}),
        grants: Grants::default(),
        limits: PluginLimits {
            deadline: Some("2s".parse().unwrap()),
            cpu: Some("100ms".parse().unwrap()),
            memory: Some("4MiB".parse().unwrap()),
            output: Some("64KiB".parse().unwrap()),
            ..PluginLimits::default()
        },
    }
}

fn record(value: &[u8]) -> Record {
    Record {
        id: RecordId::new("1-1-0-2z"),
        sequence: 7,
        appended_at_ms: 1_000,
        attempt: 1,
        key: Some(Bytes::from_static(b"k")),
        headers: Headers::encode([("colour", b"red".as_slice()), ("traceparent", b"00-1")]),
        value: Bytes::copy_from_slice(value),
    }
}

/// The value that makes a hostile guest do what it does.
fn evil() -> Vec<Record> {
    vec![record(b"!")]
}

fn good() -> Vec<Record> {
    vec![record(b"a"), record(b"b")]
}

async fn serves(transform: &dyn Transform) {
    let outcomes = transform.apply(&good()).await.unwrap();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass]);
}
