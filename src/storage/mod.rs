//! Blocks, states, results and the index on disk (`docs/formats/storage.md`).
//!
//! A backend is an ordered map with atomic batches (`kv`); everything the node knows about what it stores is above
//! that and the same for all backends. A height costs two synced batches, block and results, and two that may wait,
//! state and index: what they hold can be made again from the first two.
//!
//! Reading order: `kv` → `keys` → `values` → `store` → `blocks` → `states` → `evidence` → `index` → `search` → `prune`.

mod blocks;
mod evidence;
mod home;
mod index;
mod keys;
mod kv;
mod memory;
mod prune;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocks;
mod search;
mod states;
mod store;
mod values;

#[cfg(test)]
pub(crate) mod tests;

pub use home::{Backend, exists, open};
pub use kv::{Batch, Change, Direction, Durability, KeyRange, Kv, KvError, Visit};
pub use memory::MemoryKv;
pub use store::KvStore;

/// Whether transactions and block events can be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// `indexer = "kv"`.
    On,
    /// `indexer = "null"`.
    Off,
}
