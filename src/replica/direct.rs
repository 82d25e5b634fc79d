//! Replicas of Raft and PBFT speak to each other themselves: their words go to the machine, and what they show about
//! the speaker to those who want to know.

use super::{Effect, Now, Replica};
use crate::consensus::{self, Direct, RECENT_BLOCKS_MAX, Reaction};
use crate::evidence::gossip::EvidenceGossipInput;
use crate::gossip::HeardDirect;
use crate::mempool::gossip::TxGossipInput;
use crate::sync::SyncInput;
use crate::types::{Height, NodeId, PeerRoundState, Round, Source, Step, Time};

/// The protocol hands blocks to a peer a few behind; who is further behind fetches.
const HEIGHTS_AHEAD_TO_FETCH: u64 = RECENT_BLOCKS_MAX as u64 + 1;

/// Where a peer stands, as far as it said: the highest height it is to decide, and the newest round there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PeerStanding {
    height: Option<Height>,
    /// Its term or view; not every message says it.
    round: Option<Round>,
}

impl PeerStanding {
    /// Takes in what it said now. True when its height is news.
    pub(super) fn note(&mut self, height: Height, round: Option<Round>) -> bool {
        let higher = self.height.is_none_or(|known| known < height);
        if higher {
            *self = PeerStanding { height: Some(height), round: round.max(self.round) };
        } else if self.height == Some(height) {
            self.round = round.max(self.round);
        }
        higher
    }

    /// As routes tell it. Replicas that speak directly do not say what they have.
    pub(super) fn state(&self, peer: NodeId) -> PeerRoundState {
        PeerRoundState {
            peer,
            height: self.height,
            round: self.round,
            step: Step::NewHeight,
            start_time: Time::UNIX_EPOCH,
            has_proposal: false,
            parts: None,
            proposal_pol: None,
            prevotes: None,
            precommits: None,
            last_commit: None,
            catch_up_commit: None,
            useful_votes: 0,
            useful_parts: 0,
        }
    }
}

impl Replica {
    /// Takes in what a replica said, its signatures checked.
    pub(super) fn heard_direct(&mut self, now: Now, peer: NodeId, heard: HeardDirect, out: &mut Vec<Effect>) {
        match heard {
            HeardDirect::Said(said) => self.hand_over(now, peer, said, out),
            HeardDirect::Beyond(height) => {
                self.peer_stands_at(peer, height, None, out);
                self.look_ahead(now, height, out);
            }
            HeardDirect::Useless => {}
        }
    }

    fn hand_over(&mut self, now: Now, peer: NodeId, said: Direct, out: &mut Vec<Effect>) {
        if let Some(height) = said.sender_height() {
            self.peer_stands_at(peer, height, said.sender_round(), out);
        }
        if let Direct::Vote(vote) = &said
            && !self.is_harmless_vote(vote, out)
        {
            return;
        }
        if let Direct::Statement(statement) = &said
            && !self.is_harmless_statement(statement, out)
        {
            return;
        }
        let Some(machine) = &mut self.consensus else { return };
        let input = consensus::Input::Received { source: Source::Peer(peer), message: said };
        let (reaction, ordered) = machine.heard_direct(now, input);
        self.advance(now, &reaction, ordered, out);
        if let Reaction::PeerFault(why) = reaction {
            out.push(Effect::Drop { peer, why: why.to_owned() });
        }
    }

    /// Somebody speaks of a height whose validators we do not know yet. It need not be true: consensus goes on until a
    /// block is here that a quorum signed.
    fn look_ahead(&mut self, now: Now, theirs: Height, out: &mut Vec<Effect>) {
        let ours = self.state.next_height();
        if self.consensus.is_some() && theirs.get() >= ours.get().saturating_add(HEIGHTS_AHEAD_TO_FETCH) {
            self.sync(now, SyncInput::Behind(theirs), out);
        }
    }

    /// Transactions and evidence are for peers who can judge them.
    fn peer_stands_at(&mut self, peer: NodeId, height: Height, round: Option<Round>, out: &mut Vec<Effect>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if known.note(height, round) {
            self.offer_txs(TxGossipInput::PeerAt(peer, height), out);
            self.tell_evidence(EvidenceGossipInput::PeerAt(peer, height), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Address;

    #[test]
    fn a_peer_stands_where_it_was_highest_and_a_new_term_there_counts() {
        let [five, six] = [5, 6].map(Height::new);
        let round = |number| Some(Round::new(number));
        let mut peer = PeerStanding::default();
        assert!(peer.note(five, round(1)) && !peer.note(five, round(3)), "only a height is news");
        assert!(!peer.note(five, None) && peer.note(six, None), "without a term the last one stays");
        assert!(!peer.note(five, round(9)), "what was said late does not count");
        let state = peer.state(NodeId::new(Address::new([1; 20])));
        assert_eq!((state.height, state.round), (Some(six), round(3)));
    }
}
