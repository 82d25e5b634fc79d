//! Writing a file so that a crash leaves the old content or the new, never half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600: keys.
    Owner,
    /// Mode 0644: the rest.
    Everyone,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Access::Owner => 0o600,
            Access::Everyone => 0o644,
        }
    }
}

/// Replaces `path` by `bytes`, durably: temporary file beside it, fsync, rename, fsync of the directory. On an error
/// the old file is as it was and the temporary one is gone.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    replace(path, access, |file| file.write_all(bytes))
}

fn replace(path: &Path, access: Access, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_beside(path)?;
    crash_point!("file.write.before");
    let written = write_temporary(&temporary, access, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(why) = written {
        // It may not even exist; the error worth telling is the first one.
        if !mutant!("F95") {
            let _ = fs::remove_file(&temporary);
        }
        return Err(why);
    }
    crash_point!("file.rename.after");
    sync_folder(folder)?;
    crash_point!("file.dirsync.after");
    Ok(())
}

fn write_temporary(temporary: &Path, access: Access, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(if mutant!("F94") { 0o644 } else { access.mode() })
        .open(temporary)?;
    fill(&mut file)?;
    crash_point!("file.sync.before");
    file.sync_all()?;
    crash_point!("file.rename.before");
    Ok(())
}

/// A name no other process uses; a leftover of a crash is overwritten when the process id comes round again.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

/// Makes the names in a directory durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_has_its_content_its_mode_and_no_company() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        write(&path, b"old", Access::Everyone).unwrap();
        write(&path, b"new", Access::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(home.path()), ["key.json"]);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_no_half_of_a_new_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.json");
        write(&path, b"old", Access::Owner).unwrap();
        let failed = replace(&path, Access::Owner, |file| {
            file.write_all(b"ne")?;
            OpenOptions::new().write(true).open("/dev/full")?.write_all(b"w")
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(home.path()), ["key.json"]);
    }

    #[test]
    fn a_missing_directory_is_an_error_and_not_a_panic() {
        assert!(write(Path::new("/nonexistent-folder/a.json"), b"x", Access::Owner).is_err());
        assert!(write(Path::new("/"), b"x", Access::Owner).is_err());
    }
}
