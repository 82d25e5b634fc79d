//! redb: a copy-on-write B-tree in one file, pure Rust. The store of the quickstart build and of tests.

use super::kv::{Batch, Change, Direction, Durability, KeyRange, Kv, KvError, Visit};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, TableDefinition, TableError};
use std::path::Path;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("quorate");
/// Memory redb may use for pages.
const CACHE_BYTES: usize = 64 << 20;

/// A redb database.
pub struct RedbKv {
    database: Database,
}

impl std::fmt::Debug for RedbKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedbKv")
    }
}

impl RedbKv {
    /// Opens the file, making it when it is missing.
    pub fn open(file: &Path) -> Result<RedbKv, KvError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(file).map_err(said)?;
        Ok(RedbKv { database })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<T, KvError>,
        empty: T,
    ) -> Result<T, KvError> {
        match self.database.begin_read().map_err(said)?.open_table(TABLE) {
            Ok(table) => read(&table),
            Err(TableError::TableDoesNotExist(_)) => Ok(empty), // nothing was ever written
            Err(error) => Err(said(error)),
        }
    }
}

impl Kv for RedbKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let get = |table: &redb::ReadOnlyTable<&'static [u8], &'static [u8]>| {
            let value = table.get(key).map_err(said)?;
            Ok(value.map(|guard| Bytes::copy_from_slice(guard.value())))
        };
        self.read(get, None)
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        if range.start >= range.end {
            return Ok(());
        }
        let scan = |table: &redb::ReadOnlyTable<&'static [u8], &'static [u8]>| {
            let mut entries = table.range(range.start.as_slice()..range.end.as_slice()).map_err(said)?;
            let mut next = || match direction {
                Direction::Up => entries.next(),
                Direction::Down => entries.next_back(),
            };
            while let Some(entry) = next() {
                let (key, value) = entry.map_err(said)?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok(())
        };
        self.read(scan, ())
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let mut transaction = self.database.begin_write().map_err(said)?;
        let durability = match durability {
            Durability::Now => redb::Durability::Immediate,
            Durability::Later => redb::Durability::None,
        };
        transaction.set_durability(durability).map_err(said)?;
        {
            let mut table = transaction.open_table(TABLE).map_err(said)?;
            for change in batch.changes() {
                match change {
                    Change::Put(key, value) => table.insert(key.as_slice(), value.as_ref()).map_err(said)?,
                    Change::Delete(key) => table.remove(key.as_slice()).map_err(said)?,
                };
            }
        }
        transaction.commit().map_err(said)
    }
}

fn said(error: impl std::fmt::Display) -> KvError {
    KvError(error.to_string())
}
