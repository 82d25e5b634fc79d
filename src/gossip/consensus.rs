//! The consensus channels: what is told to all, and for each fact which peers are given something.

use super::check::check_height;
use super::decided::Shelf;
use super::give::Ours;
use super::majority::REPEAT_AFTER;
use super::peer::{At, Commit, Help, Peer, VoteKey};
use super::plan::{Item, Plan, say};
use super::{Decided, GossipEffect, GossipInput, Useful};
use crate::consensus::tally::VoteSet;
use crate::consensus::tendermint::Tendermint;
use crate::consensus::{Now, RoundNote, Tick};
use crate::types::{
    Channel, ConsensusMessage, Height, NewRoundStep, NodeId, PartSet, PartSetHeader, PeerRoundState, Round, Step, Vote,
    VoteKind,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A peer is worth remembering after each so many votes or parts of use (votesToContributeToBecomeGoodPeer).
pub const USEFUL_TO_BE_GOOD: u64 = 10_000;

/// Bookkeeping of the consensus channels.
#[derive(Debug, Default)]
pub struct ConsensusGossip {
    peers: BTreeMap<NodeId, Peer>,
    /// Where all peers were told we stand; none while nothing is said.
    told: Option<At>,
    /// The block all peers were told about last.
    told_block: Option<ToldBlock>,
    shelf: Shelf,
    /// When we are woken; none when nobody needs it.
    wake_at: Option<Tick>,
    /// The first height of the chain, once known.
    initial_height: Option<Height>,
    /// How many validators decide our height and decided the last, for showing what peers have.
    members: Vec<(Height, usize)>,
}

/// What NewValidBlock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ToldBlock {
    height: Height,
    round: Round,
    header: PartSetHeader,
    complete: bool,
}

impl ConsensusGossip {
    /// Nobody is there yet.
    pub fn new() -> ConsensusGossip {
        ConsensusGossip::default()
    }

