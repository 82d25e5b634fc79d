//! Peers: what they say goes to the machine it concerns, what the machines want said goes out.
//!
//! A vote may leave without a further sync of the journal: whatever it rests on was durable before it was signed, and
//! the signer remembers the vote itself before it gives the signature away (docs/CRASH_WINDOWS.md).

use super::direct::PeerStanding;
use super::machine::{Machine, Ordered};
use super::{Effect, Now, Replica, Waker, Whose, Work};
use crate::consensus::tendermint::Message;
use crate::consensus::{self, Reaction, RoundNote};
use crate::evidence::gossip::EvidenceGossipInput;
use crate::evidence::{self, Facts, Receipt};
use crate::gossip::{DirectSigners, GossipEffect, GossipInput, Heard, HeardDirect, Signers, Useful};
use crate::mempool::gossip::TxGossipInput;
use crate::mempool::{MempoolInput, Origin};
use crate::types::{Algorithm, Channel, ConsensusMessage, Evidence, Height, NodeId, PeerMessage, Source, Tx};
use std::convert::Infallible;
use std::sync::Arc;

/// A peer so many heights ahead has blocks that are quicker fetched than gathered from votes and parts; fewer are left
/// to consensus, which a slow disk or application holds up for a moment.
const HEIGHTS_AHEAD_TO_FETCH: u64 = 4;

/// What a peer is or does, as far as a replica is concerned.
#[derive(Debug)]
pub enum PeerInput {
    /// It is there.
    Up,
    /// It is gone.
    Down,
    /// It spoke about consensus.
    Heard(Box<Heard>),
    /// It spoke as replicas of Raft and PBFT do.
    HeardDirect(Box<HeardDirect>),
    /// It offers transactions.
    Txs(Vec<Tx>),
    /// It tells of misbehaviour; with each piece what the store knows about the height of the offence.
    Evidence(Vec<(Evidence, Option<Facts>)>),
    /// This many bytes for it have been written on a channel.
    Written(Channel, u64),
}

impl Replica {
    /// Takes in what a peer is or does.
    pub(super) fn step_peer(&mut self, now: Now, peer: NodeId, input: PeerInput, out: &mut Vec<Effect>) {
        match input {
            PeerInput::Up => {
                self.peers.insert(peer, PeerStanding::default());
                self.listen_to_peer(now, out);
                self.work.push_back(Work::Consensus(consensus::Input::PeerUp(peer)));
                self.gossip(now, GossipInput::PeerUp(peer), out);
                self.offer_txs(TxGossipInput::PeerUp(peer), out);
                self.tell_evidence(EvidenceGossipInput::PeerUp(peer), out);
                self.sync(now, crate::sync::SyncInput::PeerUp(peer), out);
            }
            PeerInput::Down => {
                self.peers.remove(&peer);
                self.work.push_back(Work::Consensus(consensus::Input::PeerDown(peer)));
                self.gossip(now, GossipInput::PeerDown(peer), out);
                if !mutant!("A92") {
                    self.mempool.forget_sender(peer);
                }
                self.offer_txs(TxGossipInput::PeerDown(peer), out);
                self.tell_evidence(EvidenceGossipInput::PeerDown(peer), out);
                self.sync(now, crate::sync::SyncInput::PeerDown(peer), out);
            }
            PeerInput::Heard(heard) => self.heard(now, peer, *heard, out),
            PeerInput::HeardDirect(heard) => self.heard_direct(now, peer, *heard, out),
            PeerInput::Txs(txs) => {
                self.work.push_back(Work::Mempool(MempoolInput::Submit { origin: Origin::Peer(peer), txs }));
            }
            PeerInput::Evidence(list) => self.take_evidence(peer, list, out),
            PeerInput::Written(Channel::Mempool, bytes) => self.offer_txs(TxGossipInput::Written(peer, bytes), out),
            PeerInput::Written(Channel::Evidence, bytes) => {
                self.tell_evidence(EvidenceGossipInput::Written(peer, bytes), out);
            }
            PeerInput::Written(channel, bytes) => self.gossip(now, GossipInput::Written { peer, channel, bytes }, out),
        }
    }

