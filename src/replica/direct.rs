//! Replicas of Raft and PBFT speak to each other themselves: their words go to the machine, and what they show about
//! the speaker to those who want to know.

use super::{Effect, Now, Replica};
use crate::consensus::{self, Direct, RECENT_BLOCKS_MAX, Reaction};
use crate::evidence::gossip::EvidenceGossipInput;
use crate::gossip::HeardDirect;
use crate::mempool::gossip::TxGossipInput;
use crate::sync::SyncInput;
use crate::types::{Height, NodeId, Source};

/// The protocol hands blocks to a peer a few behind; who is further behind fetches.
const HEIGHTS_AHEAD_TO_FETCH: u64 = RECENT_BLOCKS_MAX as u64 + 1;

impl Replica {
    /// Takes in what a replica said, its signatures checked.
    pub(super) fn heard_direct(&mut self, now: Now, peer: NodeId, heard: HeardDirect, out: &mut Vec<Effect>) {
        match heard {
            HeardDirect::Said(said) => self.hand_over(now, peer, said, out),
            HeardDirect::Beyond(height) => self.look_ahead(now, height, out),
            HeardDirect::Useless => {}
        }
    }

    fn hand_over(&mut self, now: Now, peer: NodeId, said: Direct, out: &mut Vec<Effect>) {
        if let Some(height) = said.sender_height() {
            self.peer_stands_at(peer, height, out);
        }
        if let Direct::Vote(vote) = &said
            && !self.is_harmless_vote(vote, out)
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
    fn peer_stands_at(&mut self, peer: NodeId, height: Height, out: &mut Vec<Effect>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if known.is_none_or(|known| known < height) {
            *known = Some(height);
            self.offer_txs(TxGossipInput::PeerAt(peer, height), out);
            self.tell_evidence(EvidenceGossipInput::PeerAt(peer, height), out);
        }
    }
}
