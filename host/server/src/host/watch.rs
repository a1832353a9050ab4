//! Watches the configuration's files and their directories, and reads them again when they have changed and
//! come to rest. By looking, not by being told: it works on every file system, and where files are swapped
//! by a symbolic link.
//!
//! In: the files of the last reading. Out: reloads.

use super::Host;
use crate::config;
use crate::limits::WATCH_INTERVAL;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use walhost_core::exec;

/// When and how large each file and directory is; none: it is not there.
type Stamps = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

fn stamps(files: &[PathBuf]) -> Stamps {
    let directories = files.iter().filter_map(|file| file.parent()).map(Path::to_owned);
    files
        .iter()
        .cloned()
        .chain(directories)
        .map(|path| {
            let about = std::fs::metadata(&path).ok();
            let stamp = about.and_then(|about| Some((about.modified().ok()?, about.len())));
            (path, stamp)
        })
        .collect()
}

impl Host {
    /// Reloads after every change, until the host drains.
    pub async fn watch(self: Arc<Host>, mut files: Vec<PathBuf>) {
        let Some(first) = self.config_path.clone() else { return };
        let look = |files: Vec<PathBuf>| exec::blocking(move || stamps(&files));
        let Ok(mut served) = look(files.clone()).await else { return };
        let mut seen = served.clone();
        loop {
            tokio::select! {
                () = self.drain.begun() => return,
                () = self.clock.sleep(WATCH_INTERVAL) => {}
            }
            let Ok(now) = look(files.clone()).await else { return };
            let at_rest = now == seen;
            seen = now;
            if !at_rest || seen == served {
                continue;
            }
            match self.reload().await {
                Ok(diff) if says_nothing(&diff) => tracing::debug!("the configuration was read again and is the same"),
                Ok(diff) => tracing::info!(%diff, "the configuration has changed and was read again"),
                Err(problem) => tracing::error!("the configuration has changed and cannot be used: {}", problem.detail),
            }
            let (path, kinds) = (first.clone(), self.kinds.clone());
            if let Ok(Ok(loaded)) = exec::blocking(move || config::load(&path, &kinds)).await {
                files = loaded.files;
            }
            let Ok(now) = look(files.clone()).await else { return };
            // What changed while it was read counts as a change: as served counts what was there before.
            served = before(seen, &now);
            seen = now;
        }
    }
}

/// The stamps of `now`'s files as they were in `seen`; those of files that were not looked at then, as they are.
fn before(mut seen: Stamps, now: &Stamps) -> Stamps {
    now.iter().map(|(path, stamp)| (path.clone(), seen.remove(path).unwrap_or(*stamp))).collect()
}

/// A file beside those of the configuration was written: nothing is different.
fn says_nothing(diff: &serde_json::Value) -> bool {
    ["namespaces", "plugins", "needs_restart"].iter().all(|part| match diff.get(part) {
        Some(serde_json::Value::Array(parts)) => parts.is_empty(),
        Some(serde_json::Value::Object(parts)) => parts.is_empty(),
        _ => false,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let stamp = |length| Some((SystemTime::UNIX_EPOCH, length));
        let seen = Stamps::from([("a".into(), stamp(1)), ("gone".into(), None)]);
        let now = Stamps::from([("a".into(), stamp(2)), ("new".into(), stamp(3))]);
        let served = before(seen, &now);
        assert_ne!(served, now);
        assert_eq!(served, Stamps::from([("a".into(), stamp(1)), ("new".into(), stamp(3))]));
        assert!(says_nothing(
            &serde_json::json!({ "namespaces": {}, "plugins": [], "needs_restart": [], "refused": { "a": {} } })
        ));
        assert!(!says_nothing(
            &serde_json::json!({ "namespaces": { "a": "added" }, "plugins": [], "needs_restart": [] })
        ));
    }

    #[test]
    fn a_new_file_in_the_directory_and_another_length_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        std::fs::write(&file, "a").unwrap();
        let files = [file.clone()];
        let before = stamps(&files);
        assert_eq!(stamps(&files), before);
        std::fs::write(&file, "ab").unwrap();
        let changed = stamps(&files);
        assert_ne!(changed, before);
        std::fs::remove_file(&file).unwrap();
        assert_ne!(stamps(&files), changed);
        assert_eq!(stamps(&files)[&file], None);
    }
}