    fn heard(&mut self, now: Now, peer: NodeId, heard: Heard, out: &mut Vec<Effect>) {
        let (said, message) = match heard {
            Heard::Said(said, message) => (Some(said), message),
            Heard::Told(message) => (None, message),
        };
        let stands_at = match &message {
            ConsensusMessage::NewRoundStep(step) => Some(step.height),
            _ => None,
        };
        self.gossip(now, GossipInput::Heard { peer, message }, out);
        if let Some(height) = stands_at {
            self.offer_txs(TxGossipInput::PeerAt(peer, height), out);
            self.tell_evidence(EvidenceGossipInput::PeerAt(peer, height), out);
            self.compare_heights(now, height, out);
        }
        if let Some(said) = said {
            self.hand_to_consensus(now, peer, said, out);
        }
    }

    /// A peer well ahead is worth a look at its blocks. It says no more than that: consensus goes on until a block is
    /// here that more than two thirds signed.
    fn compare_heights(&mut self, now: Now, theirs: Height, out: &mut Vec<Effect>) {
        let ours = self.state.next_height();
        if self.consensus.is_some()
            && theirs.get() >= ours.get().saturating_add(if mutant!("A4") { 1 } else { HEIGHTS_AHEAD_TO_FETCH })
        {
            self.sync(now, crate::sync::SyncInput::Behind(theirs), out);
        }
    }

    /// A proposal, a part or a vote, its signatures checked.
    fn hand_to_consensus(&mut self, now: Now, peer: NodeId, said: Message, out: &mut Vec<Effect>) {
        if !self.is_harmless(&said, out) {
            return;
        }
        let (useful, vote) = match &said {
            Message::Proposal(_) => (None, None),
            Message::Part { .. } => (Some(Useful::Part), None),
            Message::Vote(vote) => {
                (Some(Useful::Vote), Some((vote.height, vote.round, vote.kind, vote.validator_index)))
            }
        };
        let input = consensus::Input::Received { source: Source::Peer(peer), message: said };
        let Some(machine) = &mut self.consensus else { return };
        let (reaction, ordered) = machine.heard(now, input);
        self.advance(now, &reaction, ordered, out);
        match (reaction, useful) {
            (Reaction::Accepted, Some(what)) => self.gossip(now, GossipInput::Useful { peer, what }, out),
            (Reaction::PeerFault(why), _) => out.push(Effect::Drop { peer, why: why.to_owned() }),
            (Reaction::Later(_), _) => out.extend(vote.map(Effect::HearAgain)),
            (Reaction::Accepted, None) | (Reaction::Ignored(_), _) => {}
        }
    }

    /// Steps consensus by a fact of our own. What peers say comes in by [`Replica::hand_to_consensus`].
    pub(super) fn step_consensus(&mut self, now: Now, input: consensus::Input<Infallible>, out: &mut Vec<Effect>) {
        let Some(machine) = &mut self.consensus else { return };
        let (reaction, ordered) = machine.told(now, input);
        self.advance(now, &reaction, ordered, out);
    }

    /// Carries out what a step of consensus ordered and, when anything came of it, tells gossip.
    pub(super) fn advance(&mut self, now: Now, reaction: &Reaction, ordered: Ordered, out: &mut Vec<Effect>) {
        if *reaction == Reaction::Accepted || !ordered.is_empty() {
            let notes = self.route_consensus(now, ordered, out);
            self.consensus_advanced(now, notes, out);
        }
    }

