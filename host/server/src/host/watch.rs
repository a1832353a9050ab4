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
                Ok(diff) => tracing::info!(%diff, "the configuration has changed and was read again"),
                Err(problem) => tracing::error!("the configuration has changed and cannot be used: {}", problem.detail),
            }
            let (path, kinds) = (first.clone(), self.kinds.clone());
            if let Ok(Ok(loaded)) = exec::blocking(move || config::load(&path, &kinds)).await {
                files = loaded.files;
            }
            let Ok(now) = look(files.clone()).await else { return };
            served = now.clone();
            seen = now;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
