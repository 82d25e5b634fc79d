//! The files of the log: the head `wal` and the rotated `wal.000`, `wal.001`, …, oldest first, as CometBFT names them.

use crate::ports::{Disk, JournalError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the head and stem of the rotated segments.
const HEAD: &str = "wal";

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) place: Place,
}

/// What a segment may look like depends on whether it is still written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Written to; it may end in zeros, and after a crash in anything.
    Head,
    /// Full, closed and durable.
    Rotated,
}

/// The files of one log, by number. Knows names and order, not contents.
#[derive(Debug, Clone)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Numbers of the rotated segments, ascending and without gaps; a gap is damage.
    rotated: Vec<u64>,
}

impl Segments {
    /// Lists what is there; makes the directory when it is missing. The names found are durable from here on: a process
    /// that was killed may have made or renamed files and not synced them, and what is read from them is acted on.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Segments, JournalError> {
        disk.create_dirs(dir)
            .map_err(|error| failed(&format!("cannot make the journal's directory {}", dir.display()), &error))?;
        let mut segments = Segments { disk, dir: dir.to_owned(), rotated: Vec::new() };
        segments.sync()?;
        segments.list()?;
        Ok(segments)
    }

    /// The same log as it is now: it may have been rotated since.
    pub(super) fn listed_again(&self) -> Result<Segments, JournalError> {
        let mut segments = self.clone();
        segments.list()?;
        Ok(segments)
    }

    fn list(&mut self) -> Result<(), JournalError> {
        let names = self
            .disk
            .list(&self.dir)
            .map_err(|error| failed(&format!("cannot list the journal's directory {}", self.dir.display()), &error))?;
        self.rotated = names.iter().filter_map(|name| number_of(name)).collect();
        if !mutant!("W90") {
            self.rotated.sort_unstable();
        }
        Ok(())
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(super) fn head(&self) -> PathBuf {
        self.dir.join(HEAD)
    }

    /// Whether there is a head. A disk that cannot say is an error: taken for empty, it would be written over.
    pub(super) fn has_head(&self) -> Result<bool, JournalError> {
        let head = self.head();
        let failed = |error| failed(&format!("cannot look for the journal {}", head.display()), &error);
        self.disk.exists(&head).map_err(failed)
    }

    /// All segments from the head back. Where one is missing between two that are there, an error stands in its place.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Result<Segment, JournalError>> {
        let head = Segment { path: self.head(), place: Place::Head };
        let rotated = self.rotated.iter().enumerate().rev().map(|(index, number)| {
            match self.rotated.get(index + 1).filter(|newer| **newer != number + 1) {
                Some(newer) => Err(missing(&self.path_of(newer - 1))),
                None => Ok(Segment { path: self.path_of(*number), place: Place::Rotated }),
            }
        });
        std::iter::once(Ok(head)).chain(rotated)
    }

    /// True when the head is the first segment of this log.
    pub(super) fn is_first(&self) -> bool {
        self.rotated.is_empty()
    }

    /// Makes the head the newest rotated segment. The caller makes a new head.
    pub(super) fn rotate(&mut self) -> Result<(), JournalError> {
        let number = self.rotated.last().map_or(0, |last| last + 1);
        let to = self.path_of(number);
        crash_point!("wal.rotate.rename.before");
        self.disk
            .rename(&self.head(), &to)
            .map_err(|error| failed(&format!("cannot rename the journal's head to {}", to.display()), &error))?;
        self.rotated.push(number);
        crash_point!("wal.rotate.rename.after");
        self.sync()
    }

    /// Removes the oldest segments while all of them hold more than `total_bytes`. One after the other, each for good
    /// before the next: a power cut may bring back the oldest one, but leave no gap.
    pub(super) fn remove_oldest(&mut self, total_bytes: u64) -> Result<(), JournalError> {
        let mut sizes = Vec::with_capacity(self.rotated.len());
        for number in &self.rotated {
            let path = self.path_of(*number);
            let size = self.disk.length(&path);
            sizes.push(
                size.map_err(|error| failed(&format!("cannot look at the journal file {}", path.display()), &error))?,
            );
        }
        let mut total: u64 = sizes.iter().sum();
        for size in sizes {
            if total < total_bytes || (total == total_bytes && !mutant!("W91")) {
                break;
            }
            let path = self.path_of(self.rotated[0]);
            crash_point!("wal.prune.before");
            self.disk
                .remove(&path)
                .map_err(|error| failed(&format!("cannot remove the old journal file {}", path.display()), &error))?;
            self.rotated.remove(0);
            crash_point!("wal.prune.sync.before");
            if !mutant!("W92") {
                self.sync()?;
            }
            crash_point!("wal.prune.after");
            total -= size;
        }
        Ok(())
    }

    /// Makes names durable: a file that was made or renamed may be gone after a power cut otherwise.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        if mutant!("W4") {
            return Ok(());
        }
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| failed(&format!("cannot make the directory {} durable", self.dir.display()), &error))
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{HEAD}.{number:03}"))
    }
}

/// `wal.007` → 7; anything else (such as CometBFT's `wal.CORRUPTED`) is not a segment.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(HEAD)?.strip_prefix('.')?;
    let number = (digits.len() >= 3 || mutant!("W93")) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if number { digits.parse().ok() } else { None }
}

/// The error for a segment that is gone though older ones are there.
fn missing(path: &Path) -> JournalError {
    JournalError(format!(
        "the journal file {} is missing, though older and newer ones are there: records this node relied on are lost. {}",
        path.display(),
        remedy(path)
    ))
}

/// What to do about a file that lost records.
pub(super) fn remedy(path: &Path) -> String {
    format!(
        "Restore the file from a copy, or, if this node's priv_validator_state.json is intact, set the journal aside and \
         start again (a validator of Raft or PBFT cannot do without it): mv {dir} {dir}.damaged",
        dir = path.parent().unwrap_or(path).display()
    )
}

/// An error of the system about one of the log's files.
pub(super) fn failed(what: &str, error: &io::Error) -> JournalError {
    JournalError(format!("{what}: {error}. Check free space and permissions (df -h, ls -l), then start again"))
}