    /// Whose signatures count may have changed, and peers may lack something new.
    pub(super) fn consensus_advanced(&mut self, now: Now, notes: Vec<RoundNote>, out: &mut Vec<Effect>) {
        if let Some(machine) = &self.consensus {
            let at = Some((machine.height(), machine.round()));
            if self.signers_at != at {
                self.signers_at = at;
                let whose = match machine.as_tendermint() {
                    Some(machine) => Whose::Gossiped(Arc::new(Signers::of(&self.state.chain_id, machine))),
                    None => Whose::Direct(Arc::new(DirectSigners::of(&self.state))),
                };
                out.push(Effect::Signers(Some(whose)));
            }
        }
        self.gossip(now, GossipInput::Advanced(notes), out);
    }

    /// Consensus stops until [`Replica::begin`]: nobody's votes count meanwhile, but our own key may be heard in them.
    pub(super) fn stop_consensus(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.refuse_all_reads("consensus stopped: this node fetches blocks", out);
        self.newest_round = self.consensus.take().map_or(self.newest_round, |machine| machine.round());
        self.signers_at = None;
        out.push(Effect::Signers(self.overheard()));
        self.gossip(now, GossipInput::Paused, out);
    }

    /// Steps the consensus gossip.
    pub(super) fn gossip(&mut self, now: Now, input: GossipInput, out: &mut Vec<Effect>) {
        if self.state.algorithm != Algorithm::Tendermint {
            return; // its replicas speak for themselves
        }
        let mut effects = Vec::new();
        self.gossip.step(now, input, self.consensus.as_ref().and_then(Machine::as_tendermint), &mut effects);
        out.extend(effects.into_iter().map(|effect| match effect {
            GossipEffect::Send(peer, message) => Effect::Tell { peer, message: PeerMessage::Consensus(message) },
            GossipEffect::SendAll(peers, message) => {
                Effect::TellEach { peers, message: PeerMessage::Consensus(message) }
            }
            GossipEffect::Broadcast(message) => Effect::TellAll(PeerMessage::Consensus(message)),
            GossipEffect::LoadDecided(height) => Effect::LoadDecided(height),
            GossipEffect::WakeAt(at) => Effect::WakeAt { waker: Waker::Gossip, at },
            GossipEffect::Drop(peer, why) => Effect::Drop { peer, why },
            GossipEffect::Good(peer) => Effect::Good(peer),
        }));
    }

    pub(super) fn offer_txs(&mut self, input: TxGossipInput, out: &mut Vec<Effect>) {
        let mut offers = Vec::new();
        self.tx_gossip.step(input, &self.mempool, &mut offers);
        let tell = |offer: crate::mempool::gossip::Offer| Effect::Tell {
            peer: offer.peer,
            message: PeerMessage::Txs(offer.txs),
        };
        out.extend(offers.into_iter().map(tell));
    }

    pub(super) fn tell_evidence(&mut self, input: EvidenceGossipInput, out: &mut Vec<Effect>) {
        let mut tellings = Vec::new();
        self.evidence_gossip.step(input, &self.evidence, &self.state, &mut tellings);
        let tell = |telling: evidence::gossip::Telling| Effect::Tell {
            peer: telling.peer,
            message: PeerMessage::Evidence(telling.evidence),
        };
        out.extend(tellings.into_iter().map(tell));
    }

    /// Evidence from a peer: what is false everywhere is the peer's fault, what we cannot take is nobody's.
    fn take_evidence(&mut self, peer: NodeId, list: Vec<(Evidence, Option<Facts>)>, out: &mut Vec<Effect>) {
        for (evidence, facts) in list {
            match self.evidence.receive(evidence, facts.as_ref(), &self.state) {
                Receipt::New(key) | Receipt::Known(key) => {
                    self.tell_evidence(EvidenceGossipInput::Heard(peer, key), out);
                }
                Receipt::Excused(_) => {}
                Receipt::PeerFault(error) => {
                    out.push(Effect::Drop { peer, why: format!("sent invalid evidence: {error}") });
                    if !mutant!("A8") {
                        break;
                    }
                }
            }
        }
        if !mutant!("A94") {
            self.tell_evidence(EvidenceGossipInput::Changed, out);
        }
    }
}
