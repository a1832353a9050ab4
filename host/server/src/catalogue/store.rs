//! The catalogue's files: two generations, written in turn, each with a checksum (I11).
//!
//! In: a state. Out: the newest undamaged one; a refusal with a sentence when none of those there are can
//! be read.

use super::state::State;
use crate::limits::CATALOGUE_BYTES_MAX;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walhost_core::disk::{self, Disk};
use walhost_core::{Error, Kind, Result};

/// First word of every file.
const MAGIC: &str = "walhost-catalogue";
/// Version of the file's form.
const FORM: u32 = 1;
const NAMES: [&str; 2] = ["catalogue-a.json", "catalogue-b.json"];

/// Writes generations in turn.
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Number of the newest generation.
    newest: Mutex<u64>,
}

enum Found {
    Missing,
    Damaged(String),
    Good(u64, Box<State>),
}

impl Store {
    /// Finds the newest generation.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Store, State)> {
        let failed = |error: io::Error| {
            Error::new(Kind::Unavailable, "catalogue.open", "the catalogue's directory cannot be used")
                .with("dir", dir.display())
                .source(error)
        };
        disk.create_dir_all(dir).map_err(failed)?;
        let mut best: Option<(u64, Box<State>)> = None;
        let mut damaged = Vec::new();
        for name in NAMES {
            match read(&*disk, &dir.join(name)).map_err(failed)? {
                Found::Missing => {}
                Found::Damaged(why) => damaged.push(format!("{name}: {why}")),
                Found::Good(generation, state) => {
                    if best.as_ref().is_none_or(|(newest, _)| generation > *newest) {
                        best = Some((generation, state));
                    }
                }
            }
        }
        if best.is_none() && !damaged.is_empty() {
            let detail = format!(
                "no generation of the catalogue in {} can be read ({}). Restore one of the files from a backup, or move them away: \
                 namespaces of the configuration files come back by themselves, those made at run time do not; no record is touched",
                dir.display(),
                damaged.join("; ")
            );
            return Err(Error::new(Kind::Corrupt, "catalogue.open", detail));
        }
        for why in damaged {
            tracing::error!("a generation of the catalogue is damaged, the other one is used: {why}");
        }
        let (newest, state) = best.map_or((0, State::default()), |(newest, state)| (newest, *state));
        Ok((Store { disk, dir: dir.to_owned(), newest: Mutex::new(newest) }, state))
    }

    /// Writes the next generation over the older of the two files. Durable when it returns.
    pub fn write(&self, state: &State) -> Result<()> {
        let mut newest = self.newest.lock();
        let generation = *newest + 1;
        let body = serde_json::to_vec_pretty(state).map_err(|error| {
            Error::new(Kind::Internal, "catalogue.write", "the catalogue has no JSON form").source(error)
        })?;
        let mut bytes = format!("{MAGIC} {FORM} {generation} {:08x}\n", checksum(generation, &body)).into_bytes();
        bytes.extend_from_slice(&body);
        if bytes.len() as u64 > CATALOGUE_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge, "catalogue.write", "the catalogue is too large"));
        }
        let path = self.dir.join(NAMES[usize::from(generation % 2 == 1)]);
        disk::replace(&*self.disk, &path, &bytes).map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::StorageFull { Kind::DiskFull } else { Kind::Unavailable };
            Error::new(kind, "catalogue.write", "the catalogue could not be written")
                .with("path", path.display())
                .source(error)
        })?;
        *newest = generation;
        Ok(())
    }
}

fn checksum(generation: u64, body: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&generation.to_le_bytes());
    digest.update(body);
    u32::try_from(digest.finalize()).expect("a CRC-32C has 32 bits")
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Found> {
    let bytes = match disk::read_all(disk, path, CATALOGUE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Ok(Found::Damaged(error.to_string())),
    };
    Ok(parse(&bytes).map_or_else(Found::Damaged, |(generation, state)| Found::Good(generation, state)))
}

fn parse(bytes: &[u8]) -> Result<(u64, Box<State>), String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("its first line has no end")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "its first line is no text")?;
    let body = &bytes[end + 1..];
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("it is no catalogue".to_owned());
    }
    match words.next().and_then(|word| word.parse::<u32>().ok()) {
        Some(FORM) => {}
        Some(form) => return Err(format!("it has form {form}, this version reads form {FORM}")),
        None => return Err("its form is missing".to_owned()),
    }
    let generation: u64 = words.next().and_then(|word| word.parse().ok()).ok_or("its generation is missing")?;
    let sum = words.next().and_then(|word| u32::from_str_radix(word, 16).ok()).ok_or("its checksum is missing")?;
    if sum != checksum(generation, body) {
        return Err("its checksum does not hold".to_owned());
    }
    let state = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok((generation, Box::new(state)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::disk::OsDisk;

    fn open(dir: &Path) -> Result<(Store, State)> {
        Store::open(Arc::new(OsDisk), dir)
    }

    fn state(generations: u64) -> State {
        State { generations, ..State::default() }
    }

    #[test]
    fn i11_when_the_newest_generation_is_damaged_the_one_before_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let (store, empty) = open(dir.path()).unwrap();
        assert_eq!(empty, State::default());
        for generations in 1..=3 {
            store.write(&state(generations)).unwrap();
        }
        assert_eq!(open(dir.path()).unwrap().1.generations, 3);
        let newest = dir.path().join(NAMES[1]);
        let good = std::fs::read(&newest).unwrap();
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            std::fs::write(&newest, &bytes).unwrap();
            assert_eq!(open(dir.path()).unwrap().1.generations, 2, "bit in byte {place}");
        }
        std::fs::write(&newest, &good[..good.len() / 2]).unwrap();
        let (store, state_before) = open(dir.path()).unwrap();
        assert_eq!(state_before.generations, 2);
        store.write(&state(9)).unwrap();
        assert_eq!(open(dir.path()).unwrap().1.generations, 9);
    }

    #[test]
    fn i11_when_every_generation_is_damaged_the_host_refuses_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path()).unwrap();
        store.write(&state(1)).unwrap();
        std::fs::write(dir.path().join(NAMES[1]), b"garbage").unwrap();
        let error = open(dir.path()).err().unwrap();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.detail().contains("catalogue-b.json") && error.detail().contains("backup"), "{error}");
    }
}