    /// Takes one fact into account. `machine` is read, never changed; none before consensus begins.
    pub fn step(&mut self, now: Now, input: GossipInput, machine: Option<&Tendermint>, out: &mut Vec<GossipEffect>) {
        match input {
            GossipInput::PeerUp(id) => {
                self.peers.insert(id, Peer::new(now));
                self.greet(now, id, machine, out);
            }
            GossipInput::PeerDown(id) => {
                self.peers.remove(&id);
            }
            GossipInput::Heard { peer, message } => self.on_heard(now, peer, message, machine, out),
            GossipInput::Useful { peer, what } => self.count_useful(peer, what, out),
            GossipInput::Advanced(notes) => {
                if let Some(machine) = machine {
                    self.on_advanced(now, &notes, machine, out);
                }
            }
            GossipInput::Paused => {
                self.told = None;
                self.told_block = None;
            }
            GossipInput::Written { peer, channel, bytes } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.account.written(channel, bytes);
                    self.give_to(now, &[peer], machine, out);
                }
            }
            GossipInput::DecidedLoaded { height, decided } => self.on_loaded(now, height, decided, machine, out),
            GossipInput::Woken => self.on_woken(now, machine, out),
        }
    }

    /// What is known of each peer.
    pub fn peer_states(&self) -> Vec<PeerRoundState> {
        let members = |height| self.members.iter().find(|(of, _)| *of == height).map(|(_, count)| *count);
        self.peers.iter().map(|(id, peer)| peer.state(*id, members)).collect()
    }

    #[cfg(test)]
    pub(super) fn kept_blocks(&self) -> usize {
        self.shelf.len()
    }

    #[cfg(test)]
    pub(super) fn bytes_held_for(&self, id: &NodeId) -> usize {
        self.peers.get(id).map_or(0, Peer::bytes_held)
    }

    /// A new peer is told where we stand, and which block we lack if we lack one (CometBFT leaves that out; a peer that
    /// had no part in the round could not know).
    fn greet(&mut self, now: Now, id: NodeId, machine: Option<&Tendermint>, out: &mut Vec<GossipEffect>) {
        let Some(machine) = self.speaking(machine) else { return };
        out.push(GossipEffect::Send(id, ConsensusMessage::NewRoundStep(new_round_step(now, machine))));
        if let Some((block, set)) = block_to_tell(machine).filter(|(block, _)| !block.complete) {
            out.push(GossipEffect::Send(id, new_valid_block(machine, block, set)));
        }
    }

    /// The machine, while we say anything.
    fn speaking<'a>(&self, machine: Option<&'a Tendermint>) -> Option<&'a Tendermint> {
        machine.filter(|_| self.told.is_some())
    }

    /// A peer said something.
    fn on_heard(
        &mut self,
        now: Now,
        id: NodeId,
        message: ConsensusMessage,
        machine: Option<&Tendermint>,
        out: &mut Vec<GossipEffect>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut plan = Plan::default();
        let ours = machine.filter(|_| self.told.is_some()).map(|machine| Ours::new(machine, &self.shelf));
        match message {
            ConsensusMessage::NewRoundStep(step) => {
                let outcome = take_step(peer, now, &step, self.initial_height);
                if let Err(why) = outcome {
                    out.push(GossipEffect::Drop(id, why.to_owned()));
                    self.peers.remove(&id);
                    return;
                }
            }
            ConsensusMessage::NewValidBlock { height, round, parts, have, is_commit } => {
                let commit = if is_commit { Commit::Decided } else { Commit::Open };
                if peer.known.apply_new_valid_block((height, round), parts, &have, commit) {
                    peer.help = Help::Needed;
                }
            }
            ConsensusMessage::ProposalPol { height, pol_round, have } => {
                peer.known.apply_proposal_pol(height, pol_round, &have);
            }
            ConsensusMessage::Proposal(proposal) => peer.known.set_has_proposal(&proposal),
            // What follows only shows that the peer needs less: there is nothing to give.
            ConsensusMessage::BlockPart { height, round, part } => {
                return peer.known.set_has_part(height, round, part.index);
            }
            ConsensusMessage::Vote(vote) => {
                peer.note_told(&vote);
                return peer.known.set_has_vote(vote.height, vote.round, vote.kind, vote.validator_index);
            }
            ConsensusMessage::HasVote { height, round, kind, index } => {
                return peer.known.set_has_vote(height, round, kind, index);
            }
            ConsensusMessage::VoteSetMaj23(votes) => {
                let answer = ours.and_then(|ours| ours.answer(votes));
                return out.extend(answer.and_then(|answer| book(peer, id, answer)));
            }
            ConsensusMessage::VoteSetBits { votes, have } => {
                if !peer.take_answer(votes.round, votes.kind) && !mutant!("G10") {
                    return;
                }
                peer.help = Help::Needed;
                if let Some(ours) = ours {
                    ours.corrected(id, peer, votes, &have, &mut plan);
                }
            }
        }
        plan.order(out);
        self.give_to(now, &[id], machine, out);
    }

    /// Gives some peers all they lack.
    fn give_to(&mut self, now: Now, ids: &[NodeId], machine: Option<&Tendermint>, out: &mut Vec<GossipEffect>) {
        let Some(machine) = self.speaking(machine) else { return };
        let mut plan = Plan::default();
        let mut loads = Vec::new();
        let mut claims = false;
        let ours = Ours::new(machine, &self.shelf);
        for id in ids {
            let Some(peer) = self.peers.get_mut(id) else { continue };
            loads.extend(ours.give(*id, peer, &mut plan));
            claims = claims || self.wake_at.is_none() && !ours.claims(peer).is_empty();
        }
        plan.order(out);
        self.load(loads, out);
        if claims {
            self.wake_later(now, out);
        }
    }

    fn load(&mut self, heights: Vec<Height>, out: &mut Vec<GossipEffect>) {
        for height in heights {
            if self.shelf.begin_load(height) {
                out.push(GossipEffect::LoadDecided(height));
            }
        }
    }

    fn wake_later(&mut self, now: Now, out: &mut Vec<GossipEffect>) {
        if self.wake_at.is_none() {
            let at = now.tick.plus(REPEAT_AFTER);
            self.wake_at = Some(at);
            out.push(GossipEffect::WakeAt(at));
        }
    }

    /// Consensus took a step.
    fn on_advanced(&mut self, now: Now, notes: &[RoundNote], machine: &Tendermint, out: &mut Vec<GossipEffect>) {
        self.note_height(machine);
        // A new round makes peers forget what they know of our parts; a new step does not, and a peer that hears of the
        // step Commit begins to send them.
        if self.told.is_some_and(|told| (told.height, told.round) == (machine.height(), machine.round())) {
            self.tell_block(machine, out);
        }
        self.tell_step(now, machine, out);
        self.tell_block(machine, out);
        let counted: Vec<&Vote> = notes.iter().filter_map(counted_vote).collect();
        let mut plan = Plan::default();
        let (mut loads, mut claims) = (Vec::new(), false);
        let ours = Ours::new(machine, &self.shelf);
        let second: Vec<&Vote> = counted.iter().filter(|vote| is_second(machine, vote)).copied().collect();
        for (id, peer) in &mut self.peers {
            for vote in &second {
                push_second_vote(*id, peer, vote, &mut plan);
            }
            loads.extend(ours.give(*id, peer, &mut plan));
            claims = claims || self.wake_at.is_none() && !ours.claims(peer).is_empty();
        }
        let has_votes: Vec<(Vec<NodeId>, &Vote)> =
            counted.iter().map(|vote| (self.unaware_of(vote, &plan), *vote)).collect();
        plan.order(out);
        for (to, vote) in has_votes {
            self.say_to(to, has_vote(vote), out);
        }
        self.load(loads, out);
        self.claim_new_majorities(machine, &counted, out);
        if claims {
            self.wake_later(now, out);
        }
    }

    /// Remembers what outlives the height.
    fn note_height(&mut self, machine: &Tendermint) {
        let height = machine.height();
        self.initial_height = Some(machine.initial_height());
        if self.members.first().is_none_or(|(of, _)| *of != height) {
            let last = machine.last_validators().and_then(|last| Some((height.previous()?, last.len())));
            self.members = [Some((height, machine.validators().len())), last].into_iter().flatten().collect();
        }
        if self.shelf.get(height).is_some() {
            return;
        }
        let Some((round, block_id)) = machine.tally().decision() else { return };
        let commit = machine.tally().set(round, VoteKind::Precommit).and_then(VoteSet::to_commit);
        if let (Some(block), Some(commit)) = (machine.block(&block_id), commit) {
            self.keep(Decided { block: Arc::clone(block), commit: Arc::new(commit) });
        }
    }

    fn keep(&mut self, decided: Decided) {
        let peers = &self.peers;
        let needed = |height| peers.values().any(|peer| peer.known.at.is_some_and(|at| at.height == height));
        self.shelf.keep(decided, needed);
    }

    /// NewRoundStep to all, whenever height, round or step differ from what they were told.
    fn tell_step(&mut self, now: Now, machine: &Tendermint, out: &mut Vec<GossipEffect>) {
        let at = At { height: machine.height(), round: machine.round(), step: machine.current_step() };
        if self.told.replace(at) != Some(at) && !self.peers.is_empty() {
            out.push(GossipEffect::Broadcast(ConsensusMessage::NewRoundStep(new_round_step(now, machine))));
        }
    }

    /// NewValidBlock to all: when a quorum of prevotes or precommits says which block is needed, and again when it is
    /// complete here, so that nobody sends us more of it.
    fn tell_block(&mut self, machine: &Tendermint, out: &mut Vec<GossipEffect>) {
        let Some((block, set)) = block_to_tell(machine) else { return };
        let known = self.told_block.is_some_and(|told| {
            let same_block = (told.height, told.header) == (block.height, block.header);
            told == block || same_block && told.complete && told.round == block.round
        });
        self.told_block = Some(block);
        if !known && !self.peers.is_empty() {
            out.push(GossipEffect::Broadcast(new_valid_block(machine, block, set)));
        }
    }

    /// Who does not know that we have this vote. CometBFT tells all. Left out are those who get the vote itself in this
    /// step, which tells them the same (Receive calls SetHasVote before anything else), and those who sent it to us:
    /// they marked it as ours when they did.
    fn unaware_of(&self, vote: &Vote, plan: &Plan) -> Vec<NodeId> {
        let key = VoteKey::from(vote);
        let aware = |id: &NodeId, peer: &Peer| peer.told(&key) || plan.gives(id, &Item::Vote(key));
        self.peers.iter().filter(|(id, peer)| !aware(id, peer)).map(|(id, _)| *id).collect()
    }

    fn say_to(&self, to: Vec<NodeId>, message: ConsensusMessage, out: &mut Vec<GossipEffect>) {
        if to.len() == self.peers.len() && !to.is_empty() {
            out.push(GossipEffect::Broadcast(message));
        } else {
            say(to, message, out);
        }
    }

    /// A majority that came about with these votes is claimed at once where a peer may not see it by itself.
    fn claim_new_majorities(&mut self, machine: &Tendermint, counted: &[&Vote], out: &mut Vec<GossipEffect>) {
        let ours = Ours::new(machine, &self.shelf);
        for vote in counted.iter().filter(|vote| vote.height == machine.height()) {
            let Some(set) = machine.tally().set(vote.round, vote.kind) else { continue };
            if vote.round == Round::ZERO && !set.has_conflict() {
                continue;
            }
            let Some(claim) = ours.claim(vote.round, vote.kind) else { continue };
            for (id, peer) in &mut self.peers {
                if !peer.was_told_majority(claim.round, claim.kind) && ours.claims(peer).contains(&claim) {
                    peer.note_claim(claim.round, claim.kind);
                    out.push(GossipEffect::Send(*id, ConsensusMessage::VoteSetMaj23(claim)));
                }
            }
        }
    }

    /// Claims again what peers that do not move may have missed.
    fn on_woken(&mut self, now: Now, machine: Option<&Tendermint>, out: &mut Vec<GossipEffect>) {
        self.wake_at = None;
        let Some(machine) = self.speaking(machine) else { return };
        let ours = Ours::new(machine, &self.shelf);
        let (mut loads, mut again) = (Vec::new(), false);
        for (id, peer) in &mut self.peers {
            let claims = ours.claims(peer);
            loads.extend(ours.needed_for_claim(peer));
            again |= !claims.is_empty();
            if now.tick.since(peer.moved_at) < REPEAT_AFTER {
                continue;
            }
            for claim in claims {
                peer.note_claim(claim.round, claim.kind);
                out.push(GossipEffect::Send(*id, ConsensusMessage::VoteSetMaj23(claim)));
            }
        }
        self.load(loads, out);
        if again {
            self.wake_later(now, out);
        }
    }

    /// A decided block was read for a peer that lags behind.
    fn on_loaded(
        &mut self,
        now: Now,
        height: Height,
        decided: Option<Decided>,
        machine: Option<&Tendermint>,
        out: &mut Vec<GossipEffect>,
    ) {
        self.shelf.end_load(height);
        let there = self.peers.iter_mut().filter(|(_, peer)| peer.known.at.is_some_and(|at| at.height == height));
        let mut ids = Vec::new();
        for (id, peer) in there {
            ids.push(*id);
            if decided.is_none() {
                peer.help = Help::Unavailable;
            }
        }
        if let Some(decided) = decided.filter(|decided| decided.commit.height == height) {
            self.keep(decided);
        }
        self.give_to(now, &ids, machine, out);
    }

    fn count_useful(&mut self, id: NodeId, what: Useful, out: &mut Vec<GossipEffect>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let count = match what {
            Useful::Vote => &mut peer.useful_votes,
            Useful::Part => &mut peer.useful_parts,
        };
        *count += 1;
        if count.is_multiple_of(USEFUL_TO_BE_GOOD) {
            out.push(GossipEffect::Good(id));
        }
    }
}

