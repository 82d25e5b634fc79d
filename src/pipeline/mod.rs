//! One block's way through a replica: build → check → decide → execute → store → commit → publish, and what to do
//! about a crash in between.
//!
//! [`Pipeline`] is a machine: told facts ([`PipelineInput`]) it answers with ordered orders ([`PipelineEffect`]). It
//! knows neither consensus nor mempool; `replica` routes between them. Order of durability and the row of
//! `docs/CRASH_WINDOWS.md` for each gap: `apply` and `machine`.
//!
//! Reading order: this file → `requests` → `build` → `execute` → `apply` → `recover` → `recovery` → `machine`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod apply;
pub mod build;
pub mod check;
pub mod execute;
mod machine;
pub mod recover;
mod recovery;
pub mod requests;
#[cfg(test)]
mod tests;

pub use execute::ExecuteError;
pub use machine::Pipeline;
pub use recover::HandshakeError;

use crate::types::abci::{FinalizeBlockResponse, InfoResponse, Request, Response};
use crate::types::{
    Address, AppliedBlock, BlockId, CandidateBlock, ChainState, Evidence, ExtendedCommit, Height, MedianRule, Round,
    Source, Tx, TxLimits, ValidatorSet, Vote,
};
use bytes::Bytes;
use std::sync::Arc;

/// Names one call to the application, so that its answer finds its way back. Never used twice by one [`Pipeline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What to put into a block we propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildJob {
    /// Its height.
    pub height: Height,
    /// The round it is for.
    pub round: Round,
    /// The commit it carries; none at the initial height.
    pub last_commit: Option<ExtendedCommit>,
    /// What the mempool offers within [`build::Budget::reap_bytes`] and `gas`.
    pub txs: Vec<Tx>,
    /// What the evidence pool offers within `evidence.max_bytes`.
    pub evidence: Vec<Evidence>,
    /// Bytes of that evidence, encoded as a list.
    pub evidence_bytes: u64,
}

/// A block of the store with what replaying it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBlock {
    /// The block.
    pub block: Arc<CandidateBlock>,
    /// The set that decided the height before; none at the initial height.
    pub last_validators: Option<Arc<ValidatorSet>>,
    /// The application's answer, if it was saved.
    pub results: Option<Arc<FinalizeBlockResponse>>,
}

/// A fact.
#[derive(Debug)]
pub enum PipelineInput {
    /// All connections to the application are (again) up and it answered [`requests::info`]. The first input, and
    /// the first after every [`PipelineEffect::WaitForApp`] or [`PipelineEffect::Halt`].
    AppConnected {
        /// Its answer.
        info: InfoResponse,
        /// Lowest stored block; 0 when there is none.
        base: Height,
        /// Highest stored block; 0 when there is none.
        tip: Height,
        /// The saved answer for the block at `tip`.
        saved_results: Option<Arc<FinalizeBlockResponse>>,
    },
    /// A connection to the application broke, timed out, or brought something that is no answer. All calls are lost.
    AppFailed {
        /// What happened, naming the method.
        why: String,
    },
    /// The answer to [`PipelineEffect::AppCall`] or [`PipelineEffect::AppCommit`].
    AppAnswered {
        /// Of which call.
        call: CallId,
        /// What it said.
        response: Response,
    },
    /// The answer to [`PipelineEffect::LoadBlock`].
    Loaded {
        /// The height asked for.
        height: Height,
        /// What the store has there.
        stored: Option<Box<StoredBlock>>,
    },
    /// Consensus wants a block to propose. Answered by [`PipelineEffect::BlockBuilt`].
    Build(Box<BuildJob>),
    /// Consensus wants to know whether to vote for a block. Answered by [`PipelineEffect::BlockChecked`].
    Check {
        /// Height being decided.
        height: Height,
        /// Round the block is proposed in.
        round: Round,
        /// The block.
        block: Arc<CandidateBlock>,
        /// Our clock, as far as it has a say.
        clock: check::ClockRule,
        /// What the evidence pool says about the block's evidence.
        evidence: Outcome,
    },
    /// Consensus is about to precommit. Answered by [`PipelineEffect::VoteExtended`].
    ExtendVote {
        /// Height being decided.
        height: Height,
        /// Round of the precommit.
        round: Round,
        /// The block precommitted.
        block: Arc<CandidateBlock>,
    },
    /// Consensus got a precommit with an extension. Answered by [`PipelineEffect::ExtensionVerified`].
    VerifyExtension {
        /// The precommit, its signatures checked.
        vote: Vote,
        /// From whom.
        source: Source,
    },
    /// Consensus decided. Answered by [`PipelineEffect::Applied`].
    Decide {
        /// The block.
        block: Arc<CandidateBlock>,
        /// More than two thirds of the power for it.
        commit: ExtendedCommit,
    },
}

