//! A backend that lets something happen just before a read or a write, as another thread would.

use crate::storage::{Batch, Direction, Durability, KeyRange, Kv, KvError, MemoryKv, Visit};
use bytes::Bytes;
use std::fmt;
use std::sync::Mutex;

/// When to meddle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Read,
    Write,
}

type Deed = Box<dyn FnOnce() + Send>;

/// In memory.
#[derive(Default)]
pub(crate) struct Meddled {
    inner: MemoryKv,
    planned: Mutex<Option<(Before, Deed)>>,
}

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Meddled {
    /// Does this before the next read or write, once.
    pub(crate) fn meddle(&self, before: Before, deed: impl FnOnce() + Send + 'static) {
        *self.planned.lock().unwrap() = Some((before, Box::new(deed)));
    }

    fn happen(&self, before: Before) {
        let due = self.planned.lock().unwrap().take_if(|(planned, _)| *planned == before);
        if let Some((_, deed)) = due {
            deed();
        }
    }
}

impl Kv for Meddled {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.happen(Before::Read);
        self.inner.get(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.inner.scan(range, direction, visit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), KvError> {
        self.happen(Before::Write);
        self.inner.write(batch, durability)
    }
}
