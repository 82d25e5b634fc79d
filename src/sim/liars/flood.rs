//! Floods (level 2): the same again and again, votes of all heights, transactions nobody takes, bytes that mean nothing,
//! each within what a connection carries.

use super::gossip::Speech;
use super::{Actor, Cx};
use crate::sim::NodeNr;
use crate::types::{Algorithm, Channel, DirectMessage, Height, PeerMessage, VoteKind};
use bytes::Bytes;

/// How often a word is said.
const REPEATED: usize = 8;
/// Words, or transactions, of one flood.
const BURST: usize = 40;
/// Most bytes that mean nothing.
const JUNK_BYTES: u64 = 600;

impl Actor {
    /// Says a word again and again.
    pub(super) fn say_often(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.dice.chance(20) {
            return vec![word];
        }
        cx.told("lie.flood_of_one_word");
        vec![word; REPEATED]
    }

    /// What it pours over somebody.
    pub(super) fn flood(&mut self, cx: &mut Cx<'_>) -> Vec<(NodeNr, Speech)> {
        if !self.dice.chance(15) {
            return Vec::new();
        }
        let Some(to) = self.somebody(cx) else { return Vec::new() };
        let (name, speeches) = match self.dice.below(4) {
            0 => ("lie.flood_of_votes", self.votes_of_all_heights(cx)),
            1 => ("lie.flood_of_old_words", self.old_words(cx)),
            2 => ("lie.flood_of_transactions", vec![Speech::Message(PeerMessage::Txs(self.junk_txs()))]),
            _ => {
                let channel = *self.dice.pick(&Channel::ALL).unwrap_or(&Channel::State);
                let length = self.dice.below(JUNK_BYTES);
                let junk: Vec<u8> = (0..length).map(|_| self.dice.below(256) as u8).collect();
                ("lie.junk", vec![Speech::Raw(channel, junk.into())])
            }
        };
        if !speeches.is_empty() {
            cx.told(name);
        }
        speeches.into_iter().map(|speech| (to, speech)).collect()
    }

    /// From the first height to some that are far away.
    fn votes_of_all_heights(&mut self, cx: &Cx<'_>) -> Vec<Speech> {
        let highest = cx.height.get().saturating_add(20);
        let mut votes = Vec::new();
        for _ in 0..BURST {
            let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
            let height = Height::new(self.dice.between(1, highest));
            let block = if self.dice.chance(50) { Some(self.made_up_block()) } else { None };
            let block = block.or_else(|| self.memory.other_block(height, None));
            votes.extend(self.own_vote(cx, kind, height, block).map(DirectMessage::Vote));
        }
        votes.into_iter().filter_map(|word| Speech::of(cx, word)).collect()
    }

    fn old_words(&mut self, cx: &Cx<'_>) -> Vec<Speech> {
        let words = self.memory.old().iter().take(BURST).cloned();
        words.filter_map(|word| Speech::of(cx, word)).collect()
    }

    /// No application takes them.
    fn junk_txs(&mut self) -> Vec<Bytes> {
        (0..BURST).map(|_| Bytes::from(format!("junk {}", self.dice.roll()))).collect()
    }

    /// In Raft, a follower that says that it is in a later term, as one that was away may be: whoever leads steps down.
    pub(super) fn inflate_term(&mut self, cx: &Cx<'_>) -> Option<DirectMessage> {
        // It would go on for ever; once the others are to be left in peace, it stops.
        let heals_at = cx.scene.plan.heal_at;
        if cx.scene.plan.algorithm != Algorithm::Raft || cx.now >= heals_at || !self.dice.chance(3) {
            return None;
        }
        let by = *self.dice.pick(&[1, 1, 2, 10, 1000]).unwrap_or(&1);
        let term = super::further(cx.round, by);
        let said = crate::types::RaftStatement::Following { term, height: cx.height, entry: None, beat: 0 };
        Some(DirectMessage::Statement(self.state_raft(cx, said)))
    }
}
