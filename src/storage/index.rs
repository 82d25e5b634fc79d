//! The index: where a transaction stands, and in which blocks an attribute occurs.
//!
//! It is kept small on purpose: one entry for a transaction's hash, one for each different attribute of a block that
//! the application marked with `index`, one for each different key. Entries say only "look into this block"; the
//! block's own events decide (`search`), so that nothing is stored twice and no spelling of a value can confuse it.

use super::Indexing;
use super::keys::{Key, Kind, Name};
use super::kv::Durability;
use super::store::KvStore;
use super::values::{Changes, corrupt};
use crate::crypto::Hash;
use crate::ports::StoreError;
use crate::types::abci::{Event, FinalizeBlockResponse, TxResult};
use crate::types::{AppliedBlock, Block, Height, Tx};
use bytes::{Buf, Bytes};
use std::collections::BTreeSet;

/// Which blocks are indexed; none while `to` is below `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) from: Height,
    pub(super) to: Height,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    height: Height,
    index: u32,
    outcome: Outcome,
}

/// Whether a transaction succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok = 0,
    Failed = 1,
}

/// A block as the index sees it, pruned or not.
#[derive(Debug)]
pub(super) struct IndexedBlock {
    pub(super) height: Height,
    pub(super) txs: Vec<Bytes>,
    pub(super) results: FinalizeBlockResponse,
}

impl IndexedBlock {
    /// A transaction with its result; none when there is no such position.
    pub(super) fn tx(&self, index: u32) -> Option<TxResult> {
        let (tx, result) = (self.txs.get(index as usize)?, self.results.tx_results.get(index as usize)?);
        Some(TxResult { height: self.height, index, tx: tx.clone(), result: result.clone() })
    }
}

impl Place {
    fn encode(self) -> [u8; 13] {
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&self.height.get().to_be_bytes());
        bytes[8..12].copy_from_slice(&self.index.to_be_bytes());
        bytes[12] = self.outcome as u8;
        bytes
    }

    fn decode(mut bytes: Bytes) -> Option<Place> {
        let height = Height::try_from(bytes.try_get_i64().ok()?).ok()?;
        let index = bytes.try_get_u32().ok()?;
        let outcome = match bytes.as_ref() {
            [0] => Outcome::Ok,
            [1] => Outcome::Failed,
            _ => return None,
        };
        Some(Place { height, index, outcome })
    }
}

impl KvStore {
    pub(super) fn require_index(&self) -> Result<(), StoreError> {
        match self.indexing {
            Indexing::On => Ok(()),
            Indexing::Off => Err(StoreError(
                "transaction indexing is disabled: set indexer = \"kv\" under [tx_index] in config.toml and restart \
                 (earlier blocks that are still stored are indexed then)"
                    .to_owned(),
            )),
        }
    }

    pub(super) fn indexed(&self) -> Result<Option<Indexed>, StoreError> {
        let key = Key::single(Kind::Indexed);
        let Some(mut bytes) = self.values.get(&key)? else { return Ok(None) };
        let mut height = || Height::try_from(bytes.try_get_i64().ok()?).ok();
        let indexed = height().and_then(|from| height().map(|to| Indexed { from, to }));
        indexed.map(Some).ok_or_else(|| corrupt(&key, "it is not two heights"))
    }

    /// Notes that what comes after `height` will be indexed.
    pub(super) fn begin_index(&self, batch: &mut Changes, height: Height) {
        put_indexed(batch, Indexed { from: height.next(), to: height });
    }

    /// Indexes what a crash, or a time without index, left out. A block whose index was lost is still stored.
    pub(super) fn catch_up_index(&self) -> Result<(), StoreError> {
        let (Indexing::On, Some(state)) = (self.indexing, self.load_state()?) else { return Ok(()) };
        let base = self.heights().base;
        let first = self.indexed()?.map_or(base, |indexed| indexed.to.next()).max(base);
        if first <= state.last_block_height && first < state.last_block_height {
            tracing::info!(from = %first, to = %state.last_block_height, "indexing blocks that are not indexed yet");
        }
        let mut height = first;
        while height != Height::ZERO && height <= state.last_block_height && !mutant!("Z9") {
            if let (Some(block), Some(results)) = (self.load_block(height)?, self.load_results(height)?) {
                self.index_block(height, &block.txs, &results)?;
            }
            height = height.next();
        }
        Ok(())
    }

    pub(super) fn index_applied(&self, applied: &AppliedBlock) -> Result<(), StoreError> {
        let block = applied.block.block();
        self.index_block(block.header.height, &block.txs, &applied.results)
    }

    fn index_block(&self, height: Height, txs: &[Tx], results: &FinalizeBlockResponse) -> Result<(), StoreError> {
        let mut batch = Changes::default();
        self.put_places(&mut batch, height, txs, results)?;
        let tx_events = results.tx_results.iter().flat_map(|result| &result.events);
        put_occurrences(&mut batch, height, tx_events, Kind::TxAttribute, Kind::TxKey);
        put_occurrences(&mut batch, height, results.events.iter(), Kind::BlockAttribute, Kind::BlockKey);
        let indexed = self.indexed()?.unwrap_or(Indexed { from: height, to: height });
        put_indexed(
            &mut batch,
            Indexed {
                from: indexed.from.min(height),
                to: if mutant!("Z92") { height } else { indexed.to.max(height) },
            },
        );
        self.values.write(batch, Durability::Later, &format!("index block {height}"))
    }

