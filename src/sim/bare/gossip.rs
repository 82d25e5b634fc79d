//! How words get around where the machine does not say to whom (Tendermint): always on, store and forward.
//!
//! Every node keeps the words of its height that it said itself or that its machine took. A new word of its own goes to
//! everybody at once. Whenever a peer enters a height or a round, and every [`REPEAT`] beside, it is offered what it
//! lacks: words of its height, or, if it is one height or more behind, the block that was decided there and its votes.
//! That is what `gossip/` comes to with the messages between peers left out: what a peer lacks, its machine is asked.

use super::protocol::{Regard, Spread, Watched};
use super::world::{Event, World};
use crate::consensus::Decision;
use crate::consensus::tendermint::Message;
use crate::crypto::Verified;
use crate::sim::{NodeNr, Word};
use crate::types::{CommitSig, JournalRecord};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often everybody is offered what it lacks.
const REPEAT: Duration = Duration::from_millis(100);
/// A peer this many heights behind fetches blocks instead; as `replica` has it.
const HEIGHTS_BEHIND_TO_FETCH: u64 = 4;

/// The words of the height at hand.
#[derive(Debug)]
pub(super) struct Shelf<M> {
    words: Vec<Arc<M>>,
    names: BTreeSet<Slot>,
}

/// Names a word: equal words have equal names, and hardly any others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(u64);

impl<M> Default for Shelf<M> {
    fn default() -> Shelf<M> {
        Shelf { words: Vec::new(), names: BTreeSet::new() }
    }
}

impl<M> Shelf<M> {
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.names.clear();
    }

    fn put(&mut self, slot: Slot, word: Arc<M>) {
        if self.names.insert(slot) {
            self.words.push(word);
        }
    }
}

fn slot(word: &Word<'_>) -> Slot {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |number: u64| {
        state = (state ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 31;
    };
    let bytes = |bytes: &[u8], mix: &mut dyn FnMut(u64)| {
        for chunk in bytes.chunks(8) {
            mix(chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        }
    };
    match word {
        Word::Proposal { proposal, .. } => {
            mix(1 + (u64::from(proposal.round.get()) << 8));
            mix(proposal.pol_round.map_or(0, |round| 1 + u64::from(round.get())));
            bytes(proposal.block_id.hash.as_bytes(), &mut mix);
        }
        Word::Part { part, .. } => {
            mix(2 + (u64::from(part.index) << 8));
            bytes(&part.bytes, &mut mix);
        }
        Word::Vote(vote) => {
            mix(3 + vote.kind as u64 + (u64::from(vote.round.get()) << 8));
            mix(vote.height.get());
            mix(u64::from(vote.validator_index));
            bytes(vote.block_id.as_ref().map_or(&[], |id| id.hash.as_bytes()), &mut mix);
        }
        Word::Statement(_) | Word::Commit(_) => {}
    }
    Slot(state)
}

impl<P: Watched> World<P> {
    /// The machine took a word, or said it.
    pub(super) fn shelve(&mut self, who: NodeNr, message: &Arc<P::Message>) {
        if P::SPREAD == Spread::Gossip {
            let slot = slot(&P::word(message));
            self.nodes[who.index()].shelf.put(slot, Arc::clone(message));
        }
    }

    /// What the journal kept of this height is at hand again.
    pub(super) fn shelve_journal(&mut self, who: NodeNr, records: &[JournalRecord]) {
        if P::SPREAD == Spread::Direct {
            return;
        }
        let shelf = &mut self.nodes[who.index()].shelf;
        shelf.clear();
        for record in records {
            if let JournalRecord::Message { message, .. } = record
                && let Some(message) = P::journaled(message)
            {
                shelf.put(slot(&P::word(&message)), Arc::new(message));
            }
        }
    }

    /// A node is somewhere else now: its peers learn of it, and offer what it lacks there.
    pub(super) fn tell_place(&mut self, who: NodeNr) {
        if P::SPREAD == Spread::Direct {
            return;
        }
        for peer in self.plan.all().filter(|peer| *peer != who) {
            if !self.net.is_cut(who, peer) {
                let wait = self.dice.time(self.plan.weather.delay_min, self.plan.weather.delay_max);
                self.queue.after(wait, Event::Offer { from: peer, to: who });
            }
        }
    }

    /// Every node begins to offer, each at its own time.
    pub(super) fn begin_gossip(&mut self) {
        if P::SPREAD == Spread::Gossip {
            for who in self.plan.all() {
                self.queue.after(REPEAT + Duration::from_millis(u64::from(who.0) * 7), Event::Gossip { node: who });
            }
        }
    }

    /// A node offers everybody what it lacks.
    pub(super) fn gossip(&mut self, who: NodeNr) {
        self.queue.after(REPEAT, Event::Gossip { node: who });
        for peer in self.plan.all().filter(|peer| *peer != who) {
            self.offer(who, peer);
        }
    }

    /// `from` gives `to` what it lacks.
    pub(super) fn offer(&mut self, from: NodeNr, to: NodeNr) {
        let (giver, taker) = (&self.nodes[from.index()], &self.nodes[to.index()]);
        let (Some(has), Some(lacks)) = (&giver.machine, &taker.machine) else { return };
        if giver.pauses > 0 || has.height() < lacks.height() {
            return;
        }
        let height = lacks.height();
        if has.height() == height {
            let words = giver.shelf.words.iter().filter(|word| lacks.regards(word) == Regard::Lacking);
            let words: Vec<Arc<P::Message>> = words.map(Arc::clone).collect();
            words.into_iter().for_each(|word| self.say(from, to, &word));
            return;
        }
        let ahead = has.height().get() - height.get();
        let Some(decision) = giver.disk.block(height) else { return };
        // Parts are wanted as soon as the votes are here, so they are said at once.
        let words = P::decided(decision).into_iter().filter(|word| lacks.regards(word) != Regard::Had);
        let words: Vec<P::Message> = words.collect();
        words.into_iter().for_each(|word| self.say(from, to, &Arc::new(word)));
        if ahead >= HEIGHTS_BEHIND_TO_FETCH {
            self.fetch_soon(to);
        }
    }
}

/// A decided block as words: the votes for it and its parts.
pub(super) fn decided(decision: &Decision) -> Vec<Message> {
    let commit = &decision.commit;
    let (height, round) = (commit.height, commit.round);
    let for_block = |index: &usize| matches!(commit.signatures[*index].sig, CommitSig::Commit(_));
    let votes = (0..commit.signatures.len()).filter(for_block).filter_map(|index| commit.extended_vote(index));
    let parts = decision.block.parts().parts().map(|part| Message::Part { height, round, part: part.clone() });
    votes.map(|vote| Message::Vote(Verified::trusted(vote))).chain(parts).collect()
}
