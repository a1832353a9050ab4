//! The crash harness: random work on a disk that loses, lies and stops anywhere, judged by a model that
//! knows what was promised.
//!
//! In: seeds. Out: what happened, or the first promise that was broken.

mod flips;
mod model;
mod run;
#[cfg(test)]
mod tests;

pub use flips::{Flips, flips};
pub use run::{campaign, campaign_of, recovery_steps, run};

use std::collections::BTreeMap;
use walhost_core::disk::Counters;

/// What a campaign went through, so that it can prove that its faults happened.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Directories left by a crash, a kill or a stop during recovery, and opened again.
    pub crash_states: u64,
    /// Opens that were stopped before they were done.
    pub recoveries_stopped: u64,
    /// Opens that were done, each with a durable fence.
    pub fences: u64,
    /// Frames acknowledged.
    pub acknowledged: u64,
    /// Fences with frames copied behind them.
    pub fences_with_copies: u64,
    /// Frames copied behind a fence.
    pub copies: u64,
    /// Logs that were closed, and sealed by that.
    pub closed: u64,
    /// Copies of headers damaged on purpose: each costs nothing.
    pub headers_damaged: u64,
    /// Commits of a trailer alone.
    pub idle_trailers: u64,
    /// Rotations, each with a footer.
    pub footers: u64,
    /// Segments made out of released ones.
    pub recycled: u64,
    /// Releases that were asked for.
    pub releases: u64,
    /// Files given up after a failed sync, with a new epoch behind a fence.
    pub given_up: u64,
    /// Logs that became read-only.
    pub read_only: u64,
    /// Frames refused or failed for want of room.
    pub no_room: u64,
    /// Frames of torn tails.
    pub torn: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Damaged regions that were named.
    pub damage: u64,
    /// Frames that were on disk at the end of a run, by kind: `caller` and the log's own.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Where processes were stopped, by operation.
    pub stops: BTreeMap<&'static str, u64>,
    /// Where opens were stopped, by operation.
    pub recovery_stops: BTreeMap<&'static str, u64>,
    /// What the disks did.
    pub disk: Counters,
}

impl Report {
    /// Adds another one.
    pub fn add(&mut self, other: &Report) {
        let pairs = [
            (&mut self.crash_states, other.crash_states),
            (&mut self.recoveries_stopped, other.recoveries_stopped),
            (&mut self.fences, other.fences),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.fences_with_copies, other.fences_with_copies),
            (&mut self.copies, other.copies),
            (&mut self.closed, other.closed),
            (&mut self.headers_damaged, other.headers_damaged),
            (&mut self.idle_trailers, other.idle_trailers),
            (&mut self.footers, other.footers),
            (&mut self.recycled, other.recycled),
            (&mut self.releases, other.releases),
            (&mut self.given_up, other.given_up),
            (&mut self.read_only, other.read_only),
            (&mut self.no_room, other.no_room),
            (&mut self.torn, other.torn),
            (&mut self.snapshots, other.snapshots),
            (&mut self.damage, other.damage),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        let maps = [
            (&mut self.kinds, &other.kinds),
            (&mut self.stops, &other.stops),
            (&mut self.recovery_stops, &other.recovery_stops),
        ];
        for (sum, more) in maps {
            more.iter().for_each(|(name, count)| *sum.entry(name).or_default() += count);
        }
        self.add_disk(&other.disk);
    }

    fn add_disk(&mut self, more: &Counters) {
        let sum = &mut self.disk;
        sum.operations += more.operations;
        sum.crashes += more.crashes;
        sum.kills += more.kills;
        sum.sectors_lost += more.sectors_lost;
        sum.sectors_kept += more.sectors_kept;
        sum.files_torn += more.files_torn;
        sum.names_lost += more.names_lost;
        sum.names_kept += more.names_kept;
        sum.syncs_failed += more.syncs_failed;
        sum.sectors_lied += more.sectors_lied;
        sum.lies_lost += more.lies_lost;
        sum.full += more.full;
        sum.bits_flipped += more.bits_flipped;
        sum.stops += more.stops;
    }
}
