//! What the chain itself says: its blocks are the one order of all puts, so a get at a height has one right answer.

use super::Value;
use std::collections::BTreeMap;

/// A get, and the height at which the application says it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadAt {
    pub(crate) key: usize,
    pub(crate) height: u64,
    pub(crate) value: Option<Value>,
}

/// A put, and the height of the block it was promised to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PutAt {
    pub(crate) key: usize,
    pub(crate) height: u64,
    pub(crate) value: Value,
}

/// The transaction that puts a value.
pub(crate) fn put_tx(key: usize, value: Value) -> String {
    format!("key{key}={value}")
}

/// The put a transaction is; none if it is something else.
fn put_of(tx: &str) -> Option<(usize, Value)> {
    let (key, value) = tx.strip_prefix("key")?.split_once('=')?;
    Some((key.parse().ok()?, value.parse().ok()?))
}

/// Whether every get was told what the blocks up to its height leave, every put is in the block it was promised for, and
/// no value is put by two transactions; else what is not so. `blocks` begins with height 1.
pub(crate) fn follows(blocks: &[Vec<String>], puts: &[PutAt], reads: &[ReadAt]) -> Result<(), String> {
    let mut unread: BTreeMap<u64, Vec<&ReadAt>> = BTreeMap::new();
    for read in reads {
        unread.entry(read.height).or_default().push(read);
    }
    let mut registers: BTreeMap<usize, Value> = BTreeMap::new();
    let mut written: BTreeMap<(usize, Value), u64> = BTreeMap::new();
    for (height, txs) in (1..).zip(blocks) {
        for (key, value) in txs.iter().filter_map(|tx| put_of(tx)) {
            registers.insert(key, value);
            if let Some(before) = written.insert((key, value), height) {
                return Err(format!("put {value} of key {key} is in block {before} and in block {height}"));
            }
        }
        for read in unread.remove(&height).unwrap_or_default() {
            let right = registers.get(&read.key).copied();
            if read.value != right {
                return Err(format!("{read:?}, but the blocks leave {right:?}"));
            }
        }
    }
    if let Some((height, reads)) = unread.pop_first() {
        return Err(format!("{reads:?} at height {height}, but there are {} blocks", blocks.len()));
    }
    let found = |put: &PutAt| written.get(&(put.key, put.value)).copied();
    match puts.iter().find(|put| found(put) != Some(put.height)) {
        Some(put) => Err(format!("{put:?} was acknowledged, but it is in block {:?}", found(put))),
        None => Ok(()),
    }
}
