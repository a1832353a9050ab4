//! A run: the idempotency keys of one namespace and some time in a file, sorted, with a filter that stays in
//! memory. Written once, never changed.
//!
//! In: sorted entries. Out: a durable file; the entry of a key. FORMAT.md describes every byte.

use super::First;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use walhost_core::disk::{Disk, DiskFile, OpenMode};

const MAGIC: [u8; 8] = *b"walkeys\0";
const VERSION: u8 = 1;
/// Bytes before the first block.
const HEADER_BYTES: usize = 512;
/// Bytes of the header that its check sum covers; it stands behind them.
const HEADER_SUMMED: usize = 124;
const BLOCK_BYTES: usize = 4_096;
/// Bytes of a block before its entries: check sum, count.
const BLOCK_PREFIX: usize = 8;
const ENTRY_BYTES: usize = 48;
/// Entries of a block.
pub(crate) const BLOCK_ENTRIES: usize = (BLOCK_BYTES - BLOCK_PREFIX) / ENTRY_BYTES;
/// Blocks written at once.
const BLOCKS_AT_ONCE: usize = 64;
/// Parts of the time of a run: how many keys fall into each is known.
const SLOTS: usize = 16;
/// Bytes of the filter for a block and for an entry.
const FILTER_BLOCK_BYTES: u64 = 8;
const FILTER_ENTRY_BYTES: u64 = 2;

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

/// What is kept of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub key: [u8; 16],
    /// The first half of the content's hash.
    pub content: [u8; 8],
    pub at_ms: u64,
    pub first: First,
}

impl Entry {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.content);
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(&self.first.first_offset.to_le_bytes());
        out.extend_from_slice(&self.first.count.to_le_bytes());
        out.extend_from_slice(&self.first.epoch.to_le_bytes());
    }

    fn get(bytes: &[u8; ENTRY_BYTES]) -> Entry {
        let part = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Entry {
            key: bytes[..16].try_into().expect("sixteen bytes"),
            content: bytes[16..24].try_into().expect("eight bytes"),
            at_ms: part(24),
            first: First { first_offset: part(32), count: half(40), epoch: half(44) },
        }
    }
}

/// The number of a run of a namespace: never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RunId {
    /// Of the log when it was written.
    pub epoch: u32,
    pub number: u32,
}

/// The name of its file.
pub(crate) fn file_name(view: u32, id: RunId) -> String {
    format!("{view:08x}-{:08x}-{:08x}{ENDING}", id.epoch, id.number)
}

/// How the names of run files end.
pub(crate) const ENDING: &str = ".keys";

/// Whose a file of this name is, and its number.
pub(crate) fn parse_name(name: &str) -> Option<(u32, RunId)> {
    let mut parts = name.strip_suffix(ENDING)?.split('-').map(|part| u32::from_str_radix(part, 16));
    let (view, epoch, number) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let id = RunId { epoch, number };
    (file_name(view, id) == name).then_some((view, id))
}

/// A run that can be asked. In memory: two bytes a key, and eight for each 85 of them.
pub(crate) struct Run {
    pub id: RunId,
    pub count: u64,
    pub oldest_ms: u64,
    pub newest_ms: u64,
    slots: [u32; SLOTS],
    file: Arc<dyn DiskFile>,
    /// The first eight bytes of the first key of each block.
    first_keys: Vec<u64>,
    /// Two other bytes of every key, in order.
    prints: Vec<u16>,
    /// A damaged block was met and named.
    named: AtomicBool,
}

impl fmt::Debug for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Run").field("id", &self.id).field("count", &self.count).finish_non_exhaustive()
    }
}

fn prefix(key: &[u8; 16]) -> u64 {
    u64::from_be_bytes(key[..8].try_into().expect("eight bytes"))
}

fn print(key: &[u8; 16]) -> u16 {
    u16::from_le_bytes([key[8], key[9]])
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_full(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => return Err(bad("it ends too soon")),
            count => filled += count,
        }
    }
    Ok(())
}