/// An order. Orders run in their order; each is done, and durable where it says so, before the next begins.
#[derive(Debug, PartialEq)]
pub enum PipelineEffect {
    /// Ask the application on the consensus connection. Adjacent calls may share one write.
    AppCall {
        /// Comes back with the answer.
        call: CallId,
        /// The question.
        request: Request,
    },
    /// Send Commit on the consensus connection, with no CheckTx on its way: the mempool is told to hold first
    /// (`MempoolInput::Hold`) and released by [`PipelineEffect::MempoolUpdate`].
    AppCommit {
        /// Comes back with the answer.
        call: CallId,
    },
    /// Store a decided block with its commit. Durable.
    SaveBlock {
        /// The block.
        block: Arc<CandidateBlock>,
        /// The precommits for it.
        commit: ExtendedCommit,
    },
    /// Write "this height is over" into the consensus journal. Durable. Harmless when it stands there already.
    JournalEndHeight(Height),
    /// Store what the application answered. Durable.
    SaveResults {
        /// Of which block.
        height: Height,
        /// The answer.
        results: Arc<FinalizeBlockResponse>,
    },
    /// Store the state after a block; at height 0 the state InitChain made (with the genesis document, if not yet
    /// stored). Atomic.
    SaveState(Arc<ChainState>),
    /// Tell the mempool what a block did, and what the next one allows.
    MempoolUpdate {
        /// The block's height.
        height: Height,
        /// Its transactions with their result codes.
        txs: Vec<(Tx, u32)>,
        /// For the next height.
        limits: TxLimits,
    },
    /// Tell the evidence pool: what the block proved is committed, what is too old expires.
    EvidenceUpdate {
        /// The block.
        block: Arc<CandidateBlock>,
        /// The state after it.
        state: Arc<ChainState>,
    },
    /// Tell subscribers.
    Publish(Arc<AppliedBlock>),
    /// Index for searches. Idempotent.
    Index(Arc<AppliedBlock>),
    /// Remove blocks below `retain`.
    Prune {
        /// Lowest height to keep.
        retain: Height,
        /// The state now, for the age limits of evidence.
        state: Arc<ChainState>,
    },
    /// Read a stored block. Answered by [`PipelineInput::Loaded`].
    LoadBlock(Height),
    /// To consensus: the block it ordered.
    BlockBuilt {
        /// Height of the order.
        height: Height,
        /// Round of the order.
        round: Round,
        /// The block.
        block: Arc<CandidateBlock>,
    },
    /// To consensus: what checking found.
    BlockChecked {
        /// Height of the order.
        height: Height,
        /// Round of the order.
        round: Round,
        /// The block.
        block_id: BlockId,
        /// The outcome.
        verdict: Outcome,
    },
    /// To consensus: what our precommit shall carry.
    VoteExtended {
        /// Height of the order.
        height: Height,
        /// Round of the order.
        round: Round,
        /// The extension.
        extension: Bytes,
    },
    /// To consensus: what the application says about a peer's extension.
    ExtensionVerified {
        /// The vote asked about.
        vote: Vote,
        /// From whom it came.
        source: Source,
        /// Yes or no.
        verdict: Outcome,
    },
    /// To consensus: the decided block is applied; begin the next height.
    Applied {
        /// The state after it.
        state: Arc<ChainState>,
        /// The block.
        block: Arc<CandidateBlock>,
        /// The precommits that decided it.
        commit: ExtendedCommit,
    },
    /// The handshake is over: application, state and store agree. Consensus may start from this state, or goes on
    /// where it waited; a decision the handshake applied is told by [`PipelineEffect::Applied`] just before.
    Ready(Arc<ChainState>),
    /// Calls to the application are impossible: connect all connections anew, then say
    /// [`PipelineInput::AppConnected`]. Nothing is lost; orders not yet answered are asked again.
    WaitForApp {
        /// Why.
        why: String,
    },
    /// Nothing more can be decided until people act. Queries go on. A restarted application is welcome:
    /// [`PipelineInput::AppConnected`].
    Halt(PipelineError),
    /// For the log. Changes nothing.
    Note(PipelineNote),
}

