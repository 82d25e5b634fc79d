//! The data on disk: one redb file, one durable transaction for each block.

use bytes::Bytes;
use quorate::crypto::PublicKey;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

const PAIRS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("pairs");
/// Public key → power.
const VALIDATORS: TableDefinition<[u8; PublicKey::LEN], u64> = TableDefinition::new("validators");
/// `height` and `size`.
const PROGRESS: TableDefinition<&str, u64> = TableDefinition::new("progress");

/// How far the application came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Last block committed; 0 before the first.
    pub(crate) height: u64,
    /// Transactions executed since the beginning.
    pub(crate) size: u64,
}

/// What a block changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) progress: Progress,
    /// Sorted, so that the file is written from front to back; a key set twice keeps the last value.
    pub(crate) pairs: BTreeMap<Bytes, Bytes>,
    /// Power 0 removes.
    pub(crate) validators: BTreeMap<PublicKey, u64>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens the file in `home` or creates both. The error says what to do.
    pub(crate) fn open(home: &Path) -> Result<Store, String> {
        let unusable = |error: &dyn std::fmt::Display| {
            format!("cannot keep data in {}: {error}; make it writable or choose another --home", home.display())
        };
        fs::create_dir_all(home).map_err(|error| unusable(&error))?;
        let file = home.join("kvstore.redb");
        let database = Database::create(&file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                format!("{} is in use by another kvstore: stop that one or choose another --home", file.display())
            }
            error => unusable(&error),
        })?;
        // The file's name must survive a power failure too.
        File::open(home).and_then(|directory| directory.sync_all()).map_err(|error| unusable(&error))?;
        let store = Store { database };
        store.create_tables().map_err(|error| unusable(&error))?;
        Ok(store)
    }

    fn create_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(PAIRS)?;
        transaction.open_table(VALIDATORS)?;
        transaction.open_table(PROGRESS)?;
        transaction.commit()?;
        Ok(())
    }

    pub(crate) fn progress(&self) -> Result<Progress, redb::Error> {
        let table = self.database.begin_read()?.open_table(PROGRESS)?;
        let number = |name| Ok::<u64, redb::Error>(table.get(name)?.map_or(0, |value| value.value()));
        Ok(Progress { height: number("height")?, size: number("size")? })
    }

    pub(crate) fn validators(&self) -> Result<BTreeMap<PublicKey, u64>, redb::Error> {
        let table = self.database.begin_read()?.open_table(VALIDATORS)?;
        let mut validators = BTreeMap::new();
        for entry in table.iter()? {
            let (key, power) = entry?;
            validators.insert(PublicKey::new(key.value()), power.value());
        }
        Ok(validators)
    }

    /// A value and the height it was read at, both from one snapshot.
    pub(crate) fn get(&self, key: &[u8]) -> Result<(Option<Bytes>, u64), redb::Error> {
        let snapshot = self.database.begin_read()?;
        let value = snapshot.open_table(PAIRS)?.get(key)?.map(|value| Bytes::copy_from_slice(value.value()));
        let height = snapshot.open_table(PROGRESS)?.get("height")?.map_or(0, |height| height.value());
        Ok((value, height))
    }

    /// Makes the changes of a block durable, all or none of them.
    pub(crate) fn commit(&self, changes: &Changes) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut pairs = transaction.open_table(PAIRS)?;
            for (key, value) in &changes.pairs {
                pairs.insert(key.as_ref(), value.as_ref())?;
            }
            let mut validators = transaction.open_table(VALIDATORS)?;
            for (key, power) in &changes.validators {
                match power {
                    0 => validators.remove(key.as_bytes())?,
                    power => validators.insert(key.as_bytes(), power)?,
                };
            }
            let mut progress = transaction.open_table(PROGRESS)?;
            progress.insert("height", changes.progress.height)?;
            progress.insert("size", changes.progress.size)?;
        }
        transaction.commit()?; // redb waits for the disk here
        Ok(())
    }
}