/// NewRoundStep of a peer; the error is its fault.
fn take_step(peer: &mut Peer, now: Now, message: &NewRoundStep, initial: Option<Height>) -> Result<(), &'static str> {
    let Some(step) = Step::from_number(message.step) else {
        return Err("NewRoundStep with a step that does not exist");
    };
    if let Some(initial) = initial.filter(|_| !mutant!("G11")) {
        check_height(message, initial)?;
    }
    if peer.known.apply_new_round_step(now.wall, message, step) {
        peer.move_on(now.tick);
    }
    Ok(())
}

/// An answer on a channel with an account, if there is room; what a peer does not read it is not told.
fn book(peer: &mut Peer, id: NodeId, message: ConsensusMessage) -> Option<GossipEffect> {
    let bytes = message.encode().len() as u64;
    peer.account.take(Channel::VoteSetBits, bytes).then_some(GossipEffect::Send(id, message))
}

/// True when this vote makes its validator an equivocator both of whose votes count here.
fn is_second(machine: &Tendermint, vote: &Vote) -> bool {
    let set = machine.tally().set(vote.round, vote.kind).filter(|_| vote.height == machine.height());
    set.is_some_and(|set| set.voted_twice(vote.validator_index))
}

/// An equivocator's second vote goes to everybody who may have only the first: what is known of a peer does not tell
/// the two apart. Who cannot get it now finds out by a claim of a majority.
fn push_second_vote(id: NodeId, peer: &mut Peer, vote: &Vote, plan: &mut Plan) {
    let key = VoteKey::from(vote);
    if !peer.told(&key) && peer.known.votes(vote.height, vote.round, vote.kind).is_some() {
        plan.give(id, &mut peer.account, Item::Vote(key), || ConsensusMessage::Vote(vote.clone()));
    }
}

