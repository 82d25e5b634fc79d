//! Small changes of what an honest node would say (ByzzFuzz, Winter et al., OOPSLA '23): a round more or less, the value
//! before, another receiver. Small scope finds what wild noise does not: receivers drop noise at once.

use super::{Actor, Cx, unsigned, unsigned_proposal};
use crate::sim::NodeNr;
use crate::types::{DirectMessage, PbftStatement, Round, StatementBody, VoteKind};

/// Of a hundred words.
const MUTATED: u64 = 25;

impl Actor {
    pub(super) fn mutate(&mut self, cx: &mut Cx<'_>, to: NodeNr, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.is_own(&word) || !self.dice.chance(MUTATED) {
            return vec![word];
        }
        if self.dice.chance(20) {
            let other = NodeNr(self.dice.below(cx.scene.plan.nodes.len() as u64) as u8);
            if other != to && cx.scene.addresses.get(other.index()) != Some(&self.own) {
                cx.told("lie.other_receiver");
                self.hold(cx.now, other, word);
                return Vec::new();
            }
        }
        let bent = match &word {
            DirectMessage::Vote(vote) => {
                let mut bent = match self.dice.below(4) {
                    0 => self.vote_for(vote, self.memory.earlier_block(vote.height)),
                    1 => self.vote_for(vote, self.memory.other_block(vote.height, vote.block_id)),
                    _ => unsigned(vote),
                };
                if bent.block_id == vote.block_id {
                    if self.dice.chance(30) {
                        bent.kind = match bent.kind {
                            VoteKind::Prevote => VoteKind::Precommit,
                            VoteKind::Precommit => VoteKind::Prevote,
                        };
                        bent.extension = None;
                    } else {
                        bent.round = self.step(bent.round);
                    }
                }
                DirectMessage::Vote(cx.sign_vote(bent))
            }
            DirectMessage::Proposal { by, proposal } => {
                let mut bent = unsigned_proposal(proposal);
                match (self.dice.below(3), self.memory.earlier_block(proposal.height)) {
                    (0, Some(earlier)) => bent.block_id = earlier,
                    (1, _) => bent.pol_round = bent.round.get().checked_sub(1).map(Round::new),
                    _ => bent.round = self.step(bent.round),
                }
                DirectMessage::Proposal { by: *by, proposal: cx.sign_proposal(bent) }
            }
            DirectMessage::Statement(statement) => {
                let StatementBody::Pbft(body) = &statement.body else { return vec![word] };
                let mut body = (**body).clone();
                match &mut body {
                    PbftStatement::ViewChange { view, .. }
                    | PbftStatement::NewView { view, .. }
                    | PbftStatement::Status { view, .. } => *view = self.step(*view),
                }
                DirectMessage::Statement(self.state(cx, body))
            }
            DirectMessage::Part { .. } | DirectMessage::Commit(_) => return vec![word],
        };
        if bent == word {
            return vec![word];
        }
        cx.told("lie.mutate");
        vec![bent]
    }

    /// One more or one less.
    fn step(&mut self, round: Round) -> Round {
        match round.get() {
            0 => round.next(),
            _ if self.dice.chance(50) => round.next(),
            number => Round::new(number - 1),
        }
    }
}
