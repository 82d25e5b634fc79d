//! Which peer is told which evidence, when (reference §4.12): every piece that waits for a block, once a connection, to
//! each peer that is past its height and not past its age.

use super::Pool;
use crate::types::{ChainState, Evidence, Height, NodeId};

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceGossipInput {
    /// A peer is there.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer decides this height.
    PeerAt(NodeId, Height),
    /// The pool changed.
    Changed,
}

/// Tell a peer.
#[derive(Debug, PartialEq)]
pub struct Telling {
    /// Whom.
    pub peer: NodeId,
    /// Oldest first.
    pub evidence: Vec<Evidence>,
}

/// Bookkeeping of the evidence channel.
#[derive(Debug, Default)]
pub struct EvidenceGossip {}

impl EvidenceGossip {
    /// Nobody is there yet.
    pub fn new() -> EvidenceGossip {
        EvidenceGossip::default()
    }

    /// Takes one fact into account.
    pub fn step(&mut self, _input: EvidenceGossipInput, _pool: &Pool, _state: &ChainState, _out: &mut Vec<Telling>) {}
}
