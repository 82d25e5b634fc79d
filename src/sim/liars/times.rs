//! Words at the wrong time: at the moment when the others stop to wait, of later rounds and heights, of long ago, of
//! another chain.

use super::{Actor, Cx, Held, further, unsigned, unsigned_proposal};
use crate::consensus::Tick;
use crate::sim::{Lie, NodeNr};
use crate::types::{
    Algorithm, ChainId, DirectMessage, Height, LogPosition, PbftStatement, RaftStatement, Round, Statement,
    StatementBody, UnsignedStatement, Vote, VoteKind,
};
use std::time::Duration;

/// How far ahead a liar leaps.
const LEAP: u32 = 1_000_000;

impl Actor {
    /// Says its word when the others are just about to stop waiting for it.
    pub(super) fn delay(&mut self, cx: &mut Cx<'_>, to: NodeNr, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.is_own(&word) {
            return vec![word];
        }
        let timeouts = &cx.scene.plan.timeouts;
        let round = super::place(&word).map_or(0, |(_, round)| round.get()).min(100);
        let patience = match (&word, cx.scene.plan.algorithm) {
            (_, Algorithm::Pbft) => timeouts.view_change,
            (DirectMessage::Vote(Vote { kind: VoteKind::Prevote, .. }), _) => {
                timeouts.prevote + timeouts.prevote_delta * round
            }
            (DirectMessage::Vote(_), _) => timeouts.precommit + timeouts.precommit_delta * round,
            _ => timeouts.propose + timeouts.propose_delta * round,
        };
        // Around it: a little before, or just after.
        let early = self.dice.time(Duration::ZERO, Duration::from_millis(12));
        let at = Tick(cx.now.plus(patience + Duration::from_millis(2)).0.saturating_sub(early.as_nanos() as u64));
        cx.told("lie.late");
        self.hold(at, to, word);
        Vec::new()
    }

    /// What is due of what was kept back. To be asked when it is [`Actor::due`].
    pub fn release(&mut self, now: Tick) -> Vec<(NodeNr, DirectMessage)> {
        let (due, held): (Vec<Held>, Vec<Held>) =
            std::mem::take(&mut self.held).into_iter().partition(|(at, ..)| *at <= now);
        self.held = held;
        due.into_iter().map(|(_, to, word)| (to, word)).collect()
    }

    /// The same of a later round or height, beside.
    pub(super) fn leap(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.is_own(&word) || !self.dice.chance(30) {
            return vec![word];
        }
        let ahead = match &word {
            DirectMessage::Vote(vote) => {
                let mut bent = unsigned(vote);
                (bent.height, bent.round) = self.leap_from(vote.height, vote.round);
                DirectMessage::Vote(cx.sign_vote(bent))
            }
            DirectMessage::Proposal { by, proposal } => {
                let mut bent = unsigned_proposal(proposal);
                (bent.height, bent.round) = self.leap_from(proposal.height, proposal.round);
                DirectMessage::Proposal { by: *by, proposal: cx.sign_proposal(bent) }
            }
            DirectMessage::Statement(statement) => {
                let StatementBody::Pbft(body) = &statement.body else { return vec![word] };
                let mut body = (**body).clone();
                match &mut body {
                    PbftStatement::ViewChange { view, height, .. }
                    | PbftStatement::NewView { view, height, .. }
                    | PbftStatement::Status { view, height, .. } => {
                        (*height, *view) = self.leap_from(*height, *view);
                    }
                }
                DirectMessage::Statement(self.state(cx, body))
            }
            DirectMessage::Part { .. } | DirectMessage::Commit(_) => return vec![word],
        };
        cx.told("lie.leap");
        vec![ahead, word]
    }

    fn leap_from(&mut self, height: Height, round: Round) -> (Height, Round) {
        match self.dice.below(6) {
            0 | 1 => (height, round.next()),
            2 => (height, further(round, LEAP)),
            3 => (height.next(), Round::ZERO),
            4 => (Height::new(height.get().saturating_add(1000)), round),
            _ => (height, Round::new(round.get().saturating_sub(1))),
        }
    }

    /// Something old beside.
    pub(super) fn repeat(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.dice.chance(15) {
            return vec![word];
        }
        let old = self.memory.old();
        let at = self.dice.below(old.len() as u64) as usize;
        let Some(old) = old.get(at).cloned() else { return vec![word] };
        cx.told("lie.replay");
        vec![old, word]
    }

    /// Its word, signed for a chain of another name, beside: nobody here may take it for one of this chain.
    pub(super) fn speak_of_other_chain(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.is_own(&word) || !self.dice.chance(25) {
            return vec![word];
        }
        let Ok(chain) = ChainId::try_from("another chain") else { return vec![word] };
        let foreign = match &word {
            DirectMessage::Vote(vote) => DirectMessage::Vote(cx.pen.vote(&chain, unsigned(vote))),
            DirectMessage::Proposal { by, proposal } => {
                let proposal = cx.pen.proposal(&chain, unsigned_proposal(proposal));
                DirectMessage::Proposal { by: *by, proposal }
            }
            DirectMessage::Statement(Statement { by, body, .. }) => {
                let unsigned = UnsignedStatement { by: *by, body: body.clone() };
                DirectMessage::Statement(cx.pen.statement(&chain, unsigned))
            }
            DirectMessage::Part { .. } | DirectMessage::Commit(_) => return vec![word],
        };
        cx.told("lie.other_chain");
        if self.dice.chance(50) { vec![foreign] } else { vec![foreign, word] }
    }

    /// What nobody asked for.
    pub(super) fn add_unprompted(&mut self, cx: &mut Cx<'_>, lie: Lie, words: &mut Vec<(NodeNr, DirectMessage)>) {
        let to = NodeNr(self.dice.below(cx.scene.plan.nodes.len() as u64) as u8);
        if cx.scene.addresses.get(to.index()) == Some(&self.own) {
            return;
        }
        let (name, word) = match lie {
            Lie::Replay => {
                let at = self.dice.below(self.memory.old().len() as u64) as usize;
                let Some(old) = self.memory.old().get(at) else { return };
                ("lie.replay", old.clone())
            }
            Lie::LeapAhead if self.dice.chance(20) => match self.leap_unasked(cx) {
                Some(word) => ("lie.leap_unasked", word),
                None => return,
            },
            // Again and again: a replica that would rather change the view.
            Lie::ForgeProofs if cx.scene.plan.algorithm == Algorithm::Pbft && self.dice.chance(10) => {
                let (view, height) = (cx.round.next(), cx.height);
                let checkpoint = self.memory.commit().filter(|commit| commit.height.next() == height).cloned();
                let said = PbftStatement::ViewChange { view, height, checkpoint, prepared: None };
                ("lie.view_change_unasked", DirectMessage::Statement(self.state(cx, said)))
            }
            Lie::InflateTerms => match self.inflate_term(cx) {
                Some(word) => ("lie.later_term", word),
                None => return,
            },
            _ => return,
        };
        cx.told(name);
        words.push((to, word));
    }

    /// Raft: a term nobody reached. PBFT: a view nobody asked for. Tendermint: a vote of a round far away.
    fn leap_unasked(&mut self, cx: &Cx<'_>) -> Option<DirectMessage> {
        let (height, round) = self.leap_from(cx.height, cx.round);
        Some(match cx.scene.plan.algorithm {
            Algorithm::Raft => {
                let last = LogPosition { height, entry: None };
                let election = crate::types::Election::Vote;
                let asks = RaftStatement::RequestVote { term: round, election, last };
                DirectMessage::Statement(self.state_raft(cx, asks))
            }
            Algorithm::Pbft => {
                let said = PbftStatement::ViewChange { view: round, height, checkpoint: None, prepared: None };
                DirectMessage::Statement(self.state(cx, said))
            }
            Algorithm::Tendermint => {
                let (validator_index, _) = cx.validators.by_address(&self.own)?;
                let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
                DirectMessage::Vote(cx.sign_vote(crate::types::UnsignedVote {
                    kind,
                    height,
                    round,
                    block_id: None,
                    timestamp: cx.wall,
                    validator_address: self.own,
                    validator_index,
                    extension: None,
                }))
            }
        })
    }
}
