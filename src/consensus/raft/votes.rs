//! Votes that were heard, to notice who gave two in one term (§5.2). A crash makes nobody do that: a vote is durable before
//! it is signed. Nothing rests on it but a record for people.

use super::Raft;
use crate::consensus::{Effect, Effects, RoundNote};
use crate::types::{Address, Misconduct, RaftVote, Round, Statement};
use std::collections::BTreeMap;

/// Voters whose vote is kept; a validator set is smaller, and a term has few sets.
const VOTERS_MAX: usize = 1024;

/// The first vote of each validator in the newest term a vote was heard of.
#[derive(Debug, Clone, Default)]
pub(super) struct VotesHeard {
    term: Round,
    first: BTreeMap<Address, Statement>,
}

impl VotesHeard {
    /// How many voters' words are kept.
    pub(super) fn count(&self) -> usize {
        self.first.len()
    }
}

impl Raft {
    /// Notes the vote in a statement, if there is one, and reports a second one for somebody else.
    pub(super) fn watch_votes(&mut self, statement: &Statement, out: &mut Effects<Raft>) {
        let Some(vote) = RaftVote::of(statement) else { return };
        let own = self.current.start.own == Some(statement.by);
        if own || vote.term < self.votes.term || self.too_far(vote.term) {
            return;
        }
        if vote.term > self.votes.term {
            self.votes = VotesHeard { term: vote.term, first: BTreeMap::new() };
        }
        if let Some(first) = self.votes.first.get(&statement.by) {
            let misconduct = Misconduct::two_votes(first, statement).map(Box::new);
            out.extend(misconduct.map(|it| Effect::Note(RoundNote::Misconduct(it))));
        } else if self.votes.first.len() < VOTERS_MAX {
            self.votes.first.insert(statement.by, statement.clone());
        }
    }
}
