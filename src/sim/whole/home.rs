//! What a node has on its disk: the real journal, the real key file and guard, the real store, over a simulated disk.

use crate::crypto::PrivateKey;
use crate::ports::{Journal, JournalError, Signer, Store};
use crate::privval::FileSigner;
use crate::sim::Dice;
use crate::sim::disk::SimDisk;
use crate::storage::{Indexing, KvStore};
use crate::types::{Height, JournalRecord, Time};
use crate::wal::{self, Limits};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const KEY: &str = "config/priv_validator_key.json";
const STATE: &str = "data/priv_validator_state.json";
const WAL: &str = "data/cs.wal";

/// The journal grows in small steps: a disk of bytes has to write the zeros.
const GROW_BYTES: NonZeroU64 = NonZeroU64::new(16 << 10).expect("more than nothing");

/// A node's disk, and how it is used.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) disk: SimDisk,
    limits: Limits,
    indexing: Indexing,
}

/// What a life has open.
pub(super) struct Opened {
    pub(super) journal: Box<dyn Journal>,
    pub(super) syncs: SyncCount,
    pub(super) signer: Option<Box<dyn Signer>>,
    pub(super) store: Arc<dyn Store>,
}

impl Home {
    /// A home as `quorate init` leaves it.
    pub(super) fn make(key: &PrivateKey, dice: &mut Dice) -> Home {
        let disk = SimDisk::new();
        let (files, _) = disk.boot();
        for dir in ["config", "data"] {
            files.create_dirs(Path::new(dir)).expect("an empty disk has room");
        }
        FileSigner::save_new(&*files, key, Path::new(KEY), Path::new(STATE)).expect("an empty disk has room");
        disk.kill(crate::sim::disk::Batches::Kept);
        let head_bytes = *dice.pick(&[8 << 10, 64 << 10, 10 << 20]).unwrap_or(&(10 << 20));
        let indexing = if dice.chance(30) { Indexing::On } else { Indexing::Off };
        Home { disk, limits: Limits { head_bytes, grow_bytes: GROW_BYTES, ..Limits::default() }, indexing }
    }

    /// Begins a life of the disk and opens everything, repairing what a crash left.
    pub(super) fn open(&self, now: Time) -> Result<Opened, String> {
        let (files, values) = self.disk.boot();
        self.open_on(files, values, now)
    }

    fn open_on(
        &self,
        files: Arc<dyn crate::ports::Disk>,
        values: crate::sim::disk::SimKv,
        now: Time,
    ) -> Result<Opened, String> {
        let store = KvStore::new(Box::new(values), self.indexing, None).map_err(|error| error.to_string())?;
        let signer = FileSigner::open(Arc::clone(&files), Path::new(KEY), Path::new(STATE))
            .map_err(|error| error.to_string())?;
        let (wal, _) = wal::open(files, Path::new(WAL), self.limits, now).map_err(|error| error.to_string())?;
        let syncs = SyncCount::default();
        let journal = Box::new(Counted { inner: wal, syncs: syncs.clone() });
        Ok(Opened { journal, syncs, signer: Some(Box::new(signer)), store: Arc::new(store) })
    }
}

/// How often a journal was synced.
#[derive(Debug, Clone, Default)]
pub(super) struct SyncCount(Arc<AtomicU64>);

impl SyncCount {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A journal whose syncs are seen.
struct Counted<J> {
    inner: J,
    syncs: SyncCount,
}

impl<J: Journal> Journal for Counted<J> {
    fn append(&mut self, at: Time, record: &JournalRecord) -> Result<(), JournalError> {
        self.inner.append(at, record)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.inner.sync()?;
        self.syncs.0.fetch_add(1, Relaxed);
        Ok(())
    }

    fn records_since(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        self.inner.records_since(height)
    }

    fn records_with_standing(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        self.inner.records_with_standing(height)
    }
}
