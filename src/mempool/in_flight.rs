//! Transactions the application is being asked about: what they take, and which peers have them too.

use super::SENDERS_MAX;
use crate::crypto::Hash;
use crate::types::{NodeId, Tx};
use std::collections::BTreeMap;

/// They count against the limits, so that these hold whatever the application answers.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    txs: u64,
    bytes: u64,
    /// Of each transaction, so that one sent by a second peer while the application looks at it goes back to neither.
    senders: BTreeMap<Hash, Vec<NodeId>>,
}

impl InFlight {
    /// How many.
    pub(super) fn txs(&self) -> u64 {
        self.txs
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A transaction is on its way.
    pub(super) fn add(&mut self, tx: &Tx, sender: Option<NodeId>) {
        self.txs += 1;
        self.bytes += tx.bytes().len() as u64;
        let senders = self.senders.entry(tx.hash()).or_default();
        sender.into_iter().for_each(|sender| note_sender(senders, sender));
    }

    /// A peer has this transaction too, if it is on its way.
    pub(super) fn add_sender(&mut self, hash: &Hash, sender: NodeId) {
        if let Some(senders) = self.senders.get_mut(hash) {
            note_sender(senders, sender);
        }
    }

    /// Forgets what a peer sent.
    pub(super) fn forget_sender(&mut self, sender: NodeId) {
        self.senders.values_mut().for_each(|senders| senders.retain(|known| *known != sender));
    }

    /// It is not on its way any more. Gives who is known to have it.
    pub(super) fn remove(&mut self, tx: &Tx) -> Vec<NodeId> {
        self.txs -= 1;
        self.bytes -= if mutant!("M94") { 0 } else { tx.bytes().len() as u64 };
        self.senders.remove(&tx.hash()).unwrap_or_default() // none: a small cache let it in twice
    }
}

/// Remembers a sender, up to [`SENDERS_MAX`].
pub(super) fn note_sender(senders: &mut Vec<NodeId>, sender: NodeId) {
    if (senders.len() < SENDERS_MAX || mutant!("M95")) && !senders.contains(&sender) {
        senders.push(sender);
    }
}
