//! The port over the simulated disk: one life's view of names and files.

use super::names::{Inode, Node};
use super::trouble::{FailedSync, Kind};
use super::{Act, Inner, Portion, SimDisk, Step, Stored, eio};
use crate::ports::{Disk, DiskFile, OpenMode};
use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

/// The disk as the node of one life has it.
#[derive(Debug)]
pub(super) struct Mounted {
    pub(super) disk: SimDisk,
    pub(super) life: u64,
}

impl Disk for Mounted {
    fn open(&self, file: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let found = self.disk.look(self.life, |inner| match inner.names.file(file) {
            Ok(inode) => Ok(Some(inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })?;
        let inode = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Read) => return Err(io::ErrorKind::NotFound.into()),
            (Some(inode), _) => inode,
            (None, _) => self.disk.act(self.life, Kind::Names, |inner, step| inner.make(step, file))?,
        };
        let mut inner = self.disk.lock();
        inner.check(self.life)?;
        inner.stored(inode)?.handles += 1;
        drop(inner);
        Ok(Box::new(SimFile {
            disk: self.disk.clone(),
            life: self.life,
            inode,
            path: file.to_owned(),
            locks: false.into(),
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.look(self.life, |inner| Ok(inner.names.find(path).is_some()))
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        self.disk.look(self.life, |inner| {
            let inode = inner.names.file(file)?;
            Ok(inner.files.get(&inode).map_or(0, |stored| stored.content.length()) as u64)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.look(self.life, |inner| inner.names.list(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.act(self.life, Kind::Names, |inner, step| {
            let nr = step.whole()?;
            inner.names.rename(nr, from, to)?;
            inner.note(nr, from, Act::Renamed(to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.disk.act(self.life, Kind::Names, |inner, step| {
            let nr = step.whole()?;
            inner.names.unlink(nr, file)?;
            inner.note(nr, file, Act::Removed);
            Ok(())
        })
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.act(self.life, Kind::Names, |inner, step| {
            let nr = step.whole()?;
            inner.names.make_dir(nr, dir)?;
            inner.note(nr, dir, Act::MadeDir);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.act(self.life, Kind::Names, |inner, step| {
            let nr = step.whole()?;
            if inner.names.find(dir) != Some(Node::Dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            inner.names.sync(dir)?;
            inner.drop_nameless();
            inner.note(nr, dir, Act::SyncedDir);
            Ok(())
        })
    }
}

impl Inner {
    fn make(&mut self, step: Step, file: &Path) -> io::Result<Inode> {
        let nr = step.whole()?;
        let inode = self.next_inode;
        self.names.link(nr, file, inode)?;
        self.next_inode += 1;
        self.files.insert(inode, Stored::default());
        self.note(nr, file, Act::Made);
        Ok(inode)
    }

    fn stored(&mut self, inode: Inode) -> io::Result<&mut Stored> {
        self.files.get_mut(&inode).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// An open file.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    life: u64,
    inode: Inode,
    /// The name it was opened by, for the log.
    path: PathBuf,
    /// Whether this handle holds the lock.
    locks: std::sync::atomic::AtomicBool,
}

impl SimFile {
    fn sync(&self) -> io::Result<()> {
        self.disk.act(self.life, Kind::Sync, |inner, step| {
            let content = &mut inner.stored(self.inode)?.content;
            match step.portion {
                Portion::All => content.sync(),
                Portion::Half => return Err(eio()),
                Portion::Fails(FailedSync::LeavesNothing) => {
                    content.forget_pending();
                    return Err(eio());
                }
                Portion::Fails(FailedSync::LeavesEverything) => {
                    content.sync();
                    return Err(eio());
                }
            }
            let length = content.length() as u64;
            inner.note(step.nr, &self.path, Act::Synced(length));
            Ok(())
        })
    }
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.look(self.life, |inner| {
            Ok(inner.files.get(&self.inode).map_or(0, |stored| stored.content.length()) as u64)
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.look(self.life, |inner| {
            let most = inner.troubles.shorten(buffer.len());
            let stored = inner.files.get(&self.inode).ok_or(io::ErrorKind::NotFound)?;
            Ok(stored.content.read(&mut buffer[..most], position(offset)?))
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let at = position(offset)?;
        self.disk.act(self.life, Kind::Write, |inner, step| {
            let wanted = match step.portion {
                Portion::All => inner.troubles.shorten(bytes.len()),
                Portion::Half => bytes.len() / 2,
                Portion::Fails(_) => return Err(eio()),
            };
            let count = inner.troubles.take_room(wanted)?;
            inner.stored(self.inode)?.content.write(step.nr, &bytes[..count], at);
            inner.note(step.nr, &self.path, Act::Wrote { offset, bytes: count as u64 });
            Ok(count)
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let to = position(length)?;
        self.disk.act(self.life, Kind::Write, |inner, step| {
            let nr = step.whole()?;
            inner.stored(self.inode)?.content.resize(nr, to);
            inner.note(nr, &self.path, Act::Resized(length));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        let mut inner = self.disk.lock();
        inner.check(self.life).map_err(TryLockError::Error)?;
        let stored = inner.stored(self.inode).map_err(TryLockError::Error)?;
        if stored.locked {
            return Err(TryLockError::WouldBlock);
        }
        stored.locked = true;
        self.locks.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut inner = self.disk.lock();
        if inner.life != self.life {
            return;
        }
        if let Ok(stored) = inner.stored(self.inode) {
            stored.handles = stored.handles.saturating_sub(1);
            if *self.locks.get_mut() {
                stored.locked = false;
            }
        }
    }
}

fn position(offset: u64) -> io::Result<usize> {
    /// Largest simulated file.
    const FILE_BYTES_MAX: u64 = 1 << 30;
    if offset > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a simulated file holds at most 1 GiB"));
    }
    Ok(offset as usize)
}
