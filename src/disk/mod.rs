//! The operating system's file system behind the port: every call is one system call, nothing is cached or retried here.

use crate::ports::{Disk, DiskFile, OpenMode};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Files are made for their owner only.
const OWNER_ONLY: u32 = 0o600;

/// The disk of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsDisk;

#[derive(Debug)]
struct OsFile(File);

impl Disk for OsDisk {
    fn open(&self, file: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Box::new(OsFile(options.mode(OWNER_ONLY).open(file)?)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        Ok(fs::metadata(file)?.len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            made => made,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for OsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        self.0.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_for_its_owner_written_in_place_read_back_renamed_and_removed() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let dir = home.path().join("a/b");
        OsDisk.create_dirs(&dir).expect("made");
        OsDisk.create_dirs(&dir).expect("fine when it is there");
        let (first, second) = (dir.join("first"), dir.join("second"));
        let file = OsDisk.open(&first, OpenMode::CreateNew).expect("new");
        file.write_all_at(b"cd", 2).expect("written");
        file.write_all_at(b"ab", 0).expect("written");
        file.sync_data().expect("synced");
        file.set_len(3).expect("cut");
        assert_eq!(fs::metadata(&first).expect("there").permissions().mode() & 0o777, 0o600);
        let error = OsDisk.open(&first, OpenMode::CreateNew).expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        OsDisk.rename(&first, &second).expect("renamed");
        OsDisk.sync_dir(&dir).expect("synced");
        assert_eq!(
            (OsDisk.list(&dir).expect("listed"), OsDisk.length(&second).expect("there")),
            (vec!["second".to_owned()], 3)
        );
        let mut bytes = [0; 3];
        let file = OsDisk.open(&second, OpenMode::Read).expect("there");
        file.read_exact_at(&mut bytes, 0).expect("readable");
        assert_eq!(&bytes, b"abc");
        assert_eq!(file.read_exact_at(&mut bytes, 1).expect_err("too far").kind(), io::ErrorKind::UnexpectedEof);
        OsDisk.remove(&second).expect("removed");
        assert!(!OsDisk.exists(&second).expect("asked"));
    }

    #[test]
    fn a_file_where_a_directory_should_be_is_an_error() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("name");
        fs::write(&path, "").expect("written");
        assert!(OsDisk.create_dir(&path).is_err());
    }

    #[test]
    fn a_locked_file_is_refused_until_its_holder_closes_it() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let open = || OsDisk.open(&home.path().join("lock"), OpenMode::ReadWrite).expect("opens");
        let first = open();
        first.try_lock().expect("free");
        assert!(matches!(open().try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        open().try_lock().expect("free again");
    }
}
