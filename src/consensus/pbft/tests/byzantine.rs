//! What a liar can do with its own key and with what it heard.

use super::puppets::{address, block, new_view_of, primary, proposal_of, statement_of, view_change_of, vote_of};
use super::world::World;
use crate::consensus::Direct;
use crate::crypto::Verified;
use crate::types::{
    BlockId, CandidateBlock, Height, PbftStatement, Round, Statement, StatementBody, ValidatorSet, VoteKind,
};
use std::sync::Arc;

impl World {
    /// One lie of one liar, told to somebody.
    pub(super) fn lie(&mut self) {
        let liars: Vec<usize> = self.liars.iter().copied().collect();
        let liar = liars[self.dice.below(liars.len())];
        let to = self.dice.below(self.nodes.len());
        let (height, view) = (self.nodes[to].machine.height(), self.nodes[to].machine.round());
        let set = self.membership.at(height);
        match self.dice.below(8) {
            0 | 1 => self.vote_for_anything(liar, to, &set),
            2 | 3 if primary(&set, view.get()) == liar => self.propose_two_blocks(liar, to, (height, view)),
            4 => self.hide_what_prepared(liar, to, (height, view)),
            5 | 6 => self.make_up_a_new_view(liar, to, &set),
            7 => self.claim_to_be_far(liar, to, (height, view)),
            _ => self.say_again(liar, to),
        }
    }

    fn known_block(&mut self, height: Height) -> Option<Arc<CandidateBlock>> {
        let of_height: Vec<_> = self.blocks.iter().filter(|b| b.block().header.height == height).cloned().collect();
        let pick = self.dice.below(of_height.len());
        of_height.get(pick).cloned()
    }

    fn vote_for_anything(&mut self, liar: usize, to: usize, set: &ValidatorSet) {
        let (height, view) = (self.nodes[to].machine.height(), self.nodes[to].machine.round());
        let Some(block) = self.known_block(height) else { return };
        let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
        let near = (view.get() + self.dice.below(3) as u32).saturating_sub(1);
        if set.by_address(&address(liar)).is_some() {
            let vote = vote_of(set, liar, kind, (height.get(), near), block.id());
            self.say(liar, to, Direct::Vote(Verified::trusted(vote)));
        }
    }

    /// One block to one replica, another to the next; sometimes one that no application accepts.
    fn propose_two_blocks(&mut self, liar: usize, to: usize, at: (Height, Round)) {
        let (height, view) = at;
        let known = self.known_block(height).filter(|_| self.dice.chance(50));
        let made = known.unwrap_or_else(|| block(height.get(), &format!("lie {}", self.dice.below(6))));
        if !self.blocks.iter().any(|block| block.id() == made.id()) {
            self.blocks.push(Arc::clone(&made));
            if self.dice.chance(40) {
                self.bad.insert(made.id());
            }
        }
        let proposal = Verified::trusted(proposal_of(height.get(), view.get(), made.id()));
        self.say(liar, to, Direct::Proposal { by: address(liar), proposal });
        for part in made.parts().parts() {
            self.say(liar, to, Direct::Part { height, round: view, part: part.clone() });
        }
    }

    /// A VIEW-CHANGE that says nothing was prepared.
    fn hide_what_prepared(&mut self, liar: usize, to: usize, at: (Height, Round)) {
        let (height, view) = at;
        let checkpoint = height.previous().and_then(|h| Some(self.decided.get(&h)?.1.clone()));
        let further = view.get() + self.dice.below(3) as u32;
        let change = view_change_of(liar, (height.get(), further), checkpoint, None);
        self.heard.push(Direct::Statement(Verified::trusted(change.clone())));
        self.say(liar, to, Direct::Statement(Verified::trusted(change)));
    }

    /// A NEW-VIEW on real VIEW-CHANGEs: sometimes well made of the ones that suit the liar, sometimes with a block that
    /// does not follow.
    fn make_up_a_new_view(&mut self, liar: usize, to: usize, set: &ValidatorSet) {
        let height = self.nodes[to].machine.height();
        let view = self.nodes[to].machine.round().get() + self.dice.below(2) as u32;
        if primary(set, view) != liar {
            return;
        }
        let mut changes: Vec<Statement> = Vec::new();
        for heard in &self.heard {
            let Direct::Statement(statement) = heard else { continue };
            let StatementBody::Pbft(body) = &statement.body else { continue };
            let PbftStatement::ViewChange { view: asked, height: at, .. } = &**body else { continue };
            let new = !changes.iter().any(|known| known.by == statement.by);
            if asked.get() == view && *at <= height && new {
                changes.push(statement.get().clone());
            }
        }
        let checkpoint = height.previous().and_then(|h| Some(self.decided.get(&h)?.1.clone()));
        changes.retain(|statement| statement.by != address(liar));
        changes.push(view_change_of(liar, (height.get(), view), checkpoint, None));
        while changes.len() * 3 > set.len() * 2 + 3 {
            let at = self.dice.below(changes.len());
            changes.remove(at);
        }
        let prepared: Option<BlockId> =
            self.known_block(height).map(|block| block.id()).filter(|_| self.dice.chance(50));
        let new_view = new_view_of(liar, (height.get(), view), changes, prepared);
        self.say(liar, to, Direct::Statement(Verified::trusted(new_view)));
    }

    fn claim_to_be_far(&mut self, liar: usize, to: usize, at: (Height, Round)) {
        let (height, view) = at;
        let further = Round::new(view.get() + self.dice.below(6) as u32);
        let height = Height::new(height.get() + self.dice.below(4) as u64);
        let body = PbftStatement::Status { view: further, height, active: self.dice.chance(50), proposal: None };
        self.say(liar, to, Direct::Statement(Verified::trusted(statement_of(liar, body))));
    }

    fn say_again(&mut self, liar: usize, to: usize) {
        let at = self.dice.below(self.heard.len());
        if let Some(message) = self.heard.get(at).cloned() {
            self.say(liar, to, message);
        }
    }
}