impl Run {
    /// Opens a run, and reads its filter. `InvalidData`: it is damaged. Allocates no more than the file has.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, view: u32, id: RunId) -> io::Result<Run> {
        let file = disk.open(path, OpenMode::Read)?;
        let mut header = [0; HEADER_BYTES];
        read_full(&*file, &mut header, 0)?;
        let part = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        if header[..8] != MAGIC || crc(&header[..HEADER_SUMMED]) != half(HEADER_SUMMED) {
            return Err(bad("its header is damaged"));
        }
        if header[8] != VERSION {
            return Err(bad("it is of another version"));
        }
        if half(12) != view {
            return Err(bad("it is another namespace's"));
        }
        let (count, oldest_ms, newest_ms, filter_crc) = (part(16), part(24), part(32), half(40));
        let blocks = count.div_ceil(BLOCK_ENTRIES as u64);
        let filter_at = blocks.checked_mul(BLOCK_BYTES as u64).and_then(|bytes| bytes.checked_add(HEADER_BYTES as u64));
        let filter_bytes =
            blocks.saturating_mul(FILTER_BLOCK_BYTES).saturating_add(count.saturating_mul(FILTER_ENTRY_BYTES));
        let whole = filter_at.and_then(|at| at.checked_add(filter_bytes));
        let (Some(filter_at), Some(whole)) = (filter_at, whole) else { return Err(bad("its header is damaged")) };
        if file.bytes()? < whole {
            return Err(bad("it ends too soon"));
        }
        let mut slots = [0; SLOTS];
        slots.iter_mut().enumerate().for_each(|(place, slot)| *slot = half(48 + 4 * place));
        let mut filter = vec![0; usize::try_from(filter_bytes).map_err(|_| bad("it is too large"))?];
        read_full(&*file, &mut filter, filter_at)?;
        if crc(&filter) != filter_crc {
            return Err(bad("its filter is damaged"));
        }
        let (firsts, prints) = filter.split_at((blocks * FILTER_BLOCK_BYTES) as usize);
        let first_keys =
            firsts.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        let prints = prints.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        Ok(Run { id, count, oldest_ms, newest_ms, slots, file, first_keys, prints, named: AtomicBool::new(false) })
    }

    /// Blocks that may hold the key: none, mostly, when it is not there.
    pub(crate) fn candidates(&self, key: &[u8; 16]) -> impl Iterator<Item = usize> {
        let (prefix, print) = (prefix(key), print(key));
        let start = self.first_keys.partition_point(|first| *first < prefix).saturating_sub(1);
        let end = self.first_keys.partition_point(|first| *first <= prefix);
        (start..end).filter(move |block| {
            let at = block * BLOCK_ENTRIES;
            self.prints[at..self.prints.len().min(at + BLOCK_ENTRIES)].contains(&print)
        })
    }

    /// The entry of a key. Reads from the disk.
    pub(crate) fn find(&self, key: &[u8; 16]) -> io::Result<Option<Entry>> {
        for block in self.candidates(key) {
            let entries = self.block(block)?;
            if let Ok(at) = entries.binary_search_by(|entry| entry.key.cmp(key)) {
                return Ok(Some(entries[at]));
            }
        }
        Ok(None)
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.first_keys.len()
    }

    /// The entries of a block, in order.
    pub(crate) fn block(&self, block: usize) -> io::Result<Vec<Entry>> {
        let mut bytes = vec![0; BLOCK_BYTES];
        read_full(&*self.file, &mut bytes, (HEADER_BYTES + block * BLOCK_BYTES) as u64)?;
        let sum = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let count = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize;
        let expected = (self.count as usize - block * BLOCK_ENTRIES).min(BLOCK_ENTRIES);
        if crc(&bytes[4..]) ^ block as u32 != sum || count != expected {
            return Err(bad("a block of it is damaged"));
        }
        let entries = bytes[BLOCK_PREFIX..BLOCK_PREFIX + count * ENTRY_BYTES].chunks_exact(ENTRY_BYTES);
        Ok(entries.map(|entry| Entry::get(entry.try_into().expect("as long as an entry"))).collect())
    }

    /// At most so many of its keys are younger than the window: a part of its time counts until all of it is over.
    pub(crate) fn live(&self, now_ms: u64, window_ms: u64) -> u64 {
        let over_before = now_ms.saturating_sub(window_ms);
        let slot = slot_ms(self.oldest_ms, self.newest_ms);
        let ends = |place: usize| self.oldest_ms.saturating_add(slot.saturating_mul(place as u64 + 1));
        self.slots.iter().enumerate().filter(|(place, _)| ends(*place) > over_before).map(|(_, n)| u64::from(*n)).sum()
    }

    /// True when the window of every key has ended.
    pub(crate) fn is_over(&self, now_ms: u64, window_ms: u64) -> bool {
        self.newest_ms.saturating_add(window_ms) <= now_ms
    }

    /// True the first time: damage is named once.
    pub(crate) fn name_damage(&self) -> bool {
        !self.named.swap(true, Ordering::Relaxed)
    }
}

