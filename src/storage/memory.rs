//! The map in memory, for tests and the simulator, with a model of what a power cut does to it.

use super::kv::{Batch, Change, Direction, Durability, KeyRange, Kv, KvError, Visit};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// A map in memory. Gone when dropped.
#[derive(Debug, Default)]
pub struct MemoryKv {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    map: BTreeMap<Vec<u8>, Bytes>,
    /// How to take back each batch that is not durable yet, oldest first.
    undo: Vec<Vec<(Vec<u8>, Option<Bytes>)>>,
}

impl MemoryKv {
    /// An empty map.
    pub fn new() -> MemoryKv {
        MemoryKv::default()
    }

    /// Batches a power cut may take.
    pub fn at_risk(&self) -> usize {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).undo.len()
    }

    /// A power cut: of the batches that are not durable only the first `kept` survive. What was durable always does,
    /// and a batch never survives without the ones before it.
    pub fn power_cut(&self, kept: usize) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let Inner { map, undo } = &mut *inner;
        for batch in undo.drain(kept.min(undo.len())..).rev() {
            for (key, before) in batch.into_iter().rev() {
                match before {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
        }
        undo.clear();
    }
}

impl Inner {
    fn apply(&mut self, change: Change) -> (Vec<u8>, Option<Bytes>) {
        match change {
            Change::Put(key, value) => {
                let before = self.map.insert(key.clone(), value);
                (key, before)
            }
            Change::Delete(key) => {
                let before = self.map.remove(&key);
                (key, before)
            }
        }
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.inner.read().unwrap_or_else(PoisonError::into_inner).map.get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        if range.start >= range.end {
            return Ok(());
        }
        // The entries are copied out first, so that `visit` may read and write the map.
        let entries: Vec<(Vec<u8>, Bytes)> = {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let entries = inner.map.range(range.start.clone()..range.end.clone());
            entries.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let mut show = |(key, value): &(Vec<u8>, Bytes)| visit(key, value).is_break();
        match direction {
            Direction::Up => entries.iter().any(&mut show),
            Direction::Down => entries.iter().rev().any(&mut show),
        };
        Ok(())
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let undo = batch.into_changes().into_iter().map(|change| inner.apply(change)).collect();
        match durability {
            Durability::Now => inner.undo.clear(),
            Durability::Later => inner.undo.push(undo),
        }
        Ok(())
    }
}
