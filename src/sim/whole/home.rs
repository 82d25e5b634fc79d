//! What a node has on its disk: the real journal, the real key file and guard, the real store, over a simulated disk.

use super::signer::{Mood, Moody};
use crate::crypto::PrivateKey;
use crate::ports::{Journal, JournalError, OpenMode, Signer, Store};
use crate::privval::FileSigner;
use crate::sim::disk::{Batches, SimDisk};
use crate::sim::{Dice, Keeps, RotPlace};
use crate::storage::{Indexing, KvStore};
use crate::types::{Height, JournalRecord, SignPosition, Time};
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
    pub(super) mood: Mood,
    /// Whether it has the key of its validator.
    key: HasKey,
    limits: Limits,
    indexing: Indexing,
}

/// Whether a home has the key its validator began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HasKey {
    Yes,
    No,
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
        let disk = fresh_disk(key);
        let head_bytes = *dice.pick(&[8 << 10, 64 << 10, 10 << 20]).unwrap_or(&(10 << 20));
        let indexing = if dice.chance(30) { Indexing::On } else { Indexing::Off };
        let limits = Limits { head_bytes, grow_bytes: GROW_BYTES, ..Limits::default() };
        Home { disk, mood: Mood::default(), key: HasKey::Yes, limits, indexing }
    }

    /// Begins a life of the disk and opens everything, repairing what a crash left.
    pub(super) fn open(&self, now: Time) -> Result<Opened, String> {
        let (files, values) = self.disk.boot();
        self.open_on(files, values, now)
    }

    fn open_signer(&self, files: &Arc<dyn crate::ports::Disk>) -> Result<Box<dyn Signer>, String> {
        let signer = FileSigner::open(Arc::clone(files), Path::new(KEY), Path::new(STATE));
        Ok(Box::new(Moody::new(signer.map_err(|error| error.to_string())?, self.mood.clone())))
    }

    /// Damages something; false when there is nothing to damage.
    pub(super) fn harm(&self, dice: &mut Dice, place: RotPlace) -> bool {
        match place {
            RotPlace::Journal => self.disk.harm_journal(dice, Path::new(WAL)).is_some(),
            RotPlace::Store => self.disk.harm_store(dice),
            RotPlace::SignState => self.disk.harm_file(dice, Path::new(STATE)),
        }
    }

    /// `mv data/cs.wal data/cs.wal.damaged`.
    pub(super) fn set_journal_aside(&self) {
        for name in self.disk.files_in(Path::new(WAL)).into_keys() {
            self.disk.lose_file(&Path::new(WAL).join(name));
        }
    }

    /// `quorate advance-sign-state --height`, and before it the removal of a state nobody can read.
    pub(super) fn advance_sign_state(&self, to: SignPosition) {
        let (files, _) = self.disk.boot();
        self.disk.lose_file(Path::new(STATE));
        FileSigner::advance(&*files, Path::new(STATE), to).expect("the disk works");
        self.disk.kill(Batches::Kept);
    }

    /// A home with what is left, and nothing else. Without its key the node only follows: whatever key it makes, nobody
    /// gave it power.
    pub(super) fn begin_anew(&mut self, key: &PrivateKey, keeps: Keeps) {
        let state = self.disk.bytes_of(Path::new(STATE));
        self.disk = fresh_disk(key);
        match (keeps, state) {
            (Keeps::SignState, Some(state)) => {
                let (files, _) = self.disk.boot();
                let file = files.open(Path::new(STATE), OpenMode::ReadWrite).expect("it was just made");
                let written =
                    file.set_len(0).and_then(|()| file.write_all_at(&state, 0)).and_then(|()| file.sync_all());
                written.expect("the disk works");
                self.disk.kill(Batches::Kept);
            }
            (Keeps::SignState | Keeps::Key, _) => self.disk.lose_file(Path::new(STATE)),
            (Keeps::Nothing, _) => self.key = HasKey::No,
        }
    }

    fn open_on(
        &self,
        files: Arc<dyn crate::ports::Disk>,
        values: crate::sim::disk::SimKv,
        now: Time,
    ) -> Result<Opened, String> {
        let store = KvStore::new(Box::new(values), self.indexing, None).map_err(|error| error.to_string())?;
        let signer = match self.key {
            HasKey::Yes => Some(self.open_signer(&files)?),
            HasKey::No => None,
        };
        let (wal, _) = wal::open(files, Path::new(WAL), self.limits, now).map_err(|error| error.to_string())?;
        let syncs = SyncCount::default();
        let journal = Box::new(Counted { inner: wal, disk: self.disk.clone(), syncs: syncs.clone() });
        Ok(Opened { journal, syncs, signer, store: Arc::new(store) })
    }
}

fn fresh_disk(key: &PrivateKey) -> SimDisk {
    let disk = SimDisk::new();
    let (files, _) = disk.boot();
    for dir in ["config", "data"] {
        files.create_dirs(Path::new(dir)).expect("an empty disk has room");
    }
    FileSigner::save_new(&*files, key, Path::new(KEY), Path::new(STATE)).expect("an empty disk has room");
    disk.kill(Batches::Kept);
    disk
}

/// How often a journal was synced.
#[derive(Debug, Clone, Default)]
pub(super) struct SyncCount(Arc<AtomicU64>);

impl SyncCount {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A journal whose syncs are seen. It is not taken at its word: what counts is that the disk has nothing to lose.
struct Counted<J> {
    inner: J,
    disk: SimDisk,
    syncs: SyncCount,
}

impl<J: Journal> Journal for Counted<J> {
    fn append(&mut self, at: Time, record: &JournalRecord) -> Result<(), JournalError> {
        self.inner.append(at, record)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.inner.sync()?;
        if !self.disk.may_lose(Path::new(WAL)) {
            self.syncs.0.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn records_since(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        self.inner.records_since(height)
    }

    fn records_with_standing(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError> {
        self.inner.records_with_standing(height)
    }
}
