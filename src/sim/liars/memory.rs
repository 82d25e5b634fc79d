//! What a liar remembers: blocks to make others from, certificates to bend, old words to say again. Bounded.

use crate::sim::Word;
use crate::types::{
    Address, BlockId, CandidateBlock, DirectMessage, Evidence, ExtendedCommit, Height, Part, PartSet, PbftStatement,
    Proposal, Round, Statement, StatementBody, Vote, VoteKind,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most of each kind of thing remembered.
const KEPT: usize = 96;
/// Whole blocks remembered.
const BLOCKS_KEPT: usize = 8;
/// Of so many words, one is remembered for good among the old ones.
const OLD_EVERY: usize = 7;

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was proposed, by anybody, in the order it was heard.
    proposals: VecDeque<(Height, Round, BlockId)>,
    own: VecDeque<Proposal>,
    gathering: VecDeque<PartSet>,
    blocks: VecDeque<Arc<CandidateBlock>>,
    votes: VecDeque<Vote>,
    view_changes: VecDeque<Statement>,
    commit: Option<ExtendedCommit>,
    /// What we accused somebody of, and can again.
    accusations: VecDeque<Evidence>,
    /// What others and we said.
    old: VecDeque<DirectMessage>,
    heard: usize,
    /// Of our last precommit that had one.
    pub(super) extension: Option<Bytes>,
}

fn keep<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

impl Memory {
    /// Our core says something to somebody.
    pub(super) fn say(&mut self, own: Address, word: &DirectMessage) {
        match word {
            DirectMessage::Proposal { by, proposal } if *by == own && !self.own.contains(proposal) => {
                keep(&mut self.own, proposal.clone(), KEPT);
            }
            DirectMessage::Vote(vote) if vote.validator_address == own && vote.extension_signature.is_some() => {
                self.extension = Some(vote.extension.clone());
            }
            _ => {}
        }
        match word {
            DirectMessage::Proposal { by, proposal } => self.hear(&Word::Proposal { by: Some(*by), proposal }),
            DirectMessage::Part { height, round, part } => {
                self.hear(&Word::Part { height: *height, round: *round, part });
            }
            DirectMessage::Vote(vote) => self.hear(&Word::Vote(vote)),
            DirectMessage::Statement(statement) => self.hear(&Word::Statement(statement)),
            DirectMessage::Commit(commit) => self.hear(&Word::Commit(commit)),
        }
    }

    pub(super) fn hear(&mut self, word: &Word<'_>) {
        self.heard += 1;
        match *word {
            Word::Proposal { by, proposal } => {
                let entry = (proposal.height, proposal.round, proposal.block_id);
                if !self.proposals.contains(&entry) {
                    keep(&mut self.proposals, entry, KEPT);
                    if let Some(set) = PartSet::gather(proposal.block_id.parts) {
                        keep(&mut self.gathering, set, BLOCKS_KEPT);
                    }
                }
                if let Some(by) = by {
                    self.age(|| DirectMessage::Proposal { by, proposal: proposal.clone() });
                }
            }
            Word::Part { height, round, part } => {
                self.gather(part);
                self.age(|| DirectMessage::Part { height, round, part: part.clone() });
            }
            Word::Vote(vote) => {
                if !self.votes.contains(vote) {
                    keep(&mut self.votes, vote.clone(), KEPT);
                }
                self.age(|| DirectMessage::Vote(vote.clone()));
            }
            Word::Statement(statement) => {
                if is_view_change(statement) && !self.view_changes.contains(statement) {
                    keep(&mut self.view_changes, statement.clone(), KEPT);
                }
                self.age(|| DirectMessage::Statement(statement.clone()));
            }
            Word::Commit(commit) => {
                self.commit = Some(commit.clone());
                self.age(|| DirectMessage::Commit(commit.clone()));
            }
        }
    }

