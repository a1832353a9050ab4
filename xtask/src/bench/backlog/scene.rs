//! A host with a destination that the bench plays.
//!
//! In: a config with the destination's address in it. Out: loads, deliveries, and how much waits.

use crate::bench::measure::VALUE_BYTES;
use crate::bench::server::{Ask, Server};
use crate::bench::stage::Stage;
use anyhow::ensure;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use walhost_load::{Numbers, Outcome, Receiver, Timeline, Values};

/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(2);

/// Host, destination, and what was acknowledged so far.
pub struct Scene {
    /// Dropped first.
    pub stage: Stage,
    pub receiver: Receiver,
    pub timeline: Timeline,
    pub values: Arc<Values>,
    pub acknowledged: Numbers,
    next: u64,
}

impl Scene {
    /// A host that runs, with a config made for the receiver's URL.
    pub fn start(
        binary: &Path,
        directory: &Path,
        size: usize,
        config: impl FnOnce(&str) -> String,
    ) -> anyhow::Result<Scene> {
        let timeline = Timeline::default();
        let values = Arc::new(Values::new(1, size)?);
        let receiver = Receiver::start(SocketAddr::from(([127, 0, 0, 1], 0)), &values, &timeline)?;
        let url = format!("http://{}/", receiver.address);
        let mut stage = Stage::new(binary, directory, &config(&url))?;
        stage.start()?;
        Ok(Scene { stage, receiver, timeline, values, acknowledged: Numbers::default(), next: 0 })
    }

    /// The same with one namespace, `bench`, and one target, `out`, with more lines for it.
    pub fn single(binary: &Path, directory: &Path, more: &str) -> anyhow::Result<Scene> {
        Scene::start(binary, directory, VALUE_BYTES, |url| {
            format!(
                "[namespaces.bench]\n{}\n[namespaces.bench.targets.out]\ntype = \"http\"\nurl = \"{url}\"\n{more}\n",
                crate::bench::stage::WIDE
            )
        })
    }

    /// Posts so many records a second for so long, or as many as go.
    pub fn post(
        &mut self,
        outstanding: usize,
        batch: usize,
        rate: Option<u64>,
        duration: Duration,
        streams: u64,
        delay_ms: Option<(u64, u64)>,
    ) -> anyhow::Result<Outcome> {
        let first = self.next.next_multiple_of(64);
        let ask = Ask { outstanding, batch, rate, duration, streams, first };
        let outcome = self.stage.post("bench", delay_ms, &ask, &self.timeline, &self.values)?;
        ensure!(outcome.refused.is_empty(), "refused records void the run: {:?}", outcome.refused);
        self.next = outcome.next;
        self.acknowledged.join(&outcome.acknowledged);
        Ok(outcome)
    }

    /// Acknowledged records that have not been delivered.
    pub fn waiting(&self) -> u64 {
        self.receiver.missing(&self.acknowledged)
    }

    /// Waits until so many records wait at most, or for so long; answers whether it came to it.
    pub fn drain_to(&self, waiting: u64, at_most: Duration) -> bool {
        let begun = Instant::now();
        // Counting costs more the more records there are: not more often than the figure needs.
        while self.waiting() > waiting {
            if begun.elapsed() > at_most {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Starts the killed host again; answers when the first POST was taken, since the launch.
    pub fn restart(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.stage.launch()?;
        let stage = &self.stage;
        crate::bench::server::await_ready("walhost", begun, Duration::from_secs(120), || stage.takes("bench"))
    }
}
