//! Block validation: may this block follow that state? (reference §4.10, in its order; CometBFT's state/validation.go)

use crate::types::{
    Address, BasicError, Block, BlockId, ChainState, Commit, CommitError, Evidence, MedianError, MedianRule, Time,
    ValidatorSet,
};
use std::fmt;
use std::time::Duration;

/// What a check needs beside the state and the block.
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

impl fmt::Debug for BlockCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BlockCheck { clock, last_commit, median, evidence: _ } = self;
        write!(f, "BlockCheck {{ {clock:?}, {last_commit:?}, {median:?} }}")
    }
}

/// Our clock's say. It has one only when we are asked to vote: a block that was decided is valid even if our own
/// clock is slow, so replay and sync ask without it (reference §14.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockRule {
    /// Ours does not matter.
    Ignored,
    /// The block must be earlier than `now + tolerance`.
    Ahead {
        /// Our time.
        now: Time,
        /// How far clocks may differ (`block_time_tolerance`).
        tolerance: Duration,
    },
}

/// Whether the last commit's signatures are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastCommitRule {
    /// All of them.
    Verify,
    /// The caller verified this very commit against the same set (block sync does).
    VerifiedBefore,
}

/// Why a block cannot follow. Texts are CometBFT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// Inconsistent in itself.
    #[error("{0}")]
    Basic(#[from] BasicError),
    /// A header field says something else than our state.
    #[error("wrong Block.Header.{field}. Expected {expected}, got {got}")]
    Field {
        /// Which.
        field: &'static str,
        /// By our state.
        expected: String,
        /// In the header.
        got: String,
    },
    /// There is nothing to sign before the first block.
    #[error("initial block can't have LastCommit signatures")]
    InitialCommit,
    /// The last commit does not prove the last block.
    #[error("{0}")]
    LastCommit(#[from] CommitError),
    /// Proposed by a stranger.
    #[error("block.Header.ProposerAddress {0} is not a validator")]
    Proposer(Address),
    /// Ahead of our clock.
    #[error("block time {time} is too far in the future (wall clock {now} + tolerance {tolerance:?})")]
    FromTheFuture {
        /// The block's.
        time: Time,
        /// Ours.
        now: Time,
        /// What we allow.
        tolerance: Duration,
    },
    /// Time must grow.
    #[error("block time {time} not greater than last block time {last}")]
    NotLater {
        /// The block's.
        time: Time,
        /// Of the block before.
        last: Time,
    },
    /// The last commit has no median time.
    #[error("error validating block while calculating median time: {0}")]
    NoMedian(#[from] MedianError),
    /// Time is not the median of the last commit.
    #[error("invalid block time. Expected {expected}, got {got}")]
    NotTheMedian {
        /// The median.
        expected: Time,
        /// The block's.
        got: Time,
    },
    /// The first block has genesis time.
    #[error("block time {time} is not equal to genesis time {genesis}")]
    NotGenesisTime {
        /// The block's.
        time: Time,
        /// Genesis'.
        genesis: Time,
    },
    /// More evidence than a block may carry.
    #[error("Too much evidence: Max {max}, got {got}")]
    TooMuchEvidence {
        /// Bytes allowed.
        max: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The evidence pool refuses it.
    #[error("{0}")]
    Evidence(String),
}

/// Whether `block` may follow `state`.
pub fn validate_block(state: &ChainState, block: &Block, check: BlockCheck<'_>) -> Result<(), InvalidBlock> {
    block.validate_basic()?;
    check_against_state(state, block)?;
    let signed_by = check_last_commit(state, block, check.last_commit)?;
    // Not "the proposer of its round": the round in which it was first proposed is not known here. The signature of the
    // proposal shows that.
    if state.validators.by_address(&block.header.proposer_address).is_none() && !mutant!("H14") {
        return Err(InvalidBlock::Proposer(block.header.proposer_address));
    }
    check_clock(block.header.time, check.clock)?;
    check_time(state, block, signed_by, check.median)?;
    let (max, got) = (state.consensus_params.evidence.max_bytes, evidence_bytes(&block.evidence));
    if got > max && !mutant!("H15") {
        return Err(InvalidBlock::TooMuchEvidence { max, got });
    }
    if block.evidence.is_empty() || mutant!("H16") {
        Ok(())
    } else {
        (check.evidence)(&block.evidence).map_err(InvalidBlock::Evidence)
    }
}

/// Bytes a list of evidence takes in a block, as `evidence.max_bytes` counts them.
pub fn evidence_bytes(list: &[Evidence]) -> u64 {
    list.iter().map(Evidence::encoded_len).sum()
}

fn check_against_state(state: &ChainState, block: &Block) -> Result<(), InvalidBlock> {
    let header = &block.header;
    same("Version", &state.version, &header.version, |v| format!("block {} app {}", v.block, v.app))?;
    same("ChainID", &state.chain_id, &header.chain_id, ToString::to_string)?;
    same("Height", &state.next_height(), &header.height, ToString::to_string)?;
    same("LastBlockID", &state.last_block_id, &header.last_block_id, |id| name(id.as_ref()))?;
    same("AppHash", &state.app_hash, if mutant!("H8") { &state.app_hash } else { &header.app_hash }, |hash| {
        hex::encode_upper(hash)
    })?;
    same("ConsensusHash", &state.consensus_params.hash(), &header.consensus_hash, ToString::to_string)?;
    same("LastResultsHash", &state.last_results_hash, &header.last_results_hash, ToString::to_string)?;
    same("ValidatorsHash", &state.validators.hash(), &header.validators_hash, ToString::to_string)?;
    if mutant!("H21") {
        return Ok(());
    }
    same("NextValidatorsHash", &state.next_validators.hash(), &header.next_validators_hash, ToString::to_string)
}

fn same<T: PartialEq>(
    field: &'static str,
    expected: &T,
    got: &T,
    show: impl Fn(&T) -> String,
) -> Result<(), InvalidBlock> {
    if expected == got { Ok(()) } else { Err(InvalidBlock::Field { field, expected: show(expected), got: show(got) }) }
}

fn name(id: Option<&BlockId>) -> String {
    id.map_or("(none)".to_owned(), |id| format!("{}:{}:{}", id.hash, id.parts.total, id.parts.hash))
}

/// The last commit with the set that made it; none in the first block.
type SignedBy<'a> = Option<(&'a Commit, &'a ValidatorSet)>;

fn check_last_commit<'a>(
    state: &'a ChainState,
    block: &'a Block,
    rule: LastCommitRule,
) -> Result<SignedBy<'a>, InvalidBlock> {
    let height = block.header.height;
    if height == state.initial_height {
        let signatures = block.last_commit.as_ref().map_or(0, |commit| commit.signatures.len());
        return if signatures == 0 || mutant!("H19") { Ok(None) } else { Err(InvalidBlock::InitialCommit) };
    }
    let validators = state.last_validators.as_ref().expect("after the first block there is the set that decided it");
    let last_block_id = state.last_block_id.as_ref().expect("after the first block there is a last block");
    let Some(commit) = &block.last_commit else {
        return Err(CommitError::WrongSetSize { expected: validators.len(), got: 0 }.into());
    };
    if rule == LastCommitRule::Verify && !mutant!("H7") {
        validators.verify_commit(
            &state.chain_id,
            last_block_id,
            if mutant!("H22") { commit.height } else { state.last_block_height },
            commit,
            state.algorithm.quorum(),
        )?;
    }
    Ok(Some((commit, validators)))
}

fn check_clock(time: Time, clock: ClockRule) -> Result<(), InvalidBlock> {
    match clock {
        ClockRule::Ahead { now, tolerance } if time >= now.plus(tolerance) && !mutant!("H17") => {
            Err(InvalidBlock::FromTheFuture { time, now, tolerance })
        }
        ClockRule::Ahead { .. } | ClockRule::Ignored => Ok(()),
    }
}

fn check_time(
    state: &ChainState,
    block: &Block,
    signed_by: SignedBy<'_>,
    rule: MedianRule,
) -> Result<(), InvalidBlock> {
    let time = block.header.time;
    let Some((commit, validators)) = signed_by else {
        let genesis = state.last_block_time;
        return if time == genesis || mutant!("H20") {
            Ok(())
        } else {
            Err(InvalidBlock::NotGenesisTime { time, genesis })
        };
    };
    if time < state.last_block_time || (time == state.last_block_time && !mutant!("H18")) {
        return Err(InvalidBlock::NotLater { time, last: state.last_block_time });
    }
    let expected = commit.median_time(validators, rule)?;
    if time == expected || mutant!("H9") { Ok(()) } else { Err(InvalidBlock::NotTheMedian { expected, got: time }) }
}

#[cfg(test)]
mod tests;
