//! Building a block to propose: how much fits, what the application is offered, and the block made of its answer
//! (reference §3.8, §4.7, §4.9).

use super::requests::{extended_commit_info, header_facts, tx_bytes};
use super::{BuildJob, PipelineNote};
use crate::crypto::Hash;
use crate::types::abci::{ExtendedCommitInfo, PrepareProposalRequest};
use crate::types::{
    Address, Block, ChainState, CommitSig, Header, Height, MedianError, MedianRule, Time, Tx, TxLimits, ValidatorSet,
};
use bytes::Bytes;

/// Bytes of a block's own field tags and lengths: MaxOverheadForBlock.
pub const BLOCK_OVERHEAD_BYTES: u64 = 11;
/// Longest encoded header: MaxHeaderBytes.
pub const HEADER_BYTES_MAX: u64 = 626;
/// Longest encoded commit without signatures: MaxCommitOverheadBytes.
pub const COMMIT_OVERHEAD_BYTES: u64 = 94;
/// Longest encoded commit signature, with its tag and length: MaxCommitSigBytes (109) + 2. v0.38's number.
pub const COMMIT_SIG_BYTES_MAX: u64 = 111;

/// Longest encoded commit of that many validators: MaxCommitBytes.
pub fn commit_bytes_max(validators: usize) -> u64 {
    COMMIT_OVERHEAD_BYTES + COMMIT_SIG_BYTES_MAX * (validators as u64 - u64::from(mutant!("H39")))
}

/// What is left for transactions in a block of `block_bytes`: MaxDataBytes.
///
/// Zero when nothing is left, where CometBFT panics: such a chain makes empty blocks and says so.
pub fn data_bytes_max(block_bytes: u64, evidence_bytes: u64, validators: usize) -> u64 {
    let reserved = BLOCK_OVERHEAD_BYTES + HEADER_BYTES_MAX + commit_bytes_max(validators) + evidence_bytes;
    block_bytes.saturating_sub(reserved)
}

/// What the next block allows one transaction: TxPreCheck and TxPostCheck.
pub fn tx_limits(state: &ChainState) -> TxLimits {
    let block = &state.consensus_params.block;
    TxLimits {
        bytes_max: data_bytes_max(block.bytes_limit(), 0, state.validators.len()),
        gas_max: block.max_gas.filter(|_| !mutant!("H94")),
    }
}

/// How much may go into the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most bytes of transactions, counted as they stand in a block: PrepareProposal's `max_tx_bytes`.
    pub tx_bytes: u64,
    /// Most bytes to take from the mempool; none when the parameters leave the block's size open.
    pub reap_bytes: Option<u64>,
    /// Most gas to take from the mempool.
    pub gas: Option<u64>,
}

/// The budget of the next block beside `evidence_bytes` of evidence.
pub fn budget(state: &ChainState, evidence_bytes: u64) -> Budget {
    let block = &state.consensus_params.block;
    // CometBFT counts the validators of this height. The commit inside is made by those of the height before: where
    // the set just shrank, counting only the new ones would let the block grow beyond max_bytes.
    let signers = state.last_validators.as_ref().map_or(0, |set| set.len()).max(if mutant!("H40") {
        0
    } else {
        state.validators.len()
    });
    let tx_bytes = data_bytes_max(block.bytes_limit(), evidence_bytes, signers);
    Budget { tx_bytes, reap_bytes: block.max_bytes.map(|_| tx_bytes), gas: block.max_gas }
}

/// A commit that does not belong to the set that should have made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitMismatch {
    /// One entry for each validator is the rule.
    #[error("the commit of height {height} has {got} entries for {expected} validators")]
    Size {
        /// The commit's height.
        height: Height,
        /// Entries.
        got: usize,
        /// Validators.
        expected: usize,
    },
    /// An entry stands where another validator belongs (bug class 001).
    #[error("the commit of height {height} names {got} at position {position}, where {expected} belongs")]
    Address {
        /// The commit's height.
        height: Height,
        /// Position in the set.
        position: usize,
        /// Who signed.
        got: Address,
        /// Who belongs there.
        expected: Address,
    },
    /// A precommit without its extension.
    #[error("the precommit of {address} at height {height} has no vote extension")]
    MissingExtension {
        /// The commit's height.
        height: Height,
        /// Whose.
        address: Address,
    },
}

impl CommitMismatch {
    /// A commit where there is no set that could have made it.
    pub(super) fn unexpected(height: Height) -> CommitMismatch {
        CommitMismatch::Size { height, got: 1, expected: 0 }
    }

    /// One entry for each member, each in its place.
    pub(super) fn check<'a>(
        height: Height,
        sigs: impl ExactSizeIterator<Item = &'a CommitSig>,
        set: &ValidatorSet,
    ) -> Result<(), CommitMismatch> {
        if sigs.len() != set.len() && !mutant!("H41") {
            return Err(CommitMismatch::Size { height, got: sigs.len(), expected: set.len() });
        }
        for (position, (sig, member)) in sigs.zip(set.members()).enumerate() {
            if let Some(part) = sig.signed()
                && part.validator_address != member.address
            {
                let (got, expected) = (part.validator_address, member.address);
                return Err(CommitMismatch::Address { height, position, got, expected });
            }
        }
        Ok(())
    }
}

