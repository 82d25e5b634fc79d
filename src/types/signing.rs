//! Where in the life of a chain a signature stands (reference §9): what the guard remembers and the listener compares.

use super::{Height, JournalMessage, Proposal, Round, Vote, VoteKind};
use std::fmt;

/// What was signed, in the order it happens within a round; the numbers are those of the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignStep {
    /// Nothing yet: only in the state of a key that never signed.
    Nothing = 0,
    /// A proposal.
    Propose = 1,
    /// A prevote.
    Prevote = 2,
    /// A precommit.
    Precommit = 3,
}

impl SignStep {
    /// The step of a number from a file.
    pub fn from_number(number: i64) -> Option<SignStep> {
        [SignStep::Nothing, SignStep::Propose, SignStep::Prevote, SignStep::Precommit]
            .into_iter()
            .find(|step| *step as i64 == number)
    }
}

impl From<VoteKind> for SignStep {
    fn from(kind: VoteKind) -> SignStep {
        match kind {
            VoteKind::Prevote => SignStep::Prevote,
            VoteKind::Precommit => SignStep::Precommit,
        }
    }
}

impl fmt::Display for SignStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self as u8).fmt(f)
    }
}

/// Where in the life of the chain a signature stands. Later positions are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignPosition {
    /// Height signed for.
    pub height: Height,
    /// Round signed in.
    pub round: Round,
    /// What was signed.
    pub step: SignStep,
}

impl SignPosition {
    /// Before anything was signed.
    pub const START: SignPosition = SignPosition { height: Height::ZERO, round: Round::ZERO, step: SignStep::Nothing };

    /// The last thing that can be signed at a height: after it, the guard grants nothing below the next one.
    pub const fn end_of(height: Height) -> SignPosition {
        SignPosition { height, round: Round::new(i32::MAX as u32), step: SignStep::Precommit }
    }

    /// True when nothing more can be signed at its height.
    pub fn at_end(self) -> bool {
        self == SignPosition::end_of(self.height)
    }

    /// Where a vote stands.
    pub fn of_vote(vote: &Vote) -> SignPosition {
        SignPosition { height: vote.height, round: vote.round, step: vote.kind.into() }
    }

    /// Where a proposal stands.
    pub fn of_proposal(proposal: &Proposal) -> SignPosition {
        SignPosition { height: proposal.height, round: proposal.round, step: SignStep::Propose }
    }

    /// Where a journaled message stands; none for one that carries no signature.
    pub fn of_message(message: &JournalMessage) -> Option<SignPosition> {
        match message {
            JournalMessage::Proposal(proposal) => Some(SignPosition::of_proposal(proposal)),
            JournalMessage::Vote(vote) => Some(SignPosition::of_vote(vote)),
            JournalMessage::Part { .. } => None,
        }
    }
}

/// Whether a key gave its word in a statement of Raft or PBFT (`StatementBody::is_promise`). What it promised stands in the
/// journal; that it did must outlive the journal, or a key that never signed a vote would pass for one that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promises {
    /// It owes nobody anything.
    NoneGiven,
    /// It gave at least one, in whatever term or view.
    Given,
}

impl fmt::Display for SignPosition {
    /// `a precommit at height 5 round 0`, as people say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            SignStep::Nothing if self.height == Height::ZERO => return f.write_str("nothing"),
            SignStep::Nothing => "nothing yet",
            SignStep::Propose => "a proposal",
            SignStep::Prevote => "a prevote",
            SignStep::Precommit => "a precommit",
        };
        write!(f, "{what} at height {} round {}", self.height, self.round)
    }
}
