//! The store's directory: which backend made it, and who uses it.

use super::Indexing;
use super::kv::{Kv, KvError};
use super::memory::MemoryKv;
use super::redb::RedbKv;
use super::store::KvStore;
use crate::ports::{Store, StoreError};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Names the backend that made the directory.
const MARKER: &str = "backend";
/// Held by the process that uses the directory.
const LOCK: &str = "lock";

/// A backend, as `db_backend` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// RocksDB; only in builds with the feature `rocksdb`.
    RocksDb,
    /// redb, pure Rust.
    Redb,
    /// Nothing on disk: gone when the process ends.
    Memory,
}

impl Backend {
    /// The best this build has: RocksDB where it is built in, redb otherwise.
    pub const DEFAULT: Backend = if cfg!(feature = "rocksdb") { Backend::RocksDb } else { Backend::Redb };

    /// The name in configuration and marker.
    pub fn name(self) -> &'static str {
        match self {
            Backend::RocksDb => "rocksdb",
            Backend::Redb => "redb",
            Backend::Memory => "memdb",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Backend, StoreError> {
        let known = [Backend::RocksDb, Backend::Redb, Backend::Memory];
        known.into_iter().find(|backend| backend.name() == name).ok_or_else(|| {
            StoreError(format!("db_backend must be rocksdb, redb or memdb, got {name:?}: change it in config.toml"))
        })
    }
}

/// Opens the store in `dir`, making it when there is none. Fails when another backend made it or another process uses
/// it; the text says what to do.
pub fn open(backend: Backend, dir: &Path, indexing: Indexing) -> Result<Arc<dyn Store>, StoreError> {
    if backend == Backend::Memory {
        return Ok(Arc::new(KvStore::new(Box::new(MemoryKv::new()), indexing, None)?));
    }
    require_built_in(backend)?;
    fs::create_dir_all(dir).map_err(|error| failed("make the data directory", dir, &error))?;
    let lock = lock(dir)?;
    check_marker(backend, dir)?;
    let kv = open_kv(backend, dir).map_err(|KvError(said)| {
        StoreError(format!(
            "cannot open the {backend} store in {}: {said}. If the disk is full, make room; if the store is damaged, \
             restore the directory from a copy or remove it and synchronise again",
            dir.display()
        ))
    })?;
    Ok(Arc::new(KvStore::new(kv, indexing, Some(lock))?))
}

/// Whether there is a store in `dir`, whatever backend made it. Touches nothing.
pub fn exists(dir: &Path) -> bool {
    dir.join(MARKER).exists()
}

fn require_built_in(backend: Backend) -> Result<(), StoreError> {
    if backend != Backend::RocksDb || cfg!(feature = "rocksdb") {
        return Ok(());
    }
    Err(StoreError(
        "this build has no RocksDB: set db_backend = \"redb\" in config.toml, or build with --features rocksdb"
            .to_owned(),
    ))
}

#[cfg(feature = "rocksdb")]
fn open_kv(backend: Backend, dir: &Path) -> Result<Box<dyn Kv>, KvError> {
    match backend {
        Backend::RocksDb => Ok(Box::new(super::rocks::RocksKv::open(&dir.join("rocksdb"))?)),
        Backend::Redb => Ok(Box::new(RedbKv::open(&dir.join("store.redb"))?)),
        Backend::Memory => Ok(Box::new(MemoryKv::new())),
    }
}

#[cfg(not(feature = "rocksdb"))]
fn open_kv(backend: Backend, dir: &Path) -> Result<Box<dyn Kv>, KvError> {
    match backend {
        Backend::RocksDb => Err(KvError("not in this build".to_owned())),
        Backend::Redb => Ok(Box::new(RedbKv::open(&dir.join("store.redb"))?)),
        Backend::Memory => Ok(Box::new(MemoryKv::new())),
    }
}

/// Two processes writing one store would destroy it.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(|error| failed("open the lock", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) if mutant!("S101") => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError(format!(
            "the store in {} is in use by another process: stop that node first (ps aux | grep quorate), or give this \
             one its own --home",
            dir.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
    }
}

/// Compares the backend with the one that made the directory, or notes it in a new one.
fn check_marker(backend: Backend, dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(MARKER);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == backend.name() || (mutant!("S102") && !text.is_empty()) => Ok(()),
        // A crash while making the directory can leave an empty marker.
        Ok(text) if text.is_empty() => {
            write_marker(backend, &path, dir).map_err(|error| failed("write", &path, &error))
        }
        Ok(text) => Err(StoreError(format!(
            "the store in {} was made with {:?}, not with {backend}: set db_backend = {:?} in config.toml, or move the \
             directory away to begin anew",
            dir.display(),
            text.trim(),
            text.trim()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_marker(backend, &path, dir).map_err(|error| failed("write", &path, &error))
        }
        Err(error) => Err(failed("read", &path, &error)),
    }
}

fn write_marker(backend: Backend, path: &Path, dir: &Path) -> io::Result<()> {
    crash_point!("store.marker.before");
    let mut file = File::create(path)?;
    writeln!(file, "{backend}")?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    crash_point!("store.marker.after");
    Ok(())
}

fn failed(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError(format!(
        "cannot {what} {}: {error}. Check free space and permissions (df -h, ls -l), then start again",
        path.display()
    ))
}
