//! A good target passes the suite, and each kind of bad one is caught.

use super::*;
use crate::attempt::{Failure, Fault};
use crate::error::{Error, Kind, Result as PortResult};
use parking_lot::Mutex;

/// What is wrong with a target, on purpose.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    None,
    /// Says delivered and keeps nothing.
    Loses,
    /// Keeps what a check left.
    CheckLeaves,
    /// A dead destination is the record's failure.
    Blames,
    /// Forgets a verdict.
    Counts,
    /// Rejects what a busy destination did not take.
    Rejects,
}

struct Memory {
    flaw: Flaw,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct MemoryTarget {
    flaw: Flaw,
    mood: Mood,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

#[async_trait]
impl Harness for Memory {
    async fn target(&self, mood: Mood) -> Option<Arc<dyn Target>> {
        Some(Arc::new(MemoryTarget { flaw: self.flaw, mood, kept: self.kept.clone() }))
    }

    async fn kept(&self) -> Vec<Vec<u8>> {
        self.kept.lock().clone()
    }
}

#[async_trait]
impl Target for MemoryTarget {
    async fn deliver(&self, records: &[Record]) -> Result<Vec<Verdict>, Fault> {
        let retry = |code, blame| Verdict::Retry { failure: Failure::new(code, "it did not work", blame), after: None };
        let reject = || Verdict::Reject { failure: Failure::new("bad", "never", Blame::Record) };
        let verdict = |record: &Record| match self.mood {
            Mood::Takes => {
                if self.flaw != Flaw::Loses {
                    self.kept.lock().push(record.value.to_vec());
                }
                Verdict::Delivered
            }
            Mood::Refuses if self.flaw == Flaw::Blames => retry("connect", Blame::Record),
            Mood::Busy if self.flaw == Flaw::Rejects => reject(),
            Mood::Refuses | Mood::Busy => retry("connect", Blame::Target),
            Mood::Hangs | Mood::Tears => retry("timeout", Blame::Record),
            Mood::Rejects => reject(),
        };
        let mut verdicts: Vec<_> = records.iter().map(verdict).collect();
        if self.flaw == Flaw::Counts && verdicts.len() > 10 {
            verdicts.pop();
        }
        Ok(verdicts)
    }

    async fn check(&self) -> PortResult<String> {
        if self.mood == Mood::Refuses {
            return Err(Error::new(Kind::Unavailable, "target.check", "nobody listens there"));
        }
        if self.flaw == Flaw::CheckLeaves {
            self.kept.lock().push(b"check".to_vec());
        }
        Ok("keeps records in memory".to_owned())
    }
}

fn try_it(flaw: Flaw) -> std::thread::Result<()> {
    std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        runtime.block_on(run(&Memory { flaw, kept: Arc::default() }));
    })
}

#[test]
fn a_good_target_passes() {
    assert!(try_it(Flaw::None).is_ok());
}

#[test]
fn each_flaw_is_caught() {
    for flaw in [Flaw::Loses, Flaw::CheckLeaves, Flaw::Blames, Flaw::Counts, Flaw::Rejects] {
        assert!(try_it(flaw).is_err());
    }
}
