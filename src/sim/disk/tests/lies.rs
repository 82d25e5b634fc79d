//! Disks that leave out one of the syncs: what the code over them would be if it forgot that sync. The tests of journal
//! and guard must notice each.

use crate::ports::{Disk, DiskFile, OpenMode};
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Which sync is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// None.
    None,
    /// Directories are never synced.
    NoDirectorySync,
    /// Files are never synced.
    NoFileSync,
    /// A file is synced after it was renamed, not before.
    FileSyncAfterRename,
}

#[derive(Debug)]
pub(super) struct LyingDisk {
    pub(super) inner: Arc<dyn Disk>,
    pub(super) lie: Lie,
}

#[derive(Debug)]
struct LyingFile {
    inner: Box<dyn DiskFile>,
    lie: Lie,
}

impl Disk for LyingDisk {
    fn open(&self, file: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LyingFile { inner: self.inner.open(file, mode)?, lie: self.lie }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        self.inner.length(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)?;
        if self.lie == Lie::FileSyncAfterRename {
            return self.inner.open(to, OpenMode::Read)?.sync_all();
        }
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.inner.remove(file)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lie == Lie::NoDirectorySync { Ok(()) } else { self.inner.sync_dir(dir) }
    }
}

impl DiskFile for LyingFile {
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.lie == Lie::NoFileSync { Ok(()) } else { self.inner.sync_data() }
    }

    fn sync_all(&self) -> io::Result<()> {
        if matches!(self.lie, Lie::NoFileSync | Lie::FileSyncAfterRename) { Ok(()) } else { self.inner.sync_all() }
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        self.inner.try_lock()
    }
}
