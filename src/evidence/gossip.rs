//! Which peer is told which evidence, when (reference §4.12): every piece that waits for a block, once a connection, to
//! each peer that is past its height and not past its age (prepareEvidenceMessage of evidence/reactor.go).
//!
//! Once is enough, where CometBFT repeats every ten seconds: a connection loses nothing, and a peer past the height has
//! the header it needs. One message at a time is given to a peer; the rest waits in the pool.

use super::Pool;
use crate::types::{ChainState, Evidence, EvidenceKey, Height, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of a message on channel 0x38, CometBFT's `maxMsgSize`. A larger piece cannot be told to anybody; it still
/// reaches the chain in a block of ours.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceGossipInput {
    /// A peer is there.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer decides this height.
    PeerAt(NodeId, Height),
    /// A peer told us the piece with this name ([`Evidence::key`]), so it has it. Said after the pool took it and
    /// before [`EvidenceGossipInput::Changed`].
    Heard(NodeId, EvidenceKey),
    /// This many bytes told to a peer have been written.
    Written(NodeId, u64),
    /// The pool changed.
    Changed,
}

/// Tell a peer.
#[derive(Debug, PartialEq)]
pub struct Telling {
    /// Whom.
    pub peer: NodeId,
    /// Oldest first; one message.
    pub evidence: Vec<Evidence>,
}

/// Bookkeeping of the evidence channel.
#[derive(Debug, Default)]
pub struct EvidenceGossip {
    peers: BTreeMap<NodeId, Peer>,
}

/// A connection.
#[derive(Debug, Default)]
struct Peer {
    /// The height it decides; none while it fetches blocks.
    at: Option<Height>,
    /// Pieces it has: told, or heard from it. Only of those that wait in the pool, which bounds it.
    has: BTreeSet<EvidenceKey>,
    /// Bytes told and not written yet.
    unwritten: u64,
}

impl EvidenceGossip {
    /// Nobody is there yet.
    pub fn new() -> EvidenceGossip {
        EvidenceGossip::default()
    }

    /// Takes one fact into account. `state` is the state after the last block. What is to be said is appended to `out`.
    pub fn step(&mut self, input: EvidenceGossipInput, pool: &Pool, state: &ChainState, out: &mut Vec<Telling>) {
        match input {
            EvidenceGossipInput::PeerUp(id) => {
                self.peers.insert(id, Peer::default());
            }
            EvidenceGossipInput::PeerDown(id) => {
                self.peers.remove(&id);
            }
            EvidenceGossipInput::PeerAt(id, height) => {
                self.note(id, pool, state, out, |peer| peer.at = Some(height));
            }
            EvidenceGossipInput::Heard(id, key) => {
                if let Some(peer) = self.peers.get_mut(&id)
                    && pool.waits(&key)
                {
                    peer.has.insert(key);
                }
            }
            EvidenceGossipInput::Written(id, bytes) => {
                self.note(id, pool, state, out, |peer| peer.unwritten = peer.unwritten.saturating_sub(bytes));
            }
            EvidenceGossipInput::Changed => {
                for (id, peer) in &mut self.peers {
                    peer.has.retain(|key| pool.waits(key) || mutant!("E96"));
                    peer.tell(*id, pool, state, out);
                }
            }
        }
    }

    fn note(
        &mut self,
        id: NodeId,
        pool: &Pool,
        state: &ChainState,
        out: &mut Vec<Telling>,
        change: impl FnOnce(&mut Peer),
    ) {
        if let Some(peer) = self.peers.get_mut(&id) {
            change(peer);
            peer.tell(id, pool, state, out);
        }
    }
}

impl Peer {
    fn tell(&mut self, id: NodeId, pool: &Pool, state: &ChainState, out: &mut Vec<Telling>) {
        let Some(at) = self.at.filter(|_| self.unwritten == 0) else { return };
        let max_age = state.consensus_params.evidence.max_age_num_blocks;
        let (mut evidence, mut bytes) = (Vec::new(), 0);
        for (key, piece) in pool.waiting() {
            // Behind: it would not have the header. Too old for it: it would call us wrong (reactor.go).
            let due = (key.height < at || (mutant!("E27") && key.height == at))
                && (at.get() - key.height.get() <= max_age || mutant!("E28"));
            if !due || self.has.contains(key) {
                continue;
            }
            let more = piece.encoded_len();
            if bytes > 0 && bytes + more > MESSAGE_BYTES_MAX {
                break;
            }
            if more > MESSAGE_BYTES_MAX && !mutant!("E94") {
                continue;
            }
            bytes += more;
            self.has.insert(*key);
            evidence.push(piece.clone());
        }
        if !evidence.is_empty() {
            self.unwritten = if mutant!("E95") { 0 } else { bytes };
            out.push(Telling { peer: id, evidence });
        }
    }
}

#[cfg(test)]
mod tests;
