//! The state of the chain after a height: everything the next height depends on.

use super::{Algorithm, BlockId, ChainId, ConsensusParams, Height, Time, ValidatorSet, Version};
use crate::crypto::Hash;
use bytes::Bytes;
use std::sync::Arc;

/// What is known after applying block `last_block_height`; the same on every honest replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Block protocol and the application's version.
    pub version: Version,
    /// The chain.
    pub chain_id: ChainId,
    /// Height of the chain's first block.
    pub initial_height: Height,
    /// The last block applied; 0 before the first.
    pub last_block_height: Height,
    /// Its name; none before the first.
    pub last_block_id: Option<BlockId>,
    /// Its time; the genesis time before the first.
    pub last_block_time: Time,
    /// Decides height `last_block_height + 2`.
    pub next_validators: Arc<ValidatorSet>,
    /// Decides the next height.
    pub validators: Arc<ValidatorSet>,
    /// Decided the last height; none before the first block.
    pub last_validators: Option<Arc<ValidatorSet>>,
    /// The height from which `next_validators` differ from the set before them.
    pub last_height_validators_changed: Height,
    /// In force for the next height.
    pub consensus_params: Arc<ConsensusParams>,
    /// The height from which these parameters hold.
    pub last_height_consensus_params_changed: Height,
    /// Root over the results of the last block.
    pub last_results_hash: Hash,
    /// What the application returned for the last block.
    pub app_hash: Bytes,
    /// The protocol that decides the next height.
    pub algorithm: Algorithm,
}

impl ChainState {
    /// The height to decide now.
    pub fn next_height(&self) -> Height {
        if self.last_block_height == Height::ZERO { self.initial_height } else { self.last_block_height.next() }
    }
}