    fn age(&mut self, word: impl FnOnce() -> DirectMessage) {
        if self.heard.is_multiple_of(OLD_EVERY) {
            let word = word();
            if self.old.len() >= KEPT {
                // The oldest quarter stays for good.
                self.old.remove(KEPT / 4);
            }
            self.old.push_back(word);
        }
    }

    fn gather(&mut self, part: &Part) {
        for set in &mut self.gathering {
            let fits = !set.is_complete() && part.index < set.header().total && set.add(part.clone()) == Ok(true);
            if fits && set.is_complete() {
                if let Ok(block) = CandidateBlock::from_parts(set.clone()) {
                    keep(&mut self.blocks, Arc::new(block), BLOCKS_KEPT);
                }
                return;
            }
        }
    }

    /// A block made here.
    pub(super) fn add_block(&mut self, at: (Height, Round), block: Arc<CandidateBlock>) {
        let entry = (at.0, at.1, block.id());
        if !self.proposals.contains(&entry) {
            keep(&mut self.proposals, entry, KEPT);
        }
        keep(&mut self.blocks, block, BLOCKS_KEPT);
    }

    pub(super) fn block(&self, id: &BlockId) -> Option<&Arc<CandidateBlock>> {
        self.blocks.iter().rev().find(|block| block.id() == *id)
    }

    /// What was proposed there, in an order on which all who know the same agree.
    pub(super) fn proposed(&self, height: Height, round: Round) -> Vec<BlockId> {
        let there = self.proposals.iter().filter(|(h, r, _)| (*h, *r) == (height, round));
        let mut ids: Vec<BlockId> = there.map(|(_, _, id)| *id).collect();
        ids.sort_unstable_by_key(|id| (id.hash, id.parts.hash));
        ids
    }

    /// The newest block proposed at the height that is another one.
    pub(super) fn other_block(&self, height: Height, not: Option<BlockId>) -> Option<BlockId> {
        let other = |(h, _, id): &&(Height, Round, BlockId)| *h == height && Some(*id) != not;
        self.proposals.iter().rev().find(other).map(|(_, _, id)| *id)
    }

    /// The newest block proposed at the height before.
    pub(super) fn earlier_block(&self, height: Height) -> Option<BlockId> {
        self.proposals.iter().rev().find(|(h, ..)| *h < height).map(|(_, _, id)| *id)
    }

    pub(super) fn own_proposal(&self, height: Height, round: Round) -> Option<&Proposal> {
        self.own.iter().rev().find(|proposal| (proposal.height, proposal.round) == (height, round))
    }

    pub(super) fn proposed_by_us(&self, height: Height, round: Round) -> bool {
        self.own_proposal(height, round).is_some()
    }

    /// Prevotes of a height, newest first.
    pub(super) fn prevotes(&self, height: Height) -> impl Iterator<Item = &Vote> {
        self.votes.iter().rev().filter(move |vote| vote.kind == VoteKind::Prevote && vote.height == height)
    }

    pub(super) fn view_changes(&self, view: Round) -> impl Iterator<Item = &Statement> {
        self.view_changes.iter().filter(move |statement| statement.body.round() == Some(view))
    }

    pub(super) fn accuse(&mut self, piece: Evidence) {
        keep(&mut self.accusations, piece, KEPT);
    }

    /// One of the accusations, or none.
    pub(super) fn accusation(&self, number: usize) -> Option<&Evidence> {
        self.accusations.get(number)
    }

    /// The newest block known of a height below this one.
    pub(super) fn block_below(&self, height: Height) -> Option<Arc<CandidateBlock>> {
        let below = |block: &&Arc<CandidateBlock>| block.block().header.height < height;
        self.blocks.iter().rev().find(below).cloned()
    }

    pub(super) fn commit(&self) -> Option<&ExtendedCommit> {
        self.commit.as_ref()
    }

    pub(super) fn old(&self) -> &VecDeque<DirectMessage> {
        &self.old
    }
}

fn is_view_change(statement: &Statement) -> bool {
    matches!(&statement.body, StatementBody::Pbft(body) if matches!(**body, PbftStatement::ViewChange { .. }))
}