fn counted_vote(note: &RoundNote) -> Option<&Vote> {
    match note {
        RoundNote::Vote(vote) => Some(vote),
        _ => None,
    }
}

fn has_vote(vote: &Vote) -> ConsensusMessage {
    let Vote { height, round, kind, validator_index: index, .. } = *vote;
    ConsensusMessage::HasVote { height, round, kind, index }
}

/// makeRoundStepMessage.
fn new_round_step(now: Now, machine: &Tendermint) -> NewRoundStep {
    let (wall, start) = (now.wall, machine.start_time());
    let seconds =
        if wall >= start { wall.since(start).as_secs() as i64 } else { -(start.since(wall).as_secs() as i64) };
    NewRoundStep {
        height: machine.height(),
        round: machine.round(),
        step: machine.current_step() as u32,
        seconds_since_start_time: seconds,
        last_commit_round: machine.last_commit().map(VoteSet::round),
    }
}

/// The block more than two thirds precommitted, or prevoted in this round, as far as it is here; before that the
/// proposed block once it is complete, which CometBFT does not say so early: nobody need send us more of it. A proposal
/// justified by an earlier round must wait: a CometBFT peer that hears of the block before it knows that we have the
/// proposal gives us none of the prevotes that justify it (SetHasProposal).
fn block_to_tell(machine: &Tendermint) -> Option<(ToldBlock, &PartSet)> {
    let (height, round) = (machine.height(), machine.round());
    let decided = machine.tally().decision().map(|(_, id)| id);
    let polka = || machine.tally().majority(round, VoteKind::Prevote).flatten();
    let told = |header, set: &PartSet| ToldBlock { height, round, header, complete: set.is_complete() };
    if let Some(id) = decided.or_else(polka) {
        let set = machine.parts(&id.parts)?;
        return Some((told(id.parts, set), set));
    }
    let fresh = machine.proposal_of(round).filter(|proposal| proposal.pol_round.is_none())?;
    let set = machine.parts(&fresh.block_id.parts).filter(|set| set.is_complete())?;
    Some((told(fresh.block_id.parts, set), set))
}

/// broadcastNewValidBlockMessage.
fn new_valid_block(machine: &Tendermint, block: ToldBlock, set: &PartSet) -> ConsensusMessage {
    ConsensusMessage::NewValidBlock {
        height: block.height,
        round: block.round,
        parts: block.header,
        have: set.bits().clone(),
        is_commit: machine.tally().decision().is_some(),
    }
}