/// Length of a part of the time of a run.
fn slot_ms(oldest_ms: u64, newest_ms: u64) -> u64 {
    newest_ms.saturating_sub(oldest_ms) / SLOTS as u64 + 1
}

/// Writes a run, entry after entry, in the order of their keys.
pub(crate) struct RunWriter {
    file: Arc<dyn DiskFile>,
    view: u32,
    oldest_ms: u64,
    newest_ms: u64,
    slots: [u32; SLOTS],
    block: Vec<u8>,
    ready: Vec<u8>,
    /// Blocks that are written or ready.
    blocks: u64,
    written_to: u64,
    first_keys: Vec<u8>,
    prints: Vec<u8>,
    count: u64,
}

impl RunWriter {
    /// Begins a file that must not be there. All entries are between these times.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        view: u32,
        oldest_ms: u64,
        newest_ms: u64,
    ) -> io::Result<RunWriter> {
        Ok(RunWriter {
            file: disk.open(path, OpenMode::CreateNew)?,
            view,
            oldest_ms,
            newest_ms,
            slots: [0; SLOTS],
            block: Vec::with_capacity(BLOCK_BYTES),
            ready: Vec::with_capacity(BLOCK_BYTES * BLOCKS_AT_ONCE),
            blocks: 0,
            written_to: HEADER_BYTES as u64,
            first_keys: Vec::new(),
            prints: Vec::new(),
            count: 0,
        })
    }

    /// Adds the next one.
    pub(crate) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        if self.block.is_empty() {
            self.first_keys.extend_from_slice(&prefix(&entry.key).to_le_bytes());
        }
        self.prints.extend_from_slice(&print(&entry.key).to_le_bytes());
        let slot = entry.at_ms.saturating_sub(self.oldest_ms) / slot_ms(self.oldest_ms, self.newest_ms);
        self.slots[(slot as usize).min(SLOTS - 1)] += 1;
        entry.put(&mut self.block);
        self.count += 1;
        if self.block.len() == BLOCK_ENTRIES * ENTRY_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let count = (self.block.len() / ENTRY_BYTES) as u32;
        self.block.resize(BLOCK_BYTES - BLOCK_PREFIX, 0);
        let mut bytes = count.to_le_bytes().to_vec();
        bytes.append(&mut self.block);
        let sum = crc(&bytes) ^ self.blocks as u32;
        self.ready.extend_from_slice(&sum.to_le_bytes());
        self.ready.append(&mut bytes);
        self.blocks += 1;
        if self.ready.len() >= BLOCK_BYTES * BLOCKS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&[&self.ready], self.written_to)?;
        self.written_to += self.ready.len() as u64;
        self.ready.clear();
        Ok(())
    }

    /// Makes it durable. The name is durable when the directory is synced. Answers how many keys it holds.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        self.flush()?;
        let filter = [self.first_keys, self.prints].concat();
        self.file.write_at(&[&filter], self.written_to)?;
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8] = VERSION;
        header[12..16].copy_from_slice(&self.view.to_le_bytes());
        header[16..24].copy_from_slice(&self.count.to_le_bytes());
        header[24..32].copy_from_slice(&self.oldest_ms.to_le_bytes());
        header[32..40].copy_from_slice(&self.newest_ms.to_le_bytes());
        header[40..44].copy_from_slice(&crc(&filter).to_le_bytes());
        for (place, slot) in self.slots.iter().enumerate() {
            header[48 + 4 * place..52 + 4 * place].copy_from_slice(&slot.to_le_bytes());
        }
        let sum = crc(&header[..HEADER_SUMMED]);
        header[HEADER_SUMMED..HEADER_SUMMED + 4].copy_from_slice(&sum.to_le_bytes());
        self.file.write_at(&[&header], 0)?;
        self.file.sync()?;
        Ok(self.count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use walhost_core::disk::SimDisk;
    use walhost_core::random::mix;

    const ID: RunId = RunId { epoch: 3, number: 7 };

    pub(crate) fn entry(number: u64, at_ms: u64) -> Entry {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&mix(number).to_be_bytes());
        key[8..].copy_from_slice(&mix(number ^ 0xabcd).to_be_bytes());
        let first = First { first_offset: number, count: 2, epoch: 9 };
        Entry { key, content: mix(number + 1).to_be_bytes(), at_ms, first }
    }

    fn write(disk: &SimDisk, count: u64) -> (std::path::PathBuf, Vec<Entry>) {
        let dir = Path::new("/data/keys");
        disk.create_dir_all(dir).unwrap();
        let path = dir.join(file_name(5, ID));
        let mut entries: Vec<Entry> = (0..count).map(|number| entry(number, 1_000 + number)).collect();
        entries.sort_by_key(|entry| entry.key);
        let mut writer = RunWriter::create(disk, &path, 5, 1_000, 1_000 + count).unwrap();
        entries.iter().for_each(|entry| writer.add(entry).unwrap());
        assert_eq!(writer.finish().unwrap(), count);
        disk.sync_dir(dir).unwrap();
        (path, entries)
    }

    #[test]
    fn i23_every_key_of_a_run_is_found_after_a_crash_and_others_cost_no_read() {
        let disk = SimDisk::new(1);
        let (path, entries) = write(&disk, 20_000);
        disk.crash();
        let run = Run::open(&disk, &path, 5, ID).unwrap();
        assert_eq!((run.count, run.blocks()), (20_000, 20_000_usize.div_ceil(BLOCK_ENTRIES)));
        for entry in entries.iter().step_by(7) {
            assert_eq!(run.find(&entry.key).unwrap(), Some(*entry));
        }
        let reads: usize = (50_000..60_000).map(|number| run.candidates(&entry(number, 0).key).count()).sum();
        assert!(reads < 60, "85 prints of 16 bits: one in 770, and it was {reads} of 10000");
        assert!((50_000..50_100).all(|number| run.find(&entry(number, 0).key).unwrap().is_none()));
        let memory = run.prints.len() * 2 + run.first_keys.len() * 8;
        assert!(memory < 3 * 20_000, "less than three bytes a key in memory");
    }

    #[test]
    fn keys_that_begin_alike_are_found_over_the_border_of_a_block() {
        let disk = SimDisk::new(2);
        let dir = Path::new("/data");
        disk.create_dir_all(dir).unwrap();
        let path = dir.join("alike.keys");
        let alike = |number: u64| {
            let mut one = entry(number, 5);
            one.key[..8].copy_from_slice(&[7; 8]);
            one.key[8..].copy_from_slice(&number.to_be_bytes());
            one
        };
        let mut writer = RunWriter::create(&disk, &path, 1, 5, 5).unwrap();
        (0..300).for_each(|number| writer.add(&alike(number)).unwrap());
        writer.finish().unwrap();
        let run = Run::open(&disk, &path, 1, ID).unwrap();
        assert!((0..300).all(|number| run.find(&alike(number).key).unwrap() == Some(alike(number))));
    }

    #[test]
    fn i11_a_flipped_bit_is_an_error_or_means_nothing_and_never_another_answer() {
        let disk = SimDisk::new(3);
        let (path, entries) = write(&disk, 200);
        let bits = (HEADER_BYTES + 3 * BLOCK_BYTES + 3 * 8 + 400) as u64 * 8;
        let (mut refused, mut blocks) = (0, 0);
        for bit in (0..bits).step_by(37) {
            disk.flip_bit(&path, bit).unwrap();
            match Run::open(&disk, &path, 5, ID) {
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    refused += 1;
                }
                Ok(run) => {
                    for entry in entries.iter().step_by(20) {
                        match run.find(&entry.key) {
                            Ok(found) => assert_eq!(found, Some(*entry), "bit {bit}"),
                            Err(_) => blocks += 1,
                        }
                    }
                }
            }
            disk.flip_bit(&path, bit).unwrap();
        }
        assert!(refused > 20 && blocks > 20, "{refused} {blocks}");
        assert!(Run::open(&disk, &path, 6, ID).is_err(), "another namespace's");
        assert!(Run::open(&disk, Path::new("/data/keys/none"), 5, ID).is_err());
    }

    #[test]
    fn what_counts_against_the_bound_shrinks_with_time() {
        let disk = SimDisk::new(4);
        let (path, _) = write(&disk, 1_600);
        let run = Run::open(&disk, &path, 5, ID).unwrap();
        assert_eq!((run.live(1_000, 10_000), run.live(2_000, 1_000)), (1_600, 1_600));
        let half = run.live(2_800, 1_000);
        assert!((800..=910).contains(&half), "{half}");
        assert!(!run.is_over(3_599, 1_000) && run.is_over(3_600, 1_000) && run.live(3_700, 1_000) == 0);
    }

    #[test]
    fn names_read_back_and_others_are_none() {
        assert_eq!(parse_name(&file_name(5, ID)), Some((5, ID)));
        for name in ["00000005-00000003-00000007.snap", "5-3-7.keys", "x.keys", "00000005-00000003.keys"] {
            assert_eq!(parse_name(name), None);
        }
    }
}
