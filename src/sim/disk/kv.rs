//! The ordered map under the store, as RocksDB and redb promise it: a batch is there whole or not at all, batches that
//! are not durable yet are lost from the newest on, never one between two that stay.

use super::trouble::{FailedSync, Kind};
use super::{Act, Portion, SimDisk};
use crate::storage::{Batch, Change, Direction, Durability, KeyRange, Kv, KvError, Visit};
use bytes::Bytes;
use std::io;
use std::path::Path;

/// The map of one life of a node.
#[derive(Debug, Clone)]
pub struct SimKv {
    disk: SimDisk,
    life: u64,
}

impl SimKv {
    pub(super) fn new(disk: SimDisk, life: u64) -> SimKv {
        SimKv { disk, life }
    }

    fn batches(&self) -> &dyn Kv {
        &self.disk.0.batches
    }
}

impl Kv for SimKv {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.disk.look(self.life, |_| Ok(())).map_err(said)?;
        self.batches().get(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.disk.look(self.life, |_| Ok(())).map_err(said)?;
        self.batches().scan(range, direction, visit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        let (kind, act) = match durability {
            Durability::Now => (Kind::Sync, Act::BatchNow),
            Durability::Later => (Kind::Write, Act::BatchLater),
        };
        let size = bytes_of(&batch);
        let written = self.disk.act(self.life, kind, |inner, step| {
            let left = match step.portion {
                Portion::All => true,
                Portion::Half => false, // a batch has no half
                Portion::Fails(leaves) => leaves == FailedSync::LeavesEverything,
            };
            if inner.troubles.take_room(size)? < size {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if left {
                self.batches().write(batch, durability).map_err(io::Error::other)?;
                inner.note(step.nr, Path::new(""), act);
            }
            step.whole().map(drop)
        });
        written.map_err(said)
    }
}

fn bytes_of(batch: &Batch) -> usize {
    let size = |change: &Change| match change {
        Change::Put(key, value) => key.len() + value.len(),
        Change::Delete(key) => key.len(),
    };
    batch.changes().iter().map(size).sum()
}

fn said(error: io::Error) -> KvError {
    KvError(error.to_string())
}
