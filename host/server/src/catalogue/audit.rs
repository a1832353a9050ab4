//! The audit log: every change through admin, one JSON object a line, appended and synced before the answer
//! (I43). Nothing here rewrites a line.
//!
//! In: who did what to what. Out: lines on disk, and pages of them, the newest first.

use crate::limits::AUDIT_READ_BYTES_MAX;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walhost_core::disk::{Disk, DiskFile, OpenMode};
use walhost_core::{Error, Kind, Result};

/// The open log.
pub struct Audit {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Where the next line goes; none after an error of the disk: what is there is not known then.
    end: Mutex<Option<u64>>,
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Name of the token, or `-`.
    pub who: &'a str,
    /// `namespace.put`, `slot.put`, `dlq.purge`, …
    pub action: &'a str,
    /// What it was done to: `catalog`, `catalog/search.sink`.
    pub subject: &'a str,
    /// More, without any secret.
    pub detail: Value,
}

impl Audit {
    /// Opens the log, made when there is none. A torn last line is closed with a line feed and stays.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Audit> {
        Self::try_open(disk, path).map_err(|error| {
            Error::new(Kind::Unavailable, "audit.open", "the audit log cannot be opened")
                .with("path", path.display())
                .source(error)
        })
    }

    fn try_open(disk: &dyn Disk, path: &Path) -> io::Result<Audit> {
        let file = match disk.open(path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.open(path, OpenMode::CreateNew)?;
                disk.sync_dir(path.parent().ok_or_else(|| io::Error::other("a file has a directory"))?)?;
                file
            }
            other => other?,
        };
        let mut end = file.bytes()?;
        let mut last = [b'\n'];
        if end > 0 && file.read_at(&mut last, end - 1)? == 1 && last != *b"\n" {
            file.write_synced_at(&[b"\n"], end)?;
            end += 1;
        }
        Ok(Audit { path: path.to_owned(), file, end: Mutex::new(Some(end)) })
    }

    /// Appends a change, durably. Blocks on the disk.
    pub fn append(&self, change: &Change<'_>) -> Result<()> {
        let line = json!({
            "at": crate::http::show::time(change.at_ms),
            "who": change.who,
            "action": change.action,
            "subject": change.subject,
            "detail": change.detail,
        });
        let mut bytes = serde_json::to_vec(&line)
            .map_err(|error| Error::new(Kind::Internal, "audit.append", "the change has no JSON form").source(error))?;
        bytes.push(b'\n');
        let failed = |detail: &'static str| {
            Error::new(Kind::Unavailable, "audit.append", detail).with("path", self.path.display())
        };
        let mut end = self.end.lock();
        let position = end.ok_or_else(|| failed("the audit log failed before: restart the host"))?;
        match self.file.write_synced_at(&[&bytes], position) {
            Ok(()) => {
                *end = Some(position + bytes.len() as u64);
                Ok(())
            }
            Err(error) => {
                *end = None;
                Err(failed("the audit log cannot be written").source(error))
            }
        }
    }

    /// Up to `limit` changes before `cursor` (a place in the file; none: the end), the newest first, and the
    /// cursor of those before them.
    pub fn page(&self, cursor: Option<u64>, limit: usize) -> io::Result<(Vec<Value>, Option<u64>)> {
        let bytes_end = self.file.bytes()?;
        let end = cursor.unwrap_or(bytes_end).min(bytes_end);
        let start = end.saturating_sub(AUDIT_READ_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], start + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        let mut items = Vec::new();
        let mut upto = bytes.len();
        while upto > 0 && items.len() < limit {
            let text = bytes[..upto].strip_suffix(b"\n").unwrap_or(&bytes[..upto]);
            let begin = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
            if begin == 0 && start > 0 {
                break;
            }
            if !text[begin..].is_empty() {
                let torn = || json!({ "torn": String::from_utf8_lossy(&text[begin..]) });
                items.push(serde_json::from_slice(&text[begin..]).unwrap_or_else(|_| torn()));
            }
            upto = begin;
        }
        let next = start + upto as u64;
        Ok((items, (next > 0).then_some(next)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use walhost_core::disk::OsDisk;

    fn append(audit: &Audit, action: &str) {
        let change = Change { at_ms: 0, who: "-", action, subject: "a", detail: json!({ "text": "x\ny" }) };
        audit.append(&change).unwrap();
    }

    fn actions(items: &[Value]) -> Vec<&str> {
        items.iter().map(|item| item["action"].as_str().unwrap_or("torn")).collect()
    }

    #[test]
    fn i43_changes_are_listed_newest_first_in_pages() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(&OsDisk, &dir.path().join("audit.jsonl")).unwrap();
        assert_eq!(audit.page(None, 10).unwrap(), (vec![], None));
        for action in ["one", "two", "three"] {
            append(&audit, action);
        }
        let (items, next) = audit.page(None, 2).unwrap();
        assert_eq!(actions(&items), ["three", "two"]);
        let (items, next) = audit.page(next, 2).unwrap();
        assert_eq!((actions(&items), next), (vec!["one"], None));
    }

    #[test]
    fn i43_a_torn_line_stays_and_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        append(&Audit::open(&OsDisk, &path).unwrap(), "one");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"at\":\"20");
        std::fs::write(&path, &bytes).unwrap();
        let audit = Audit::open(&OsDisk, &path).unwrap();
        append(&audit, "two");
        let (items, _) = audit.page(None, 10).unwrap();
        assert_eq!(actions(&items), ["two", "torn", "one"]);
    }
}
