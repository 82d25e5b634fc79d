//! Reading and writing values that are what they were, or an error that says which one is not.
//!
//! Every value carries a CRC-32C over its key and itself: a bit that flipped on disk, or a value that stands under a
//! wrong key, is found whatever the backend checks.

use super::keys::Key;
use super::kv::{Batch, Durability, Kv, KvError};
use crate::ports::StoreError;
use bytes::{BufMut, Bytes, BytesMut};

const CRC_BYTES: usize = 4;

/// A backend with checked values.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) kv: Box<dyn Kv>,
}

impl Values {
    /// The value of a key.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let sealed = self.kv.get(&key.bytes).map_err(|error| failed(&format!("read the {}", key.words()), &error))?;
        sealed.map(|sealed| unseal(key, sealed)).transpose()
    }

    /// The value of a key, decoded.
    pub(super) fn read<T, E: std::fmt::Display>(
        &self,
        key: &Key,
        decode: impl FnOnce(Bytes) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let decoded = self.get(key)?.map(decode).transpose();
        decoded.map_err(|error| corrupt(key, &error.to_string()))
    }

    /// Writes a batch; `what` completes "cannot …".
    pub(super) fn write(&self, batch: Changes, durability: Durability, what: &str) -> Result<(), StoreError> {
        self.kv.write(batch.0, durability).map_err(|error| failed(what, &error))
    }
}

/// A batch of checked values.
#[derive(Debug, Default)]
pub(super) struct Changes(Batch);

impl Changes {
    pub(super) fn put(&mut self, key: Key, value: &[u8]) {
        let sealed = seal(&key, value);
        self.0.put(key.bytes, sealed);
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.0.delete(key.bytes);
    }

    pub(super) fn delete_bytes(&mut self, key: Vec<u8>) {
        self.0.delete(key);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn crc(key: &Key, value: &[u8]) -> u32 {
    crc32c::crc32c_append(if mutant!("S99") { 0 } else { crc32c::crc32c(&key.bytes) }, value)
}

fn seal(key: &Key, value: &[u8]) -> Bytes {
    let mut sealed = BytesMut::with_capacity(CRC_BYTES + value.len());
    sealed.put_u32(crc(key, value));
    sealed.put_slice(value);
    sealed.freeze()
}

fn unseal(key: &Key, sealed: Bytes) -> Result<Bytes, StoreError> {
    let Some(expected) = sealed.first_chunk::<CRC_BYTES>() else {
        return Err(corrupt(key, "it is shorter than its checksum"));
    };
    let expected = u32::from_be_bytes(*expected);
    let value = sealed.slice(CRC_BYTES..);
    if crc(key, &value) == expected {
        return Ok(value);
    }
    Err(corrupt(key, "its checksum does not fit"))
}

/// Something is stored that cannot be right.
pub(super) fn corrupt(key: &Key, why: &str) -> StoreError {
    StoreError(format!(
        "the store is damaged: the {} cannot be used: {why}. Stop the node, restore the data directory from a copy or \
         run 'quorate reset-state' and synchronise again, and check the disk (smartctl -a)",
        key.words()
    ))
}

/// Something is missing that must be there.
pub(super) fn missing(key: &Key) -> StoreError {
    corrupt(key, "it is missing")
}

/// The backend failed.
pub(super) fn failed(what: &str, error: &KvError) -> StoreError {
    StoreError(format!(
        "cannot {what}: {error}. Check free space and permissions of the data directory (df -h, ls -l), then start again"
    ))
}
