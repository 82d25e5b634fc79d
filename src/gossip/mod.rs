//! Who has what, and what to send to whom: the bookkeeping behind the consensus channels 0x20 to 0x23
//! (reference §5.6). Transactions and evidence are gossiped by their own pools' `gossip`.
//!
//! A machine: told facts it answers with ordered orders. Nothing is polled: whatever changes, each peer is given at
//! once all it lacks, as far as its account allows (what was sent to it and is not written to its socket yet is
//! bounded), and the rest when more room is reported.
//!
//! What upstream sleeps over is `consensus/reactor.go` of CometBFT v0.38.25; its function names stand at what answers to
//! them here.
//!
//! Raft and PBFT speak for themselves; what their replicas hear is checked here too (`direct`).
//!
//! Reading order: this file → `check` → `hear` → `direct` → `had` → `peer` → `account` → `plan` → `give` → `decided` → `majority` →
//! `consensus`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]
// A number from outside that is cut is another number (bug class 157). Tests count what they made.
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]

mod account;
mod check;
mod consensus;
mod decided;
mod direct;
mod give;
mod had;
mod hear;
mod majority;
mod peer;
mod plan;
#[cfg(test)]
mod tests;

pub use account::{DATA_BYTES_MAX, VOTE_BYTES_MAX, VOTE_SET_BITS_BYTES_MAX};
pub use consensus::{ConsensusGossip, USEFUL_TO_BE_GOOD};
pub use decided::{DECIDED_BLOCKS_MAX, LOADS_MAX};
pub use direct::{DirectSigners, HeardDirect, hear_direct, signatures_in};
pub use hear::{Heard, Signers, hear};
pub use majority::REPEAT_AFTER;

use crate::consensus::RoundNote;
use crate::types::{CandidateBlock, Channel, ConsensusMessage, ExtendedCommit, Height, NodeId};
use std::sync::Arc;

/// A fact for [`ConsensusGossip`].
#[derive(Debug)]
pub enum GossipInput {
    /// A peer is there.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer said this, so it has it, or stands there. Also what consensus ignored.
    Heard {
        /// Who.
        peer: NodeId,
        /// What.
        message: ConsensusMessage,
    },
    /// A peer's vote or part was of use to consensus.
    Useful {
        /// Whose.
        peer: NodeId,
        /// Which.
        what: Useful,
    },
    /// Consensus took a step and said this about it; also after the first, when it began.
    Advanced(Vec<RoundNote>),
    /// Consensus stopped, as when blocks are fetched in bulk: nothing is said until the next `Advanced`.
    Paused,
    /// This many bytes given to a peer on a channel have been written.
    Written {
        /// Whose.
        peer: NodeId,
        /// Which channel.
        channel: Channel,
        /// How many, of whole messages.
        bytes: u64,
    },
    /// The answer to [`GossipEffect::LoadDecided`].
    DecidedLoaded {
        /// Which.
        height: Height,
        /// The block and its commit; none when the store has none.
        decided: Option<Decided>,
    },
    /// The time given by [`GossipEffect::WakeAt`] has come.
    Woken,
}

/// What was useful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Useful {
    /// A vote.
    Vote,
    /// A block part.
    Part,
}

/// A decided block for a peer that lags behind.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The block.
    pub block: Arc<CandidateBlock>,
    /// Its precommits, with extensions where they are enabled.
    pub commit: Arc<ExtendedCommit>,
}

/// An order.
#[derive(Debug)]
pub enum GossipEffect {
    /// Say to one peer.
    Send(NodeId, ConsensusMessage),
    /// Say to these peers, at least two. Encode it once.
    SendAll(Vec<NodeId>, ConsensusMessage),
    /// Say to all peers. Encode it once.
    Broadcast(ConsensusMessage),
    /// Read a decided block; answered by [`GossipInput::DecidedLoaded`].
    LoadDecided(Height),
    /// Wake me then; a later order replaces it.
    WakeAt(crate::consensus::Tick),
    /// Only a faulty peer does this.
    Drop(NodeId, String),
    /// A peer was of use often enough to be remembered as good (reference §5.6).
    Good(NodeId),
}
