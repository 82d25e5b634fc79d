//! Whether a block may follow a state (reference §4.10). So far only the header is held against the state; the rest of
//! the rules comes with commit and evidence verification.

use crate::types::{Block, ChainState, Evidence, MedianRule, Time};
use std::time::Duration;

/// What a check needs beside the state and the block.
#[allow(missing_debug_implementations, reason = "holds a closure")]
pub struct BlockCheck<'a> {
    /// How far ahead of our clock a block may be.
    pub clock: ClockRule,
    /// Whether the signatures in the block's last commit must still be verified.
    pub last_commit: LastCommitRule,
    /// How block time is computed on this chain.
    pub median: MedianRule,
    /// The evidence pool's verdict on the block's evidence; asked last, and only when there is any.
    pub evidence: &'a dyn Fn(&[Evidence]) -> Result<(), String>,
}

/// Our clock's say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockRule {
    /// Ours does not matter.
    Ignored,
    /// The block must be earlier than `now + tolerance`.
    Ahead {
        /// Our time.
        now: Time,
        /// How far clocks may differ.
        tolerance: Duration,
    },
}

/// Whether the last commit's signatures are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastCommitRule {
    /// They are.
    Verify,
}

/// Why a block cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrong Block.Header.{0}")]
pub struct InvalidBlock(&'static str);

/// Whether `block` may follow `state`.
pub fn validate_block(state: &ChainState, block: &Block, check: BlockCheck<'_>) -> Result<(), InvalidBlock> {
    let header = &block.header;
    let rules = [
        ("Version", header.version == state.version),
        ("ChainID", header.chain_id == state.chain_id),
        ("Height", header.height == state.next_height()),
        ("LastBlockID", header.last_block_id == state.last_block_id),
        ("AppHash", header.app_hash == state.app_hash),
        ("ConsensusHash", header.consensus_hash == state.consensus_params.hash()),
        ("LastResultsHash", header.last_results_hash == state.last_results_hash),
        ("ValidatorsHash", header.validators_hash == state.validators.hash()),
        ("NextValidatorsHash", header.next_validators_hash == state.next_validators.hash()),
        ("DataHash", header.data_hash == block.data_hash()),
        ("EvidenceHash", header.evidence_hash == block.evidence_hash()),
        ("LastCommitHash", header.last_commit_hash == block.last_commit_hash()),
    ];
    if let Some((field, _)) = rules.into_iter().find(|(_, holds)| !holds) {
        return Err(InvalidBlock(field));
    }
    if (check.evidence)(&block.evidence).is_err() { Err(InvalidBlock("EvidenceHash")) } else { Ok(()) }
}
