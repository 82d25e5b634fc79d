//! What a protocol orders.

use super::{Protocol, ReadTicket, Tick};
use crate::types::{
    BlockId, CandidateBlock, ExtendedCommit, Height, Misconduct, NodeId, Round, SignRequest, Source, Step, TimerId,
    Vote,
};
use std::sync::Arc;
use std::time::Duration;

/// Orders of one step, in order.
pub type Effects<P> = Vec<Effect<P>>;

/// An order.
#[derive(Debug)]
pub enum Effect<P: Protocol> {
    /// Make durable before anything is signed or decided that follows in the list.
    Persist(P::Record),
    /// Have the signer sign; answered by `Input::Signed`.
    Sign(SignRequest),
    /// Say to one peer.
    Send(NodeId, P::Message),
    /// Say to all peers.
    Broadcast(P::Message),
    /// Wake me at `at`.
    SetTimer {
        /// Which timer.
        timer: TimerId,
        /// When it is due.
        at: Tick,
        /// How long that is from now, for the journal.
        duration: Duration,
    },
    /// Wake me at this time, not at the time I named before; answered by `Input::Woken`.
    WakeAt(Tick),
    /// The answer to `Input::Read`: whoever has applied everything up to this height may answer from its own state.
    ReadAt(ReadTicket, Height),
    /// The answer to `Input::Read`: not here, not now. Says why and what to do.
    ReadRefused(ReadTicket, String),
    /// Make a block to propose; answered by `Input::BlockBuilt`.
    BuildBlock(BuildOrder),
    /// Validate a block and ask the application about it; answered by `Input::BlockChecked`.
    CheckBlock {
        /// Height decided.
        height: Height,
        /// Round it is proposed in.
        round: Round,
        /// The block.
        block: Arc<CandidateBlock>,
    },
    /// Ask the application for our precommit's extension; answered by `Input::VoteExtended`.
    ExtendVote {
        /// Height decided.
        height: Height,
        /// Round of the precommit.
        round: Round,
        /// The block precommitted.
        block: Arc<CandidateBlock>,
    },
    /// Ask the application about a peer's extension; answered by `Input::ExtensionVerified`.
    VerifyExtension {
        /// The precommit; always for a block.
        vote: Vote,
        /// From whom.
        source: Source,
    },
    /// Decided: store, execute, and come back with `Input::BlockApplied`.
    Decide(Decision),
    /// Somebody signed two things.
    Accuse(Accusation),
    /// We are behind: fetch blocks up to at least this height.
    RequestSync(Height),
    /// Transactions wait here, and whoever proposes may not have them: offer all of them to all peers once more.
    OfferTxs,
    /// Tell subscribers, metrics and the log what happened. Changes nothing.
    Note(RoundNote),
}

/// Make a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOrder {
    /// Its height.
    pub height: Height,
    /// The round it is for.
    pub round: Round,
    /// The commit it carries; none at the initial height.
    pub last_commit: Option<ExtendedCommit>,
}

/// A decision: a block and the precommits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The block.
    pub block: Arc<CandidateBlock>,
    /// More than two thirds of the power for it.
    pub commit: ExtendedCommit,
}

/// Two votes that one honest validator cannot both have signed. Powers and time are added by the evidence pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accusation {
    /// The vote seen first.
    pub first: Vote,
    /// The vote that contradicts it.
    pub second: Vote,
}

/// What happened inside a round, for events (reference §8.6), metrics and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoundNote {
    /// A step was entered.
    Step {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// Step.
        step: Step,
    },
    /// A round began.
    NewRound {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// Index and address of its proposer.
        proposer: (u32, crate::types::Address),
    },
    /// All parts of the proposed block are here.
    CompleteProposal {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// The block.
        block_id: BlockId,
    },
    /// Two thirds prevoted for one thing.
    Polka {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
    },
    /// We locked on the proposed block.
    Lock {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
    },
    /// We locked again on the same block.
    Relock {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
    },
    /// We gave up a lock.
    Unlock {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
    },
    /// The proposed block became the valid block.
    ValidBlock {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
    },
    /// A timeout counted.
    Timeout {
        /// Which.
        timer: TimerId,
    },
    /// A vote was counted.
    Vote(Vote),
    /// A validator provably broke a rule in a way that no block can carry as evidence. Told once for each occasion or more
    /// often.
    Misconduct(Box<Misconduct>),
}
