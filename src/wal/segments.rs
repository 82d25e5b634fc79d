//! The files of the log: the head `wal` and the rotated `wal.000`, `wal.001`, …, oldest first, as CometBFT names them.

use crate::ports::JournalError;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the head and stem of the rotated segments.
const HEAD: &str = "wal";

/// The files of one log, by number. Knows names and order, not contents.
#[derive(Debug, Clone)]
pub(super) struct Segments {
    dir: PathBuf,
    /// Numbers of the rotated segments, ascending. Gaps are possible at the old end only.
    rotated: Vec<u64>,
}

impl Segments {
    /// Lists what is there; makes the directory when it is missing.
    pub(super) fn open(dir: &Path) -> Result<Segments, JournalError> {
        let failed = |what: &str| {
            let what = format!("cannot {what} the journal's directory {}", dir.display());
            move |error: io::Error| failed(&what, &error)
        };
        if !dir.exists() {
            fs::create_dir_all(dir).map_err(failed("make"))?;
            sync_dir(dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        }
        let mut rotated = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed("list"))? {
            let name = entry.map_err(failed("list"))?.file_name();
            rotated.extend(name.to_str().and_then(number_of));
        }
        rotated.sort_unstable();
        Ok(Segments { dir: dir.to_owned(), rotated })
    }

    /// The same log as it is now: it may have been rotated since.
    pub(super) fn listed_again(&self) -> Result<Segments, JournalError> {
        Segments::open(&self.dir)
    }

    pub(super) fn head(&self) -> PathBuf {
        self.dir.join(HEAD)
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.head()).chain(self.rotated.iter().rev().map(|number| self.path_of(*number)))
    }

    /// True when the head is the first segment of this log.
    pub(super) fn is_first(&self) -> bool {
        self.rotated.is_empty()
    }

    /// Makes the head the newest rotated segment. The caller makes a new head.
    pub(super) fn rotate(&mut self) -> Result<(), JournalError> {
        let number = self.rotated.last().map_or(0, |last| last + 1);
        let to = self.path_of(number);
        fs::rename(self.head(), &to)
            .map_err(|error| failed(&format!("cannot rename the journal's head to {}", to.display()), &error))?;
        self.rotated.push(number);
        self.sync()
    }

    /// Removes the oldest segments while all of them hold more than `total_bytes`.
    pub(super) fn remove_oldest(&mut self, total_bytes: u64) -> Result<(), JournalError> {
        let mut sizes = Vec::with_capacity(self.rotated.len());
        for number in &self.rotated {
            let path = self.path_of(*number);
            let size = fs::metadata(&path)
                .map_err(|error| failed(&format!("cannot look at the journal file {}", path.display()), &error))?;
            sizes.push(size.len());
        }
        let mut total: u64 = sizes.iter().sum();
        let mut removed = 0;
        for size in sizes {
            if total <= total_bytes {
                break;
            }
            let path = self.path_of(self.rotated[removed]);
            fs::remove_file(&path)
                .map_err(|error| failed(&format!("cannot remove the old journal file {}", path.display()), &error))?;
            total -= size;
            removed += 1;
        }
        self.rotated.drain(..removed);
        if removed > 0 { self.sync() } else { Ok(()) }
    }

    /// Makes names durable: a file that was made or renamed may be gone after a power cut otherwise.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        sync_dir(&self.dir)
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{HEAD}.{number:03}"))
    }
}

/// `wal.007` → 7; anything else (such as CometBFT's `wal.CORRUPTED`) is not a segment.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(HEAD)?.strip_prefix('.')?;
    let number = digits.len() >= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if number { digits.parse().ok() } else { None }
}

fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| failed(&format!("cannot make the directory {} durable", dir.display()), &error))
}

/// An error of the system about one of the log's files.
pub(super) fn failed(what: &str, error: &io::Error) -> JournalError {
    JournalError(format!("{what}: {error}. Check free space and permissions (df -h, ls -l), then start again"))
}