/// Why no block can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Only the initial height has no last commit, and every other has one.
    #[error("height {height} was ordered {given} a last commit; the chain begins at {initial}")]
    LastCommit {
        /// The height.
        height: Height,
        /// `with` or `without`.
        given: &'static str,
        /// The initial height.
        initial: Height,
    },
    /// The last commit does not fit the last validators.
    #[error(transparent)]
    Mismatch(#[from] CommitMismatch),
    /// The last commit has no median time.
    #[error(transparent)]
    Median(#[from] MedianError),
}

/// A block without its transactions: everything the application cannot change.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    block: Block,
    last_commit_info: ExtendedCommitInfo,
    tx_bytes_max: u64,
}

impl Draft {
    /// Fixes time, header and evidence of the next block: MakeBlock.
    pub fn new(
        state: &ChainState,
        job: &BuildJob,
        proposer_address: Address,
        rule: MedianRule,
    ) -> Result<Draft, BuildError> {
        let last_commit = job.last_commit.as_ref().map(|commit| commit.to_commit());
        let (time, last_commit_info) = match (&job.last_commit, &last_commit, &state.last_validators) {
            (None, _, None) => (state.last_block_time, ExtendedCommitInfo::default()), // genesis time, §4.9
            (Some(extended), Some(commit), Some(set)) => {
                let info = extended_commit_info(extended, set, &state.consensus_params)?;
                (commit.median_time(set, rule)?, info)
            }
            (given, ..) => {
                let given = if given.is_some() { "with" } else { "without" };
                return Err(BuildError::LastCommit { height: job.height, given, initial: state.initial_height });
            }
        };
        let header = header(state, job.height, time, proposer_address);
        let mut block = Block { header, txs: Vec::new(), evidence: job.evidence.clone(), last_commit };
        block.header.last_commit_hash = block.last_commit_hash();
        if !mutant!("H100") {
            block.header.evidence_hash = block.evidence_hash();
        }
        Ok(Draft { block, last_commit_info, tx_bytes_max: budget(state, job.evidence_bytes).tx_bytes })
    }

    /// What the application is asked.
    pub fn request(&self, offered: &[Tx]) -> PrepareProposalRequest {
        PrepareProposalRequest {
            max_tx_bytes: self.tx_bytes_max,
            txs: offered.iter().map(|tx| tx.bytes().clone()).collect(),
            local_last_commit: self.last_commit_info.clone(),
            block: header_facts(&self.block.header, &self.block.evidence),
        }
    }

    /// The block with the application's transactions. Where they are too many, only the first of them: CometBFT would
    /// halt here, but a smaller block is as legal as any (reference §14.3).
    pub fn finish(mut self, prepared: Vec<Bytes>, offered: &[Tx]) -> (Block, Option<PipelineNote>) {
        let mut txs = reuse_hashes(prepared, offered);
        let (bytes, prepared) = (tx_bytes(&txs), txs.len());
        let mut note = None;
        if bytes > self.tx_bytes_max || (mutant!("H95") && bytes == self.tx_bytes_max) {
            let mut left = self.tx_bytes_max;
            let kept = txs.iter().take_while(|tx| take(&mut left, tx.encoded_len())).count();
            txs.truncate(kept);
            let height = self.block.header.height;
            note = Some(PipelineNote::OverBudget { height, bytes, max: self.tx_bytes_max, kept, prepared });
        }
        self.block.txs = txs;
        self.block.header.data_hash = self.block.data_hash();
        (self.block, note)
    }
}

/// Takes `bytes` out of `left` if they are there.
fn take(left: &mut u64, bytes: u64) -> bool {
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

/// Most applications give back what they were offered, in order: those transactions keep the hash they came with.
fn reuse_hashes(prepared: Vec<Bytes>, offered: &[Tx]) -> Vec<Tx> {
    let mut offered = offered.iter().peekable();
    let mut known = |bytes: &Bytes| {
        offered.next_if(|tx| tx.bytes() == bytes || (mutant!("H93") && tx.bytes().len() == bytes.len())).cloned()
    };
    prepared.into_iter().map(|bytes| known(&bytes).unwrap_or_else(|| Tx::new(bytes))).collect()
}

/// Header.Populate; the hashes of content are filled in when the content is there.
fn header(state: &ChainState, height: Height, time: Time, proposer_address: Address) -> Header {
    Header {
        version: state.version,
        chain_id: state.chain_id.clone(),
        height,
        time,
        last_block_id: state.last_block_id,
        last_commit_hash: Hash::EMPTY,
        data_hash: Hash::EMPTY,
        validators_hash: state.validators.hash(),
        next_validators_hash: state.next_validators.hash(),
        consensus_hash: state.consensus_params.hash(),
        app_hash: state.app_hash.clone(),
        last_results_hash: state.last_results_hash,
        evidence_hash: Hash::EMPTY,
        proposer_address,
    }
}
