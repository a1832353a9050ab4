//! A target with moods, and a transform: down for a while, slow, picky, broken, by dice of their own.
//!
//! In: records. Out: verdicts; arrivals in the books.

use crate::books::Books;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use walhost_core::random::mix;
use walhost_core::testkit::ScriptedTransform;
use walhost_core::testkit::scripted::{fault, record_failure, reject, target_failure, throttle};
use walhost_core::time::SimClock;
use walhost_core::{Clock, Digest, Fault, Outcome, Random, Record, Result, Target, Verdict};

/// How often each mood came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moods {
    pub down: u64,
    pub failed: u64,
    pub throttled: u64,
    pub rejected: u64,
    pub broken: u64,
    pub delivered: u64,
    pub slow: u64,
}

pub struct Moody {
    pub clock: Arc<SimClock>,
    pub books: Arc<Books>,
    pub random: Random,
    /// Says when it is down.
    pub mood: u64,
    /// It never says that a record is at fault: nothing dies.
    pub patient: bool,
    /// From now on all is well.
    pub well: Mutex<bool>,
    pub moods: Mutex<Moods>,
}

impl Moody {
    /// Down for minutes now and then, as a deployment or an outage.
    fn is_down(&self) -> bool {
        !*self.well.lock() && mix((self.clock.monotonic().as_secs() / 40) ^ self.mood).is_multiple_of(6)
    }
}

#[async_trait]
impl Target for Moody {
    async fn deliver(&self, records: &[Record]) -> std::result::Result<Vec<Verdict>, Fault> {
        let well = *self.well.lock();
        let slow = !well && self.random.below(50) == 0;
        let takes_ms = if slow { self.random.below(40_000) } else { 1 + self.random.below(20) };
        self.moods.lock().slow += u64::from(slow);
        self.clock.sleep(Duration::from_millis(takes_ms)).await;
        let (down, mut moods) = (self.is_down(), self.moods.lock());
        if !well && !down && self.random.below(60) == 0 {
            moods.broken += 1;
            return Err(fault("plugin-trap"));
        }
        let verdict = |record: &Record| {
            let dice = if well { 99 } else { self.random.below(100) };
            match dice {
                _ if down => {
                    moods.down += 1;
                    target_failure("connect")
                }
                0..6 => {
                    moods.failed += 1;
                    record_failure("http-500")
                }
                6 => {
                    moods.throttled += 1;
                    throttle(Some(Duration::from_millis(self.random.below(5_000))))
                }
                7 | 8 if !self.patient => {
                    moods.rejected += 1;
                    reject("http-400")
                }
                _ => {
                    moods.delivered += 1;
                    self.books.arrived(record, self.clock.monotonic(), self.clock.now_ms());
                    Verdict::Delivered
                }
            }
        };
        Ok(records.iter().map(verdict).collect())
    }

    async fn check(&self) -> Result<String> {
        Ok("in this or that mood".to_owned())
    }

    fn digest(&self) -> Option<Digest> {
        None
    }
}

/// Leaves out the records whose value says so.
pub fn sieve() -> ScriptedTransform {
    ScriptedTransform::each(|record| if record.value.ends_with(b"chaff") { Outcome::Filter } else { Outcome::Pass })
}
