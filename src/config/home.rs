//! Where a node keeps its files, laid out as CometBFT does: `config/` and `data/` below the home.

use super::{ConfigError, RunFile};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A home directory. Nothing in it need exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The directory below the user's own when nothing else is said.
    pub const DEFAULT_NAME: &'static str = ".quorate";
    /// The environment variable that names the home.
    pub const VARIABLE: &'static str = "QUORATE_HOME";

    /// Takes a directory as the home.
    pub fn new(path: impl Into<PathBuf>) -> Home {
        Home(path.into())
    }

    /// The home by flag, else by environment, else `~/.quorate`. `variable` reads the environment.
    pub fn find(flag: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Home, ConfigError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = flag.filter(|path| !path.as_os_str().is_empty()) {
            return Ok(Home(path.to_owned()));
        }
        if let Some(path) = set(Home::VARIABLE) {
            return Ok(Home(path));
        }
        set("HOME").map(|user| Home(user.join(Home::DEFAULT_NAME))).ok_or(ConfigError::NoHome)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `config/config.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("config/config.toml")
    }

    /// `data`.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// `data/node.json`: where the running node says who and where it is.
    pub fn run_file(&self) -> PathBuf {
        self.0.join("data/node.json")
    }

    /// Bytes below `data/`.
    pub fn data_bytes(&self) -> u64 {
        tree_bytes(&self.data())
    }

    /// A path of the configuration: as it is when absolute, else below the home.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Makes the home, `config/` and `data/`, readable by the owner only, as far as they are missing.
    pub fn create(&self) -> Result<(), ConfigError> {
        for folder in [self.0.clone(), self.0.join("config"), self.data()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|why| ConfigError::io("create", &folder, why))?;
        }
        Ok(())
    }
}

/// The right to use a home, held until dropped or the process ends. Two processes with one validator key would sign
/// twice, so whoever signs, resets or writes below `data/` takes it first.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl HomeLock {
    /// The file below `data/` that carries the lock.
    pub const NAME: &'static str = "node.lock";

    /// Takes the lock, or says who has it.
    pub fn take(home: &Home) -> Result<HomeLock, ConfigError> {
        let path = home.data().join(HomeLock::NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|why| ConfigError::io("lock", &path, why))?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let pid = RunFile::read(home).map(|run| run.pid);
                Err(ConfigError::InUse { home: home.path().to_owned(), pid })
            }
            Err(TryLockError::Error(why)) => Err(ConfigError::io("lock", &path, why)),
        }
    }

    /// True when a process holds the lock now.
    pub fn is_taken(home: &Home) -> bool {
        matches!(HomeLock::take(home), Err(ConfigError::InUse { .. }))
    }
}

/// Size of a directory tree in bytes, as far as it can be read.
fn tree_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => tree_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