/// A yes or a no with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Accept,
    /// No, because.
    Reject(String),
}

/// Something people may want to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PipelineNote {
    /// PrepareProposal gave more than fits: we propose the first of it.
    #[error(
        "the application prepared {bytes} bytes of transactions for height {height}, {max} fit: proposing only the first \
         {kept} of {prepared} transactions. Make PrepareProposal respect max_tx_bytes"
    )]
    OverBudget {
        /// Height of the block.
        height: Height,
        /// Bytes prepared, counted as they stand in a block.
        bytes: u64,
        /// Most that fit.
        max: u64,
        /// Transactions kept.
        kept: usize,
        /// Transactions prepared.
        prepared: usize,
    },
    /// A block could not be built: this round goes by without our proposal.
    #[error("no proposal for height {height}: {why}")]
    NotBuilt {
        /// Height of the block.
        height: Height,
        /// Why.
        why: String,
    },
    /// A proposed block was refused.
    #[error("refused proposed block {block_id:?} at height {height}: {why}")]
    Refused {
        /// Height of the block.
        height: Height,
        /// The block.
        block_id: BlockId,
        /// Why.
        why: String,
    },
    /// A precommit does not count, because the application refuses its extension. Our own extension is not shown to our
    /// own application, as in CometBFT: one that refuses what it made itself stops the chain, and this is the only sign.
    #[error(
        "the application refuses the extension of {validator}'s vote for height {height}: the vote does not count. If \
         many are refused, compare ExtendVote with VerifyVoteExtension: it may refuse what it makes itself"
    )]
    ExtensionRefused {
        /// Height of the vote.
        height: Height,
        /// Whose.
        validator: Address,
    },
    /// Commit asked to remove blocks that do not exist yet.
    #[error("the application's retain_height {asked} is above the last block {height}: nothing is removed")]
    RetainTooHigh {
        /// What it asked for.
        asked: i64,
        /// The last block.
        height: Height,
    },
    /// Too many questions wait for the application.
    #[error("{waiting} questions wait for the application: the oldest, about height {height}, was dropped")]
    Overloaded {
        /// What the dropped one was about.
        height: Height,
        /// How many wait.
        waiting: usize,
    },
    /// The handshake replays blocks.
    #[error("replaying blocks {first} to {last} to the application")]
    Replaying {
        /// First height.
        first: Height,
        /// Last height.
        last: Height,
    },
}

/// Why the pipeline stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// The application's answer to FinalizeBlock cannot be applied.
    #[error(
        "{0}. Consensus stops here, on every replica that runs this application. Fix the application and restart it: \
         this node reconnects and tries again"
    )]
    Execute(#[from] ExecuteError),
    /// Application, state and store do not fit together.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    /// An answer that is none.
    #[error(
        "the application's answer to {method} at height {height} cannot be used: {why}. Fix the application and restart \
         it: this node reconnects and tries again"
    )]
    Answer {
        /// The method.
        method: &'static str,
        /// The height.
        height: Height,
        /// What is wrong with it.
        why: String,
    },
    /// More than two thirds decided a block that breaks the rules.
    #[error(
        "more than two thirds decided block {block_id:?} at height {height}, which is invalid here: {why}. Compare this \
         node's version, genesis and application with the others'; nothing was stored"
    )]
    DecidedInvalid {
        /// Its height.
        height: Height,
        /// The block.
        block_id: BlockId,
        /// The rule it breaks.
        why: String,
    },
}

impl PipelineError {
    /// True when every replica with the same application meets the same error; false when only this one does.
    pub fn is_deterministic(&self) -> bool {
        match self {
            PipelineError::Execute(_) => true,
            PipelineError::Answer { .. } | PipelineError::Handshake(_) | PipelineError::DecidedInvalid { .. } => false,
        }
    }
}

/// What a decided block is checked for: everything but what only voters ask. More than two thirds vouch for its
/// evidence, and a slow clock of ours does not make it invalid (reference §14.3).
fn decided(median: MedianRule) -> check::BlockCheck<'static> {
    check::BlockCheck {
        clock: check::ClockRule::Ignored,
        last_commit: check::LastCommitRule::Verify,
        median,
        evidence: &|_| Ok(()),
    }
}
