//! What a replica writes to its journal before it acts: enough to take up a height where a crash left it
//! (reference §6.6).

use super::{Height, NodeId, Part, Proposal, Round, Standing, Vote};
use std::time::Duration;

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// We said it ourselves.
    Own,
    /// A peer sent it.
    Peer(NodeId),
}

/// The steps of a height, numbered as CometBFT numbers them (reference §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Waiting for the commit time of the last height to pass.
    NewHeight = 1,
    /// In a round, waiting for something to propose.
    NewRound = 2,
    /// Waiting for a proposal.
    Propose = 3,
    /// Prevoted.
    Prevote = 4,
    /// Two thirds prevoted, for different things.
    PrevoteWait = 5,
    /// Precommitted.
    Precommit = 6,
    /// Two thirds precommitted, for different things.
    PrecommitWait = 7,
    /// Decided, gathering or applying the block.
    Commit = 8,
}

impl Step {
    /// The name in events, logs and the journal.
    pub fn name(self) -> &'static str {
        match self {
            Step::NewHeight => "RoundStepNewHeight",
            Step::NewRound => "RoundStepNewRound",
            Step::Propose => "RoundStepPropose",
            Step::Prevote => "RoundStepPrevote",
            Step::PrevoteWait => "RoundStepPrevoteWait",
            Step::Precommit => "RoundStepPrecommit",
            Step::PrecommitWait => "RoundStepPrecommitWait",
            Step::Commit => "RoundStepCommit",
        }
    }

    /// The step of a number from outside.
    pub fn from_number(number: u32) -> Option<Step> {
        let all = [
            Step::NewHeight,
            Step::NewRound,
            Step::Propose,
            Step::Prevote,
            Step::PrevoteWait,
            Step::Precommit,
            Step::PrecommitWait,
            Step::Commit,
        ];
        all.into_iter().find(|step| *step as u32 == number)
    }
}

/// A timer of one height, round and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    /// Height it belongs to.
    pub height: Height,
    /// Round it belongs to.
    pub round: Round,
    /// The step it ends.
    pub step: Step,
}

/// A consensus message as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalMessage {
    /// A proposal.
    Proposal(Proposal),
    /// A part of a proposed block.
    Part {
        /// Height of the block.
        height: Height,
        /// Round it was sent in.
        round: Round,
        /// The part.
        part: Part,
    },
    /// A vote.
    Vote(Vote),
}

/// One journal entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalRecord {
    /// A message taken into account, in the order it was.
    Message {
        /// Whose.
        source: Source,
        /// What.
        message: JournalMessage,
    },
    /// A timer that fired and counted.
    Timeout {
        /// Which.
        timer: TimerId,
        /// How long it was set for.
        duration: Duration,
    },
    /// A step was entered. Recovery reads from it when the application's answers took effect.
    RoundStep {
        /// Height.
        height: Height,
        /// Round.
        round: Round,
        /// Step.
        step: Step,
    },
    /// The block of this height is stored; nothing before this entry is needed any more, but the newest standing.
    EndHeight(Height),
    /// Raft and PBFT: the term or view, which goes across heights.
    Standing(Standing),
}
