//! What nodes say to each other once they are connected, one type for each family of channels (reference §5.5). How it
//! is written on the wire is in `codec::wire`.
//!
//! These are plain messages: whether a number makes sense at this height is for the machine that gets it to say.

use super::{
    Algorithm, BitArray, BlockId, Channel, DirectMessage, Evidence, ExtendedCommit, Height, NodeId, Part,
    PartSetHeader, Proposal, Round, Step, Time, Vote, VoteKind,
};
use bytes::Bytes;

/// What consensus gossips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsensusMessage {
    /// Where the sender stands.
    NewRoundStep(NewRoundStep),
    /// The sender knows a block with a polka or a commit and has these parts of it.
    NewValidBlock {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// The block's parts.
        parts: PartSetHeader,
        /// Which of them the sender has.
        have: BitArray,
        /// True when it is decided.
        is_commit: bool,
    },
    /// A proposal.
    Proposal(Proposal),
    /// The prevotes the sender has for a proposal's proof-of-lock round.
    ProposalPol {
        /// Height.
        height: Height,
        /// The proof-of-lock round.
        pol_round: Round,
        /// Prevotes it has.
        have: BitArray,
    },
    /// A part of the proposed block.
    BlockPart {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// The part.
        part: Part,
    },
    /// A vote.
    Vote(Vote),
    /// The sender has this vote.
    HasVote {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// Kind.
        kind: VoteKind,
        /// The voter's position.
        index: u32,
    },
    /// The sender saw two thirds for this block, or for nil.
    VoteSetMaj23(VotesFor),
    /// The votes the sender has for this block, or for nil.
    VoteSetBits {
        /// Which votes.
        votes: VotesFor,
        /// Those it has.
        have: BitArray,
    },
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRoundStep {
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// Step, as the sender numbers it.
    pub step: u32,
    /// Seconds since the height began; may be negative.
    pub seconds_since_start_time: i64,
    /// Round of the last commit; none at the initial height.
    pub last_commit_round: Option<Round>,
}

/// The votes of one kind for one block in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VotesFor {
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// Kind.
    pub kind: VoteKind,
    /// The block, or nil.
    pub block_id: Option<BlockId>,
}

/// What nodes say to fetch old blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlocksyncMessage {
    /// Give me this block.
    BlockRequest(Height),
    /// I do not have it.
    NoBlockResponse(Height),
    /// Here it is.
    BlockResponse {
        /// The encoded block as received: its parts are cut from these bytes, not from a second encoding.
        block: Bytes,
        /// The commit for it with extensions, where they are enabled.
        extended_commit: Option<ExtendedCommit>,
    },
    /// Which blocks do you have?
    StatusRequest,
    /// These.
    StatusResponse {
        /// The highest.
        height: Height,
        /// The lowest.
        base: Height,
    },
}

/// Something for a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerMessage {
    /// Consensus, channels 0x20 to 0x23.
    Consensus(ConsensusMessage),
    /// Transactions, 0x30.
    Txs(Vec<Bytes>),
    /// Evidence, 0x38.
    Evidence(Vec<Evidence>),
    /// Old blocks, 0x40.
    Blocksync(BlocksyncMessage),
    /// What replicas of Raft (0x74, 0x75) or PBFT (0x70, 0x71) say to each other.
    Direct(Algorithm, DirectMessage),
}

impl PeerMessage {
    /// Where it is said.
    pub fn channel(&self) -> Channel {
        match self {
            PeerMessage::Consensus(message) => message.channel(),
            PeerMessage::Txs(_) => Channel::Mempool,
            PeerMessage::Evidence(_) => Channel::Evidence,
            PeerMessage::Blocksync(_) => Channel::Blocksync,
            PeerMessage::Direct(algorithm, message) => message.channel(*algorithm),
        }
    }
}

impl DirectMessage {
    /// Where it is said in a chain under this protocol: blocks on one channel, all that must not wait behind them on
    /// another.
    ///
    /// # Panics
    /// For Tendermint, whose replicas gossip and have no such messages.
    pub fn channel(&self, algorithm: Algorithm) -> Channel {
        // A commit goes with the parts it names: were they to overtake it, nobody would be waiting for them.
        let is_data =
            matches!(self, DirectMessage::Proposal { .. } | DirectMessage::Part { .. } | DirectMessage::Commit(_));
        match (algorithm, is_data) {
            (Algorithm::Raft, true) => Channel::RaftData,
            (Algorithm::Raft, false) => Channel::RaftControl,
            (Algorithm::Pbft, true) => Channel::PbftData,
            (Algorithm::Pbft, false) => Channel::PbftControl,
            (Algorithm::Tendermint, _) => panic!("replicas of Tendermint gossip: they have no direct messages"),
        }
    }
}

impl ConsensusMessage {
    /// Where it is said (reference §5.4).
    pub fn channel(&self) -> Channel {
        match self {
            ConsensusMessage::NewRoundStep(_)
            | ConsensusMessage::NewValidBlock { .. }
            | ConsensusMessage::HasVote { .. }
            | ConsensusMessage::VoteSetMaj23(_) => Channel::State,
            ConsensusMessage::Proposal(_)
            | ConsensusMessage::ProposalPol { .. }
            | ConsensusMessage::BlockPart { .. } => Channel::Data,
            ConsensusMessage::Vote(_) => Channel::Vote,
            ConsensusMessage::VoteSetBits { .. } => Channel::VoteSetBits,
        }
    }
}

/// What we know of a peer's consensus: PeerRoundState of CometBFT, for `dump_consensus_state` and the lag in `net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRoundState {
    /// Which peer.
    pub peer: NodeId,
    /// Height it decides; none while it has not said, as when it fetches blocks.
    pub height: Option<Height>,
    /// Round.
    pub round: Option<Round>,
    /// Step.
    pub step: Step,
    /// When its round began, by our clock.
    pub start_time: Time,
    /// It has the proposal of its round.
    pub has_proposal: bool,
    /// The block of that proposal, and which parts it has.
    pub parts: Option<(PartSetHeader, BitArray)>,
    /// The round whose prevotes justify the proposal, and which of them it has.
    pub proposal_pol: Option<(Round, BitArray)>,
    /// Prevotes of its round that it has.
    pub prevotes: Option<BitArray>,
    /// Precommits of its round that it has.
    pub precommits: Option<BitArray>,
    /// Round of the last commit, and which of its precommits it has.
    pub last_commit: Option<(Round, BitArray)>,
    /// Round in which its height was decided, and which of those precommits it has.
    pub catch_up_commit: Option<(Round, BitArray)>,
    /// Useful votes it sent.
    pub useful_votes: u64,
    /// Useful parts it sent.
    pub useful_parts: u64,
}