    /// A failed transaction never hides an earlier success of the same bytes: whoever asks for the hash wants to know
    /// whether it happened.
    fn put_places(
        &self,
        batch: &mut Changes,
        height: Height,
        txs: &[Tx],
        results: &FinalizeBlockResponse,
    ) -> Result<(), StoreError> {
        let mut succeeded_here = BTreeSet::new();
        for (index, (tx, result)) in (0..).zip(txs.iter().zip(&results.tx_results)) {
            let hash = tx.hash();
            let outcome = if result.code == 0 { Outcome::Ok } else { Outcome::Failed };
            let hides_success = outcome == Outcome::Failed
                && (succeeded_here.contains(&hash)
                    || self.place_of(&hash)?.is_some_and(|place| place.outcome == Outcome::Ok));
            if hides_success && !mutant!("Z7") {
                continue;
            }
            if outcome == Outcome::Ok {
                succeeded_here.insert(hash);
            }
            batch.put(Key::hash(Kind::TxHash, &hash), &Place { height, index, outcome }.encode());
        }
        Ok(())
    }

    fn place_of(&self, hash: &Hash) -> Result<Option<Place>, StoreError> {
        let key = Key::hash(Kind::TxHash, hash);
        let Some(bytes) = self.values.get(&key)? else { return Ok(None) };
        Place::decode(bytes).map(Some).ok_or_else(|| corrupt(&key, "it is not a height and a position"))
    }

    pub(super) fn load_tx(&self, hash: &Hash) -> Result<Option<TxResult>, StoreError> {
        let Some(place) = self.place_of(hash)? else { return Ok(None) };
        Ok(self.indexed_block(place.height)?.and_then(|block| block.tx(place.index)))
    }

    /// Transactions and results of a height. None when they were pruned while the index was off.
    pub(super) fn indexed_block(&self, height: Height) -> Result<Option<IndexedBlock>, StoreError> {
        let Some(results) = self.load_results(height)? else { return Ok(None) };
        Ok(self.txs_at(height)?.map(|txs| IndexedBlock { height, txs, results }))
    }

    fn txs_at(&self, height: Height) -> Result<Option<Vec<Bytes>>, StoreError> {
        let txs_of = |block: Block| block.txs.iter().map(|tx| tx.bytes().clone()).collect();
        if let Some(block) = self.load_block(height)? {
            return Ok(Some(txs_of(block)));
        }
        if let Some(txs) = self.pruned_txs(height)? {
            return Ok(Some(txs));
        }
        // Readers see the new base before what is below it is rewritten: it is still there, or was rewritten meanwhile.
        match self.read_block(height)? {
            Some(block) => Ok(Some(txs_of(block))),
            None => self.pruned_txs(height),
        }
    }

    fn pruned_txs(&self, height: Height) -> Result<Option<Vec<Bytes>>, StoreError> {
        let key = Key::at(Kind::PrunedTxs, height);
        let bytes = self.values.get(&key)?;
        bytes.map(|bytes| split_txs(bytes).ok_or_else(|| corrupt(&key, "a length is wrong"))).transpose()
    }
}

fn put_indexed(batch: &mut Changes, indexed: Indexed) {
    let bytes: Vec<u8> = [indexed.from, indexed.to].iter().flat_map(|height| height.get().to_be_bytes()).collect();
    batch.put(Key::single(Kind::Indexed), &bytes);
}

/// One entry for each different attribute and each different key among the events.
fn put_occurrences<'a>(
    batch: &mut Changes,
    height: Height,
    events: impl Iterator<Item = &'a Event>,
    attribute_kind: Kind,
    key_kind: Kind,
) {
    let mut names = BTreeSet::new();
    for event in events {
        for attribute in event.attributes.iter().filter(|attribute| attribute.index || mutant!("Z8")) {
            let composite = format!("{}.{}", event.kind, attribute.key);
            names.insert((false, Name::of_key(&composite)));
            names.insert((true, Name::of_value(&composite, &attribute.value)));
        }
    }
    for (with_value, name) in names {
        batch.put(Key::occurs(if with_value { attribute_kind } else { key_kind }, &name, height), &[]);
    }
}

/// Transactions laid end to end, each with its length before it: what the index keeps of a pruned block.
pub(super) fn join_txs(txs: &[Tx]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(txs.iter().map(|tx| 4 + tx.bytes().len()).sum());
    for tx in txs {
        bytes.extend_from_slice(&(tx.bytes().len() as u32).to_be_bytes());
        bytes.extend_from_slice(tx.bytes());
    }
    bytes
}

fn split_txs(mut bytes: Bytes) -> Option<Vec<Bytes>> {
    let mut txs = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.try_get_u32().ok()? as usize;
        if length > bytes.len() {
            return None;
        }
        txs.push(bytes.split_to(length));
    }
    Some(txs)
}
