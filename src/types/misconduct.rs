//! Misbehaviour that signed messages prove and that no block can carry as evidence: a CometBFT chain knows evidence of
//! double votes and of light client attacks only. It is written down for people.

use super::{Address, DirectMessage, Election, Height, Proposal, RaftStatement, Round, Statement, StatementBody};

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One proposal for a height in a round, view or term.
    OneProposal,
    /// One vote in a term of Raft (Ongaro and Ousterhout §5.2).
    OneVote,
    /// A NEW-VIEW follows from the VIEW-CHANGEs in it (Castro and Liskov §4.4).
    NewViewFollows,
}

impl Rule {
    /// Its name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::OneProposal => "one_proposal",
            Rule::OneVote => "one_vote",
            Rule::NewViewFollows => "new_view_follows",
        }
    }

    /// What was done, as a sentence about the validator.
    pub const fn sentence(self) -> &'static str {
        match self {
            Rule::OneProposal => "signed two proposals for one height and round",
            Rule::OneVote => "voted for two candidates in one term",
            Rule::NewViewFollows => "signed a NEW-VIEW that does not follow from the VIEW-CHANGEs in it",
        }
    }
}

/// Who broke which rule, and the messages that prove it to whoever knows the chain's validators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misconduct {
    /// The rule.
    pub rule: Rule,
    /// Whose key signed the messages.
    pub by: Address,
    /// Height they are about.
    pub height: Height,
    /// Round, view or term.
    pub round: Round,
    /// As they travel in Raft and PBFT, whatever the protocol. The first one heard comes first.
    pub messages: Vec<DirectMessage>,
}

impl Misconduct {
    /// Two proposals for one height and round; none when they are for different ones, or the same.
    pub fn two_proposals(by: Address, first: &Proposal, second: &Proposal) -> Option<Misconduct> {
        let place = |proposal: &Proposal| (proposal.height, proposal.round);
        let content = |proposal: &Proposal| (proposal.block_id, proposal.pol_round);
        if place(first) != place(second) || content(first) == content(second) {
            return None;
        }
        let message = |proposal: &Proposal| DirectMessage::Proposal { by, proposal: proposal.clone() };
        let (height, round) = place(first);
        let messages = vec![message(first), message(second)];
        Some(Misconduct { rule: Rule::OneProposal, by, height, round, messages })
    }

    /// Two votes of one validator for different candidates in one term of Raft; none when they agree, or are no votes.
    pub fn two_votes(first: &Statement, second: &Statement) -> Option<Misconduct> {
        let (one, other) = (RaftVote::of(first)?, RaftVote::of(second)?);
        if first.by != second.by || one.term != other.term || one.candidate == other.candidate {
            return None;
        }
        let messages = [first, second].map(|statement| DirectMessage::Statement(statement.clone())).to_vec();
        Some(Misconduct { rule: Rule::OneVote, by: first.by, height: one.height, round: one.term, messages })
    }

    /// A NEW-VIEW that backups compute otherwise.
    pub fn wrong_new_view(statement: Statement, height: Height, round: Round) -> Misconduct {
        let by = statement.by;
        let messages = vec![DirectMessage::Statement(statement)];
        Misconduct { rule: Rule::NewViewFollows, by, height, round, messages }
    }
}

/// A vote of Raft, in whichever statement it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftVote {
    /// The term it is given in.
    pub term: Round,
    /// To whom.
    pub candidate: Address,
    /// The height its giver was at.
    pub height: Height,
}

impl RaftVote {
    /// The vote in a statement: a ballot that grants one, or the question for votes of a candidate, which voted for itself
    /// before it asked. A pre-vote binds nobody and is none.
    pub fn of(statement: &Statement) -> Option<RaftVote> {
        let StatementBody::Raft(body) = &statement.body else { return None };
        match body {
            RaftStatement::RequestVote { term, election: Election::Vote | Election::Handover, last } => {
                Some(RaftVote { term: *term, candidate: statement.by, height: last.height })
            }
            RaftStatement::Ballot {
                asked,
                election: Election::Vote | Election::Handover,
                candidate,
                granted: true,
                height,
                ..
            } => Some(RaftVote { term: *asked, candidate: *candidate, height: *height }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signature;
    use crate::types::tests::{block_id, time};

    #[test]
    fn two_proposals_are_wrong_only_in_one_place_and_when_they_differ() {
        let proposal = |height: u64, round: u32, block: &str, pol_round: Option<u32>| Proposal {
            height: Height::new(height),
            round: Round::new(round),
            pol_round: pol_round.map(Round::new),
            block_id: block_id(block),
            timestamp: time(height as i64),
            signature: Signature::new([1; 64]),
        };
        let by = Address::new([7; 20]);
        let first = proposal(5, 2, "a", None);
        let signed_again = Proposal { signature: Signature::new([2; 64]), timestamp: time(9), ..first.clone() };
        for honest in [first.clone(), signed_again, proposal(6, 2, "b", None), proposal(5, 3, "b", None)] {
            assert_eq!(Misconduct::two_proposals(by, &first, &honest), None);
        }
        for wrong in [proposal(5, 2, "b", None), proposal(5, 2, "a", Some(1))] {
            let found = Misconduct::two_proposals(by, &first, &wrong).expect("two proposals");
            assert_eq!((found.rule, found.by, found.messages.len()), (Rule::OneProposal, by, 2));
            assert_eq!((found.height, found.round), (Height::new(5), Round::new(2)));
        }
    }
}
