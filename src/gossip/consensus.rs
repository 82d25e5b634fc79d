//! The consensus channels.

use super::{GossipEffect, GossipInput};
use crate::consensus::Now;
use crate::consensus::tendermint::Tendermint;
use crate::types::PeerRoundState;

/// Bookkeeping of the consensus channels.
#[derive(Debug, Default)]
pub struct ConsensusGossip {}

impl ConsensusGossip {
    /// Nobody is there yet.
    pub fn new() -> ConsensusGossip {
        ConsensusGossip::default()
    }

    /// Takes one fact into account. `machine` is read, never changed; none before consensus begins.
    pub fn step(
        &mut self,
        _now: Now,
        _input: GossipInput,
        _machine: Option<&Tendermint>,
        _out: &mut Vec<GossipEffect>,
    ) {
    }

    /// What is known of each peer.
    pub fn peer_states(&self) -> Vec<PeerRoundState> {
        Vec::new()
    }
}
