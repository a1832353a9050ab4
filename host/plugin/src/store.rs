//! Components on disk, by their digest, and their native code.
//!
//! In: components that were examined and compiled. Out: the same bytes after any crash, or nothing.
//!
//! `components/sha256-….wasm` is the truth: there or not. `components/sha256-….json` says what the
//! component is, and is written before it. `compiled/{fingerprint}/sha256-….code` is a cache: lost or
//! damaged, it is compiled again.

use crate::{limits, world};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walhost_core::disk::{Disk, read_all, replace};
use walhost_core::plugin::{PluginInfo, PluginKind};
use walhost_core::{Digest, Error, Kind, Result};

/// The store of one host.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    components: PathBuf,
    compiled: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Description {
    kind: PluginKind,
    world: String,
    imports: Vec<String>,
    stored_at_ms: u64,
}

/// Longest description, in bytes: a component may import many interfaces.
const DESCRIPTION_BYTES_MAX: u64 = 1024 * 1024;

impl Store {
    /// Opens the directory; makes it when it is missing.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, fingerprint: &str) -> Result<Store> {
        let (components, compiled) = (dir.join("components"), dir.join("compiled").join(fingerprint));
        for directory in [&components, &compiled] {
            disk.create_dir_all(directory)
                .and_then(|()| disk.sync_dir(directory))
                .map_err(|error| broken("plugin.open", error))?;
        }
        disk.sync_dir(&dir.join("compiled"))
            .and_then(|()| disk.sync_dir(dir))
            .map_err(|error| broken("plugin.open", error))?;
        Ok(Store { disk, components, compiled })
    }

    /// Keeps a component durably. What is kept already stays as it is.
    pub fn put(&self, digest: Digest, component: &[u8], matched: &world::Matched, now_ms: u64) -> Result<PluginInfo> {
        if let Some(info) = self.info(digest)? {
            return Ok(info);
        }
        let description = Description {
            kind: matched.kind,
            world: matched.world.clone(),
            imports: matched.imports.clone(),
            stored_at_ms: now_ms,
        };
        let json = serde_json::to_vec(&description).expect("names and numbers are JSON");
        replace(&*self.disk, &self.path(digest, "json"), &json).map_err(|error| broken("plugin.store", error))?;
        replace(&*self.disk, &self.path(digest, "wasm"), component).map_err(|error| broken("plugin.store", error))?;
        Ok(describe(digest, description, component.len() as u64))
    }

    /// The bytes of a component, compared with their digest; none when it is not kept.
    pub fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.read(&self.path(digest, "wasm"), limits::COMPONENT_BYTES_MAX as u64)? else {
            return Ok(None);
        };
        if crate::inspect::digest(&bytes) != digest {
            return Err(Error::new(Kind::Corrupt, "plugin.get", "the component on disk is damaged: store it again")
                .with("digest", digest));
        }
        Ok(Some(bytes))
    }

    /// What a component is; none when it is not kept.
    pub fn info(&self, digest: Digest) -> Result<Option<PluginInfo>> {
        let file = match self.disk.open(&self.path(digest, "wasm"), walhost_core::disk::OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| broken("plugin.info", error))?,
        };
        let size_bytes = file.bytes().map_err(|error| broken("plugin.info", error))?;
        let json = self.read(&self.path(digest, "json"), DESCRIPTION_BYTES_MAX)?;
        match json.and_then(|json| serde_json::from_slice::<Description>(&json).ok()) {
            Some(description) => Ok(Some(describe(digest, description, size_bytes))),
            None => self.describe_again(digest, size_bytes),
        }
    }

    /// A description that is lost or damaged is made again from the component itself.
    fn describe_again(&self, digest: Digest, size_bytes: u64) -> Result<Option<PluginInfo>> {
        let Some(component) = self.get(digest)? else { return Ok(None) };
        let matched = crate::inspect::examine(&component)?;
        let description =
            Description { kind: matched.kind, world: matched.world, imports: matched.imports, stored_at_ms: 0 };
        Ok(Some(describe(digest, description, size_bytes)))
    }

    /// All that are kept, by digest. A file that is none of ours is left alone.
    pub fn list(&self) -> Result<Vec<PluginInfo>> {
        let names = self.disk.list(&self.components).map_err(|error| broken("plugin.list", error))?;
        let digests =
            names.iter().filter_map(|entry| Digest::parse(entry.name.strip_prefix("sha256-")?.strip_suffix(".wasm")?));
        let mut infos = Vec::new();
        for digest in digests {
            match self.info(digest) {
                Ok(info) => infos.extend(info),
                Err(error) => tracing::warn!(%digest, %error, "a component of the store cannot be read"),
            }
        }
        Ok(infos)
    }

    /// Forgets a component and its code. True when it was there.
    pub fn remove(&self, digest: Digest) -> Result<bool> {
        let there = self.unlink(&self.path(digest, "wasm"))?;
        self.unlink(&self.path(digest, "json"))?;
        self.unlink(&self.code_path(digest))?;
        self.disk.sync_dir(&self.components).map_err(|error| broken("plugin.remove", error))?;
        Ok(there)
    }

    /// The sealed native code; none when it is not there.
    pub fn code(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        self.read(&self.code_path(digest), limits::COMPILED_BYTES_MAX as u64)
    }

    /// Keeps sealed native code.
    pub fn put_code(&self, digest: Digest, envelope: &[u8]) -> Result<()> {
        replace(&*self.disk, &self.code_path(digest), envelope).map_err(|error| broken("plugin.store", error))
    }

    fn path(&self, digest: Digest, extension: &str) -> PathBuf {
        self.components.join(format!("{}.{extension}", file_name(digest)))
    }

    fn code_path(&self, digest: Digest) -> PathBuf {
        self.compiled.join(format!("{}.code", file_name(digest)))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
        match read_all(&*self.disk, path, bytes_max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken("plugin.get", error)),
        }
    }

    fn unlink(&self, path: &Path) -> Result<bool> {
        match self.disk.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(broken("plugin.remove", error)),
        }
    }
}

fn file_name(digest: Digest) -> String {
    digest.to_string().replace(':', "-")
}

fn describe(digest: Digest, description: Description, size_bytes: u64) -> PluginInfo {
    let Description { kind, world, imports, stored_at_ms } = description;
    PluginInfo { digest, kind, world, imports, size_bytes, stored_at_ms }
}

fn broken(operation: &'static str, error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::StorageFull { Kind::DiskFull } else { Kind::Internal };
    Error::new(kind, operation, "the store of plugins cannot be read or written").source(error)
}
