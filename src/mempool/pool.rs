//! The transactions that wait, in order of admission.
//!
//! Found by position and by hash; both maps are changed together, here and nowhere else (bug class 075).

use super::in_flight::note_sender;
use crate::crypto::Hash;
use crate::types::{Height, NodeId, Tx};
use std::collections::BTreeMap;

/// Position of a transaction: grows with each admission, never used twice.
pub(super) type Position = u64;

/// A waiting transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tx: Tx,
    pub(super) gas: u64,
    /// The last block when it was admitted; zero before this node applied one.
    pub(super) height: Height,
    /// Peers known to have it.
    pub(super) senders: Vec<NodeId>,
}

/// Waiting transactions.
#[derive(Debug, Default)]
pub(super) struct Pool {
    by_position: BTreeMap<Position, Entry>,
    by_hash: BTreeMap<Hash, Position>,
    next: Position,
    bytes: u64,
}

impl Pool {
    /// How many wait.
    pub(super) fn len(&self) -> u64 {
        self.by_position.len() as u64
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_position.is_empty()
    }

    pub(super) fn contains(&self, hash: &Hash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// Appends a transaction that is not there yet.
    pub(super) fn append(&mut self, tx: Tx, gas: u64, height: Height, senders: Vec<NodeId>) {
        let position = self.next;
        let before = self.by_hash.insert(tx.hash(), position);
        assert!(before.is_none(), "a transaction waits only once");
        self.next += 1;
        self.bytes += tx.bytes().len() as u64;
        self.by_position.insert(position, Entry { tx, gas, height, senders });
    }

    /// Removes a transaction, if it is there.
    pub(super) fn remove(&mut self, hash: &Hash) {
        if let Some(position) = self.by_hash.remove(hash)
            && let Some(entry) = self.by_position.remove(&position)
        {
            self.bytes -= if mutant!("M1") { 0 } else { entry.tx.bytes().len() as u64 };
        }
    }

    /// The position of the next transaction to come: it grows with each.
    pub(super) fn next_position(&self) -> Position {
        self.next
    }

    /// Those at this position and behind, in order.
    pub(super) fn from(&self, position: Position) -> impl Iterator<Item = (Position, &Entry)> {
        self.by_position.range(position..).map(|(position, entry)| (*position, entry))
    }

    /// Removes everything. Positions are not used again.
    pub(super) fn clear(&mut self) {
        self.by_position.clear();
        self.by_hash.clear();
        self.bytes = 0;
    }

    /// Remembers that a peer has this transaction too.
    pub(super) fn add_sender(&mut self, hash: &Hash, sender: NodeId) {
        if let Some(entry) = self.by_hash.get(hash).and_then(|position| self.by_position.get_mut(position)) {
            note_sender(&mut entry.senders, sender);
        }
    }

    /// Forgets what a peer sent.
    pub(super) fn forget_sender(&mut self, sender: NodeId) {
        let stays = |known: &NodeId| *known != sender || mutant!("M81");
        self.by_position.values_mut().for_each(|entry| entry.senders.retain(stays));
    }

    /// The peers known to have this transaction.
    pub(super) fn senders(&self, hash: &Hash) -> &[NodeId] {
        let entry = self.by_hash.get(hash).and_then(|position| self.by_position.get(position));
        entry.map_or(&[], |entry| &entry.senders)
    }

    /// All, in order.
    pub(super) fn txs(&self) -> impl Iterator<Item = &Tx> {
        self.by_position.values().map(|entry| &entry.tx)
    }

    /// The first transactions that fit, in order; ends at the first that does not fit, without looking further.
    pub(super) fn reap(&self, bytes_max: Option<u64>, gas_max: Option<u64>) -> Vec<Tx> {
        let (mut bytes, mut gas) = (0u64, 0u64);
        let fits = |entry: &&Entry| {
            bytes = bytes.saturating_add(if mutant!("M6") {
                entry.tx.bytes().len() as u64
            } else {
                entry.tx.encoded_len()
            });
            gas = gas.saturating_add(entry.gas);
            bytes_max.is_none_or(|max| bytes <= max) && gas_max.is_none_or(|max| gas <= max || mutant!("M25"))
        };
        self.by_position.values().take_while(fits).map(|entry| entry.tx.clone()).collect()
    }
}
