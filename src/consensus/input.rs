//! What a protocol is told.

use super::Tick;
use crate::types::{
    Address, BlockId, CandidateBlock, ChainId, ConsensusParams, ExtendedCommit, Height, NodeId, Proposal, Round,
    Source, Statement, Time, TimerId, ValidatorSet, Vote,
};
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Everything a protocol needs to know to begin a height.
#[derive(Debug, Clone)]
pub struct Start {
    /// The chain every signature is bound to.
    pub chain_id: ChainId,
    /// The height to decide.
    pub height: Height,
    /// The first height of the chain.
    pub initial_height: Height,
    /// Who decides it.
    pub validators: Arc<ValidatorSet>,
    /// Who decides the next one.
    pub next_validators: Arc<ValidatorSet>,
    /// Who decided the height before, whose late precommits are still welcome; none at the initial height.
    pub last_validators: Option<Arc<ValidatorSet>>,
    /// The commit of the height before; none at the initial height.
    pub last_commit: Option<ExtendedCommit>,
    /// The block of the height before, for a protocol that hands it on itself: a peer exactly one block behind cannot
    /// fetch it by block sync, because what proves it is in the next one. None at the initial height.
    pub last_block: Option<Arc<CandidateBlock>>,
    /// Time of the last block (genesis time before the first).
    pub last_block_time: Time,
    /// Parameters in force.
    pub params: Arc<ConsensusParams>,
    /// Our own validator address, if this node signs. It need not be in the set.
    pub own: Option<Address>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When round 0 may begin: the commit time of the last height plus `timeouts.commit`.
    pub begin_at: Tick,
    /// True when a block must be made even if there is no transaction: the first height, or the application's hash
    /// changed and only a new block can record it (reference §6.4).
    pub proof_block_needed: bool,
    /// Transactions wait in the mempool already.
    pub txs_available: bool,
}

/// How long to wait for what, and when to make blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a proposal in round 0.
    pub propose: Duration,
    /// More in each later round.
    pub propose_delta: Duration,
    /// For prevotes once two thirds voted, in round 0.
    pub prevote: Duration,
    /// More in each later round.
    pub prevote_delta: Duration,
    /// For precommits once two thirds voted, in round 0.
    pub precommit: Duration,
    /// More in each later round.
    pub precommit_delta: Duration,
    /// Between a decision and the next round 0, so that late precommits get into the commit.
    pub commit: Duration,
    /// Begin the next height at once when all precommits are in.
    pub skip_commit_when_all_voted: bool,
    /// When to make a block without transactions.
    pub empty_blocks: EmptyBlocks,
    /// Raft: a follower that hears nothing of a leader for one to two times this long stands for election.
    pub election: Duration,
    /// Raft: how often a leader that has nothing else to say is heard. PBFT: how often replicas say where they stand.
    pub heartbeat: Duration,
    /// PBFT: how long a primary may take to decide what waits, before its view is left; doubles with every view that
    /// decides nothing.
    pub view_change: Duration,
}

/// When to make a block without transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyBlocks {
    /// Always, as fast as the timeouts allow.
    Always,
    /// Only when nothing came for this long: a heartbeat.
    After(Duration),
    /// Never, but for proof blocks.
    Never,
}

/// What checking a proposed block found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockVerdict {
    /// Valid, and the application accepts it.
    Accept,
    /// Invalid, or the application rejects it.
    Reject(String),
}

/// What the signer gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// Our vote.
    Vote(Vote),
    /// Our proposal.
    Proposal(Proposal),
    /// Our statement.
    Statement(Box<Statement>),
    /// It refused a vote or a proposal, which would contradict one it signed before: go on without this signature. A
    /// statement is never refused.
    Refused {
        /// Height of the vote or the proposal.
        height: Height,
        /// Its round.
        round: Round,
    },
}

/// A fact.
#[derive(Debug)]
pub enum Input<M> {
    /// A message, its signatures checked.
    Received {
        /// From whom.
        source: Source,
        /// What.
        message: M,
    },
    /// A timer set by [`super::Effect::SetTimer`] is due.
    TimerFired(TimerId),
    /// The block ordered by [`super::Effect::BuildBlock`].
    BlockBuilt {
        /// Height of the order.
        height: Height,
        /// Round of the order.
        round: Round,
        /// The block.
        block: Arc<CandidateBlock>,
    },
    /// The answer to [`super::Effect::CheckBlock`].
    BlockChecked {
        /// Height of the order.
        height: Height,
        /// Round of the order.
        round: Round,
        /// The block.
        block_id: BlockId,
        /// What was found.
        verdict: BlockVerdict,
    },
    /// The answer to [`super::Effect::ExtendVote`].
    VoteExtended {
        /// Height of the order.
        height: Height,
        /// Round of the order.
        round: Round,
        /// The application's extension.
        extension: Bytes,
    },
    /// The answer to [`super::Effect::VerifyExtension`].
    ExtensionVerified {
        /// The vote asked about.
        vote: Vote,
        /// From whom it came.
        source: Source,
        /// What the application says.
        accepted: bool,
    },
    /// The decided block was applied: begin the next height.
    BlockApplied(Box<Start>),
    /// The answer to [`super::Effect::Sign`].
    Signed(Signed),
    /// The mempool holds a transaction, for the first time at this height.
    TxsAvailable,
    /// A peer is there.
    PeerUp(NodeId),
    /// A peer is gone.
    PeerDown(NodeId),
    /// The time given by [`super::Effect::WakeAt`] has come, or nearly.
    Woken,
    /// A client wants to read what was decided before now; answered by [`super::Effect::ReadAt`].
    Read {
        /// Comes back.
        ticket: ReadTicket,
        /// How sure the answer must be.
        mode: ReadMode,
    },
}

/// Which read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadTicket(pub u64);

/// How a linearizable read makes sure that nobody decided more meanwhile (Raft §8, thesis §6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadMode {
    /// A quorum confirms the leader after the question came: right whatever clocks do.
    Confirmed,
    /// The leader's lease: no message, right as long as clocks run about equally fast.
    Leased,
}

impl Input<Infallible> {
    /// The same fact for a machine of any message: it is none that somebody said.
    pub fn widen<M>(self) -> Input<M> {
        match self {
            Input::Received { message, .. } => match message {},
            Input::TimerFired(timer) => Input::TimerFired(timer),
            Input::BlockBuilt { height, round, block } => Input::BlockBuilt { height, round, block },
            Input::BlockChecked { height, round, block_id, verdict } => {
                Input::BlockChecked { height, round, block_id, verdict }
            }
            Input::VoteExtended { height, round, extension } => Input::VoteExtended { height, round, extension },
            Input::ExtensionVerified { vote, source, accepted } => Input::ExtensionVerified { vote, source, accepted },
            Input::BlockApplied(start) => Input::BlockApplied(start),
            Input::Signed(signed) => Input::Signed(signed),
            Input::TxsAvailable => Input::TxsAvailable,
            Input::PeerUp(peer) => Input::PeerUp(peer),
            Input::PeerDown(peer) => Input::PeerDown(peer),
            Input::Woken => Input::Woken,
            Input::Read { ticket, mode } => Input::Read { ticket, mode },
        }
    }
}
