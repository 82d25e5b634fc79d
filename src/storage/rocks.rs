//! RocksDB: a log-structured merge tree. The store of long-lived nodes.

use super::kv::{Batch, Change, Direction, Durability, KeyRange, Kv, KvError, Visit};
use bytes::Bytes;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WriteBatch, WriteOptions};
use std::path::Path;

/// Memory for blocks read, all tables together.
const CACHE_BYTES: usize = 64 << 20;
/// Memory for writes before they go to a table file, and how many such buffers at most.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
const WRITE_BUFFERS_MAX: i32 = 3;
/// Files kept open.
const OPEN_FILES_MAX: i32 = 512;
/// Threads that merge tables.
const BACKGROUND_JOBS: i32 = 2;

/// A RocksDB database.
pub struct RocksKv {
    database: DB,
}

impl std::fmt::Debug for RocksKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RocksKv")
    }
}

impl RocksKv {
    /// Opens the directory, making it when it is missing.
    pub fn open(dir: &Path) -> Result<RocksKv, KvError> {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        tables.set_bloom_filter(10.0, false);
        tables.set_cache_index_and_filter_blocks(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&tables);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(BACKGROUND_JOBS);
        options.set_bytes_per_sync(1 << 20); // no bursts of writeback that delay the journal's fsync
        options.set_keep_log_file_num(4);
        Ok(RocksKv { database: DB::open(&options, dir).map_err(said)? })
    }
}

impl Kv for RocksKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.database.get(key).map_err(said)?.map(Bytes::from))
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        if range.start >= range.end {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.start.clone());
        options.set_iterate_upper_bound(range.end.clone());
        let mut cursor = self.database.raw_iterator_opt(options);
        match direction {
            Direction::Up => cursor.seek_to_first(),
            Direction::Down => cursor.seek_to_last(),
        }
        while let Some((key, value)) = cursor.item() {
            if visit(key, value).is_break() {
                break;
            }
            match direction {
                Direction::Up => cursor.next(),
                Direction::Down => cursor.prev(),
            }
        }
        cursor.status().map_err(said)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let mut changes = WriteBatch::default();
        for change in batch.changes() {
            match change {
                Change::Put(key, value) => changes.put(key, value),
                Change::Delete(key) => changes.delete(key),
            }
        }
        // RocksDB's log is one file in write order: a synced batch makes every earlier one durable.
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Now);
        self.database.write_opt(changes, &options).map_err(said)
    }
}

fn said(error: rocksdb::Error) -> KvError {
    KvError(error.into_string())
}
