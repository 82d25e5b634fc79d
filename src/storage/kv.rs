//! The ordered map of bytes that every backend is: point reads, scans of a snapshot, atomic batches.

use bytes::Bytes;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A backend failed. The text is the backend's; `store` adds what was being done and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct KvError(pub String);

/// When a batch must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the write returns, and every earlier batch with it.
    Now,
    /// With the next batch written with [`Durability::Now`] at the latest; never before an earlier batch.
    Later,
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Up,
    /// Largest key first.
    Down,
}

/// Keys from `start` to just before `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// First key inside.
    pub start: Vec<u8>,
    /// First key outside.
    pub end: Vec<u8>,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a value.
    Put(Vec<u8>, Bytes),
    /// Removes a key; nothing happens when it is not there.
    Delete(Vec<u8>),
}

/// Changes that happen together or not at all, in order: the last one for a key counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Sets a value.
    pub fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.changes.push(Change::Put(key, value));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.push(Change::Delete(key));
    }

    /// The changes in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes, taken out.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True when nothing would change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What a scan shows each entry to; `Break` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A backend. Reads run beside writes and see whole batches only; one writer at a time.
pub trait Kv: Send + Sync + fmt::Debug {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Shows the entries of a range, as they were when the scan began.
    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError>;

    /// Applies a batch.
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError>;
}

/// A shared backend: the simulator keeps one while the node above it comes and goes.
impl<K: Kv + ?Sized> Kv for Arc<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        (**self).get(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        (**self).scan(range, direction, visit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        (**self).write(batch, durability)
    }
}
