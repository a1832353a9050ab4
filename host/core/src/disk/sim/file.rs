//! An open file of a simulated disk.
//!
//! In: reads, writes, syncs. Out: what the state says.

use super::SECTOR_BYTES;
use super::state::State;
use crate::disk::DiskFile;
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::sync::Arc;

pub(super) struct SimFile {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) node: u64,
    /// The life of the process that opened it.
    pub(super) life: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        // Removed files live on while they are open, but not past a crash.
        if state.life != self.life || !state.nodes.contains_key(&self.node) {
            return Err(io::Error::other("a file of a process that is gone"));
        }
        Ok(state)
    }
}

impl State {
    /// Writes into the cache; when the process is stopped, a part of it at most.
    fn write(&mut self, node: u64, parts: &[&[u8]], position: u64, stop: bool) -> io::Result<(usize, usize)> {
        let from = usize::try_from(position).map_err(io::Error::other)?;
        let bytes = parts.concat();
        let until = from + bytes.len();
        let grows = (until as u64).saturating_sub(self.nodes[&node].bytes());
        if grows > self.free_bytes() {
            self.counters.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !stop {
            self.node(node).write(&bytes, from);
            return Ok((from, until));
        }
        // Any of its sectors may have been copied into the cache by then; a system call copies in order.
        let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
        let copied = (self.below(sectors + 1) as usize * SECTOR_BYTES).min(bytes.len());
        self.node(node).write(&bytes[..copied], from);
        Ok((from, until))
    }

    /// A synced write that is stopped: in the middle of the copy, between copy and sync, or after the sync and
    /// before the answer.
    fn write_synced_halfway(&mut self, node: u64, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let moment = self.below(3);
        let (from, until) = self.write(node, parts, position, moment == 0)?;
        if moment == 2 {
            self.node(node).sync(from, until);
        }
        Ok(())
    }

    fn node(&mut self, node: u64) -> &mut super::state::Node {
        self.nodes.get_mut(&node).expect("checked by the caller")
    }
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        let mut state = self.state()?;
        state.tick("bytes")?;
        Ok(state.nodes[&self.node].bytes())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        state.tick("read")?;
        let cached = &state.nodes[&self.node].cached;
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(cached.len());
        let count = buffer.len().min(cached.len() - from);
        buffer[..count].copy_from_slice(&cached[from..from + count]);
        Ok(count)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let already = state.stopped.is_some();
        let stop = state.tick("allocate");
        if already {
            return stop;
        }
        let grows = bytes.saturating_sub(state.nodes[&self.node].bytes());
        if grows > state.free_bytes() {
            state.counters.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if stop.is_ok() || state.coin() {
            let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
            state.nodes.get_mut(&self.node).expect("checked above").allocate(bytes);
        }
        stop
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut state = self.state()?;
        // What an image makes of a full disk is the image's own affair.
        state.image("write", |image| drop(image.write(self.node, parts, position, true)));
        let already = state.stopped.is_some();
        let stop = state.tick("write");
        if already {
            return stop;
        }
        state.write(self.node, parts, position, stop.is_err())?;
        stop
    }

    fn write_synced_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.image("write_synced", |image| drop(image.write_synced_halfway(self.node, parts, position)));
        let already = state.stopped.is_some();
        let stop = state.tick("write_synced");
        if already {
            return stop;
        }
        if stop.is_err() {
            state.write_synced_halfway(self.node, parts, position)?;
            return stop;
        }
        let (from, until) = state.write(self.node, parts, position, false)?;
        if state.sync_fails() {
            state.fail_sync(self.node, from, until);
            return Err(io::Error::other("a simulated sync failed"));
        }
        state.node(self.node).sync(from, until);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let halfway = |state: &mut State| {
            if state.coin() {
                state.node(self.node).sync(0, usize::MAX);
            }
        };
        state.image("sync", halfway);
        let already = state.stopped.is_some();
        let stop = state.tick("sync");
        if already {
            return stop;
        }
        if stop.is_err() {
            halfway(&mut state);
            return stop;
        }
        if state.sync_fails() {
            state.fail_sync(self.node, 0, usize::MAX);
            return Err(io::Error::other("a simulated sync failed"));
        }
        state.node(self.node).sync(0, usize::MAX);
        Ok(())
    }
}
