//! A target and a transform that say what a test tells them to, and remember what they saw.
//!
//! In: a script. Out: verdicts, and the list of calls.

use crate::attempt::{Blame, Digest, Failure, Fault};
use crate::error::Result as PortResult;
use crate::record::{Record, RecordId};
use crate::target::{Target, Verdict};
use crate::time::Clock;
use crate::transform::{Outcome, Transform};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What one call of `deliver` saw and said.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it began, of the monotonic clock; zero without a clock.
    pub at: Duration,
    /// Its records, in order.
    pub records: Vec<Record>,
    /// The verdicts; the code of the fault when it broke.
    pub answer: Result<Vec<Verdict>, String>,
}

impl Call {
    /// The ids of its records, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.id.as_str()).collect()
    }
}

type Script = Box<dyn FnMut(&[Record]) -> Result<Vec<Verdict>, Fault> + Send>;

/// A target that follows a script.
pub struct Scripted {
    script: Mutex<Script>,
    calls: Mutex<Vec<Call>>,
    takes: Option<(Arc<dyn Clock>, Mutex<Duration>)>,
    digest: Option<Digest>,
}

/// A retry verdict whose failure says nothing of the record.
pub fn target_failure(code: &str) -> Verdict {
    Verdict::Retry { failure: Failure::new(code, "the destination is not there", Blame::Target), after: None }
}

/// A retry verdict whose failure may be the record's.
pub fn record_failure(code: &str) -> Verdict {
    Verdict::Retry { failure: Failure::new(code, "it did not work", Blame::Record), after: None }
}

/// A reject verdict.
pub fn reject(code: &str) -> Verdict {
    Verdict::Reject { failure: Failure::new(code, "it never will", Blame::Record) }
}

/// A throttle verdict.
pub fn throttle(after: Option<Duration>) -> Verdict {
    Verdict::Throttle { failure: Failure::new("http-429", "slow down", Blame::Target), after }
}

/// A plugin that broke.
pub fn fault(code: &str) -> Fault {
    Fault { code: code.to_owned(), message: "it broke".to_owned(), digest: Some(Digest([9; 32])), took: Duration::ZERO }
}

impl Scripted {
    /// Answers each call as a whole.
    pub fn calls_answered(script: impl FnMut(&[Record]) -> Result<Vec<Verdict>, Fault> + Send + 'static) -> Scripted {
        Scripted { script: Mutex::new(Box::new(script)), calls: Mutex::default(), takes: None, digest: None }
    }

    /// Answers record by record.
    pub fn each(mut script: impl FnMut(&Record) -> Verdict + Send + 'static) -> Scripted {
        Scripted::calls_answered(move |records| Ok(records.iter().map(&mut script).collect()))
    }

    /// Delivers everything.
    pub fn delivering() -> Scripted {
        Scripted::each(|_| Verdict::Delivered)
    }

    /// Each call takes so much simulated time, from begin to verdicts.
    pub fn taking(self, clock: Arc<dyn Clock>, duration: Duration) -> Scripted {
        Scripted { takes: Some((clock, Mutex::new(duration))), ..self }
    }

    /// Is a sink with this digest.
    pub fn with_digest(self, digest: Digest) -> Scripted {
        Scripted { digest: Some(digest), ..self }
    }

    /// Follows another script from now on.
    pub fn rewrite(&self, mut script: impl FnMut(&Record) -> Verdict + Send + 'static) {
        *self.script.lock() = Box::new(move |records: &[Record]| Ok(records.iter().map(&mut script).collect()));
    }

    /// Calls that begin from now on take so long.
    pub fn takes(&self, duration: Duration) {
        let (_, takes) = self.takes.as_ref().expect("only a target with a clock takes time");
        *takes.lock() = duration;
    }

    /// What was seen so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// How often each record was confirmed.
    pub fn delivered(&self) -> BTreeMap<RecordId, usize> {
        let mut delivered = BTreeMap::new();
        for call in self.calls.lock().iter() {
            let Ok(verdicts) = &call.answer else { continue };
            for (record, _) in call.records.iter().zip(verdicts).filter(|(_, v)| **v == Verdict::Delivered) {
                *delivered.entry(record.id.clone()).or_default() += 1;
            }
        }
        delivered
    }
}

#[async_trait]
impl Target for Scripted {
    async fn deliver(&self, records: &[Record]) -> Result<Vec<Verdict>, Fault> {
        let mut at = Duration::ZERO;
        if let Some((clock, takes)) = &self.takes {
            at = clock.monotonic();
            let takes = *takes.lock();
            clock.sleep(takes).await;
        }
        let answer = (self.script.lock())(records);
        let kept = answer.clone().map_err(|fault| fault.code);
        self.calls.lock().push(Call { at, records: records.to_vec(), answer: kept });
        answer
    }

    async fn check(&self) -> PortResult<String> {
        Ok("follows a script".to_owned())
    }

    fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

type TransformScript = Box<dyn FnMut(&[Record]) -> Result<Vec<Outcome>, Fault> + Send>;

/// A transform that follows a script.
pub struct ScriptedTransform {
    script: Mutex<TransformScript>,
    digest: Option<Digest>,
}

impl ScriptedTransform {
    /// Answers each call as a whole.
    pub fn calls_answered(script: impl FnMut(&[Record]) -> Result<Vec<Outcome>, Fault> + Send + 'static) -> Self {
        ScriptedTransform { script: Mutex::new(Box::new(script)), digest: None }
    }

    /// Answers record by record.
    pub fn each(mut script: impl FnMut(&Record) -> Outcome + Send + 'static) -> Self {
        ScriptedTransform::calls_answered(move |records| Ok(records.iter().map(&mut script).collect()))
    }

    /// Has this digest.
    pub fn with_digest(self, digest: Digest) -> Self {
        ScriptedTransform { digest: Some(digest), ..self }
    }
}

#[async_trait]
impl Transform for ScriptedTransform {
    async fn apply(&self, records: &[Record]) -> Result<Vec<Outcome>, Fault> {
        (self.script.lock())(records)
    }

    fn digest(&self) -> Option<Digest> {
        self.digest
    }
}
