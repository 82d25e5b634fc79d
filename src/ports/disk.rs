//! What journal and guard need of a file system. Small on purpose: each operation here is one the simulated disk can
//! interrupt, lose or fail, and one whose durability somebody has thought about.
//!
//! What survives a power cut is what was synced: a file's content by [`DiskFile::sync_data`] or [`DiskFile::sync_all`],
//! the *names* in a directory (made, renamed, removed) by [`Disk::sync_dir`]. One without the other is not enough.

use std::fmt;
use std::fs::TryLockError;
use std::io;
use std::path::Path;

/// How a file is opened. What is made is readable and writable by its owner only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To read; it must be there.
    Read,
    /// To read and write; made, empty, when it is missing.
    ReadWrite,
    /// To write; it must not be there yet.
    CreateNew,
}

/// A file system.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, file: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// Whether something has this name. An error is not a "no": a disk that cannot be read must not look empty.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Length of a file in bytes.
    fn length(&self, file: &Path) -> io::Result<u64>;

    /// The names in a directory, in no order; those that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name in the same directory, in place of whatever had it. Durable with [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable with [`Disk::sync_dir`].
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes one directory; fine when it is there. Durable with [`Disk::sync_dir`] of the one above.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a directory and those above it that are missing; all of them are durable when this returns.
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        let above = parent(dir);
        if !self.exists(dir)? {
            self.create_dirs(above)?;
            self.create_dir(dir)?;
            return self.sync_dir(above);
        }
        // It may have been made a moment ago, by a process that was killed before it synced.
        match self.sync_dir(above) {
            // Then it was made by somebody else, long before.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }
}

/// An open file. Positions are bytes from its start.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads some bytes; 0 at the end of the file only.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of the bytes and says how many. The file grows where it must, with zeros in a gap.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file or grows it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes the content durable, and the length as far as reading the content needs it.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content and everything known about the file durable; not its name.
    fn sync_all(&self) -> io::Result<()>;

    /// Takes the file for this process alone, for as long as it stays open.
    fn try_lock(&self) -> Result<(), TryLockError>;

    /// Fills the buffer, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all bytes, in as many writes as the system takes.
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The directory a path lies in; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
