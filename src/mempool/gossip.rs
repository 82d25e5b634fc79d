//! Which peer is offered which transactions, when (reference §7.1): each transaction once, in batches, never to who
//! sent it, to no peer that still fetches blocks. What was given to a peer and is not written yet is bounded; the rest
//! waits in the pool, not in a queue.

use super::Mempool;
use crate::types::{Height, NodeId};
use bytes::Bytes;

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxGossipInput {
    /// A peer is there.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer decides this height.
    PeerAt(NodeId, Height),
    /// This many bytes given to a peer have been written.
    Written(NodeId, u64),
    /// The pool took transactions.
    Changed,
}

/// Offer these to a peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whom.
    pub peer: NodeId,
    /// In order.
    pub txs: Vec<Bytes>,
}

/// Bookkeeping of the mempool channel.
#[derive(Debug, Default)]
pub struct TxGossip {}

impl TxGossip {
    /// Nobody is there yet.
    pub fn new() -> TxGossip {
        TxGossip::default()
    }

    /// Takes one fact into account.
    pub fn step(&mut self, _input: TxGossipInput, _pool: &Mempool, _out: &mut Vec<Offer>) {}
}
