//! One node among peers that say what the story wants.

use super::made::{block, node_id, now_at, signature_over, start, validators};
use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{Effect, Input, Protocol, RoundNote, Tick};
use crate::crypto::Verified;
use crate::gossip::{
    ConsensusGossip, Decided, GossipEffect, GossipInput, LOADS_MAX, REPEAT_AFTER, USEFUL_TO_BE_GOOD, Useful,
};
use crate::types::{
    BitArray, BlockId, Channel, Commit, CommitSig, ConsensusMessage, ExtendedCommit, Height, NewRoundStep, NodeId,
    Round, SignedPart, Source, Step, Time, Validator, Vote, VoteKind, VotesFor,
};
use std::time::Duration;

/// A full node of seven validators' network, at height 1 unless said; it signs nothing itself.
struct Scene {
    machine: Tendermint,
    gossip: ConsensusGossip,
    now: Tick,
}

impl Scene {
    fn new() -> Scene {
        Scene::at(Height::FIRST)
    }

    fn at(height: Height) -> Scene {
        let mut out = Vec::new();
        let begin = start(&validators(7), None, height);
        let machine = Tendermint::recover(now_at(Tick(0)), begin, &[], &mut out);
        let mut scene = Scene { machine, gossip: ConsensusGossip::new(), now: Tick(0) };
        scene.gossip(GossipInput::Advanced(Vec::new()));
        scene
    }

    fn gossip(&mut self, input: GossipInput) -> Vec<GossipEffect> {
        let mut out = Vec::new();
        self.gossip.step(now_at(self.now), input, Some(&self.machine), &mut out);
        out
    }

    fn hear(&mut self, peer: NodeId, message: ConsensusMessage) -> Vec<GossipEffect> {
        self.gossip(GossipInput::Heard { peer, message })
    }

    /// A peer comes and says that it prevotes in round 0.
    fn join(&mut self, peer: NodeId) {
        self.gossip(GossipInput::PeerUp(peer));
        self.hear(peer, step(1, 0, Step::Prevote));
    }

    /// A vote reaches consensus through a peer, or from nowhere.
    fn vote(&mut self, from: Option<NodeId>, vote: &Vote) -> Vec<GossipEffect> {
        if let Some(peer) = from {
            self.hear(peer, ConsensusMessage::Vote(vote.clone()));
        }
        self.consensus(Message::Vote(Verified::trusted(vote.clone())))
    }

    /// Something reaches consensus.
    fn consensus(&mut self, message: Message) -> Vec<GossipEffect> {
        let source = Source::Peer(node_id(99));
        let mut out = Vec::new();
        self.machine.step(now_at(self.now), Input::Received { source, message }, &mut out);
        let note = |effect| if let Effect::Note(note) = effect { Some(note) } else { None };
        let notes: Vec<RoundNote> = out.into_iter().filter_map(note).collect();
        self.gossip(GossipInput::Advanced(notes))
    }

    fn wake(&mut self, after: Duration) -> Vec<GossipEffect> {
        self.now = self.now.plus(after);
        self.gossip(GossipInput::Woken)
    }
}

fn step(height: u64, round: u32, step: Step) -> ConsensusMessage {
    ConsensusMessage::NewRoundStep(NewRoundStep {
        height: Height::new(height),
        round: Round::new(round),
        step: step as u32,
        seconds_since_start_time: 0,
        last_commit_round: (height > 1).then_some(Round::ZERO),
    })
}

fn vote(from: usize, kind: VoteKind, block_id: Option<BlockId>) -> Vote {
    Vote {
        kind,
        height: Height::FIRST,
        round: Round::ZERO,
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address: validators(7).members()[from].address,
        validator_index: from as u32,
        signature: signature_over(&format!("{from} {kind:?} {block_id:?}")),
        extension: bytes::Bytes::new(),
        extension_signature: None,
    }
}

/// What each effect says to whom; everybody is `None`.
fn said(effects: &[GossipEffect]) -> Vec<(Option<NodeId>, &ConsensusMessage)> {
    let mut said = Vec::new();
    for effect in effects {
        match effect {
            GossipEffect::Send(to, message) => said.push((Some(*to), message)),
            GossipEffect::SendAll(to, message) => said.extend(to.iter().map(|to| (Some(*to), message))),
            GossipEffect::Broadcast(message) => said.push((None, message)),
            _ => {}
        }
    }
    said
}

fn votes_to(effects: &[GossipEffect], peer: NodeId) -> Vec<Vote> {
    let vote = |(to, message): (Option<NodeId>, &ConsensusMessage)| match message {
        ConsensusMessage::Vote(vote) if to == Some(peer) => Some(vote.clone()),
        _ => None,
    };
    said(effects).into_iter().filter_map(vote).collect()
}

fn claims(effects: &[GossipEffect]) -> Vec<(NodeId, VotesFor)> {
    let claim = |(to, message): (Option<NodeId>, &ConsensusMessage)| match message {
        ConsensusMessage::VoteSetMaj23(votes) => Some((to.expect("claims go to one"), *votes)),
        _ => None,
    };
    said(effects).into_iter().filter_map(claim).collect()
}

#[test]
fn a_new_peer_is_told_at_once_where_we_stand() {
    let mut scene = Scene::new();
    let told = scene.gossip(GossipInput::PeerUp(node_id(1)));
    let (to, message) = said(&told)[0];
    assert_eq!(to, Some(node_id(1)));
    let ConsensusMessage::NewRoundStep(step) = message else { panic!("{message:?}") };
    assert_eq!((step.height, step.step, step.last_commit_round), (Height::FIRST, Step::Propose as u32, None));
    scene.gossip(GossipInput::Paused);
    assert!(scene.gossip(GossipInput::PeerUp(node_id(2))).is_empty(), "nothing is said while blocks are fetched");
    let told = scene.gossip(GossipInput::Advanced(Vec::new()));
    assert!(matches!(said(&told)[..], [(None, ConsensusMessage::NewRoundStep(_))]), "all hear where we go on");
}

#[test]
fn a_vote_goes_to_whom_lacks_it_and_its_notice_to_whom_knows_it_already() {
    let mut scene = Scene::new();
    let (sender, knows, lacks) = (node_id(1), node_id(2), node_id(3));
    [sender, knows, lacks].into_iter().for_each(|peer| scene.join(peer));
    let prevote = vote(4, VoteKind::Prevote, None);
    scene.hear(knows, has(&prevote));
    let effects = scene.vote(Some(sender), &prevote);
    let told = said(&effects);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&(Some(lacks), &ConsensusMessage::Vote(prevote.clone()))));
    assert!(told.contains(&(Some(knows), &has(&prevote))), "it knows not that we have it");
    let effects = scene.vote(None, &vote(5, VoteKind::Prevote, None));
    assert_eq!(said(&effects).len(), 3, "from nowhere: the vote to all three");
}

fn has(vote: &Vote) -> ConsensusMessage {
    ConsensusMessage::HasVote { height: vote.height, round: vote.round, kind: vote.kind, index: vote.validator_index }
}

#[test]
fn the_second_vote_of_an_equivocator_reaches_who_has_only_the_first() {
    let mut scene = Scene::new();
    let (one, other) = (node_id(1), node_id(2));
    scene.join(one);
    scene.join(other);
    let id = Some(block(Height::FIRST, "a", 10).id());
    let (nil, real) = (vote(6, VoteKind::Prevote, None), vote(6, VoteKind::Prevote, id));
    scene.vote(Some(one), &nil);
    for from in 0..3 {
        scene.vote(None, &vote(from, VoteKind::Prevote, id));
    }
    let effects = scene.vote(Some(other), &real);
    assert_eq!(votes_to(&effects, one), std::slice::from_ref(&real), "more than a third want that block");
    assert!(votes_to(&effects, other).is_empty(), "it sent it");
    for from in 3..5 {
        let effects = scene.vote(None, &vote(from, VoteKind::Prevote, id));
        let claimed = claims(&effects).len();
        assert_eq!(claimed, if from == 3 { 2 } else { 0 }, "a majority with a conflict is claimed at once, to both");
    }
}

#[test]
fn a_peer_that_does_not_move_is_asked_and_given_what_it_really_lacks() {
    let mut scene = Scene::new();
    let peer = node_id(1);
    scene.join(peer);
    let id = Some(block(Height::FIRST, "a", 10).id());
    let mut woken_at = None;
    for from in 0..5 {
        scene.hear(peer, has(&vote(from, VoteKind::Prevote, id)));
        for effect in scene.vote(None, &vote(from, VoteKind::Prevote, id)) {
            if let GossipEffect::WakeAt(at) = effect {
                assert!(woken_at.replace(at).is_none(), "asked for once");
            }
        }
    }
    assert_eq!(woken_at, Some(Tick(0).plus(REPEAT_AFTER)));
    let effects = scene.wake(REPEAT_AFTER);
    let [(to, claim)] = claims(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((to, claim.kind, claim.block_id), (peer, VoteKind::Prevote, id));
    assert!(effects.iter().any(|effect| matches!(effect, GossipEffect::WakeAt(_))), "and again while it stays");
    let mut have = BitArray::new(7);
    [0, 1, 3].into_iter().for_each(|index| have.set(index));
    let effects = scene.hear(peer, ConsensusMessage::VoteSetBits { votes: claim, have: have.clone() });
    let given: Vec<u32> = votes_to(&effects, peer).iter().map(|vote| vote.validator_index).collect();
    assert_eq!(given, [2, 4]);
    let effects = scene.hear(peer, ConsensusMessage::VoteSetBits { votes: claim, have: BitArray::new(7) });
    assert!(effects.is_empty(), "nobody asked");
}

#[test]
fn an_idle_network_is_silent() {
    let mut scene = Scene::new();
    scene.join(node_id(1));
    let effects = scene.gossip(GossipInput::Advanced(Vec::new()));
    assert!(effects.is_empty(), "{effects:?}");
    assert!(scene.wake(REPEAT_AFTER).is_empty());
}

#[test]
fn a_claim_is_answered_with_what_we_have_of_that_block() {
    let mut scene = Scene::new();
    scene.join(node_id(1));
    let id = Some(block(Height::FIRST, "a", 10).id());
    scene.vote(None, &vote(2, VoteKind::Precommit, id));
    scene.vote(None, &vote(3, VoteKind::Precommit, None));
    let votes = VotesFor { height: Height::FIRST, round: Round::ZERO, kind: VoteKind::Precommit, block_id: id };
    let effects = scene.hear(node_id(1), ConsensusMessage::VoteSetMaj23(votes));
    let [(_, ConsensusMessage::VoteSetBits { have, .. })] = said(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(have.to_string(), "__x____");
    let unknown = VotesFor { round: Round::new(77), ..votes };
    let effects = scene.hear(node_id(1), ConsensusMessage::VoteSetMaj23(unknown));
    let [(_, ConsensusMessage::VoteSetBits { have, .. })] = said(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(have.to_string(), "_______");
    let elsewhere = VotesFor { height: Height::new(2), ..votes };
    assert!(scene.hear(node_id(1), ConsensusMessage::VoteSetMaj23(elsewhere)).is_empty());
    let answered = (0..5_000).filter(|_| !scene.hear(node_id(1), ConsensusMessage::VoteSetMaj23(votes)).is_empty());
    assert!(answered.count() < 2_000, "who does not read is not answered for ever");
}

#[test]
fn a_last_commit_where_none_can_be_is_a_fault() {
    for message in [
        NewRoundStep { last_commit_round: Some(Round::ZERO), ..first_step(1) },
        NewRoundStep { last_commit_round: None, ..first_step(2) },
    ] {
        let mut scene = Scene::new();
        scene.gossip(GossipInput::PeerUp(node_id(1)));
        let effects = scene.hear(node_id(1), ConsensusMessage::NewRoundStep(message));
        assert!(matches!(&effects[..], [GossipEffect::Drop(_, why)] if why.contains("last commit")), "{effects:?}");
        assert!(scene.hear(node_id(1), ConsensusMessage::NewRoundStep(first_step(1))).is_empty(), "it is forgotten");
    }
}

fn first_step(height: u64) -> NewRoundStep {
    NewRoundStep {
        height: Height::new(height),
        round: Round::ZERO,
        step: 1,
        seconds_since_start_time: 0,
        last_commit_round: None,
    }
}

#[test]
fn a_peer_is_good_after_ten_thousand_useful_votes() {
    let mut scene = Scene::new();
    scene.join(node_id(1));
    let useful = |scene: &mut Scene| scene.gossip(GossipInput::Useful { peer: node_id(1), what: Useful::Vote });
    for _ in 1..USEFUL_TO_BE_GOOD {
        assert!(useful(&mut scene).is_empty());
    }
    assert!(matches!(useful(&mut scene)[..], [GossipEffect::Good(_)]));
    assert_eq!(scene.gossip.peer_states()[0].useful_votes, USEFUL_TO_BE_GOOD);
}

#[test]
fn a_complete_block_is_told_once_and_again_only_when_the_round_or_the_block_changes() {
    let mut scene = Scene::new();
    scene.join(node_id(1));
    let built = block(Height::FIRST, "a", 100);
    let proposal = super::peers::proposal_for(built.id());
    let told = |effects: Vec<GossipEffect>| {
        let is_block = |message: &&ConsensusMessage| matches!(message, ConsensusMessage::NewValidBlock { .. });
        said(&effects).into_iter().map(|(_, message)| message).filter(is_block).count()
    };
    let said_proposal = Message::Proposal(Verified::trusted(proposal));
    assert_eq!(told(scene.consensus(said_proposal)), 0, "nothing of it is here");
    let part = built.parts().part(0).expect("one part").clone();
    let part = Message::Part { height: Height::FIRST, round: Round::ZERO, part };
    assert_eq!(told(scene.consensus(part)), 1);
    for from in 0..6 {
        assert_eq!(told(scene.vote(None, &vote(from, VoteKind::Prevote, Some(built.id())))), 0, "no news");
    }
}

/// Decided blocks that must be read.
fn loads(effects: &[GossipEffect]) -> Vec<u64> {
    let load = |effect: &GossipEffect| match effect {
        GossipEffect::LoadDecided(height) => Some(height.get()),
        _ => None,
    };
    effects.iter().filter_map(load).collect()
}

/// A block and a commit of all seven.
fn decided(height: u64) -> Decided {
    let block = block(Height::new(height), "decided", 10);
    let signed = |member: &Validator| {
        CommitSig::Commit(SignedPart {
            validator_address: member.address,
            timestamp: Time::UNIX_EPOCH,
            signature: signature_over(&member.address.to_string()),
        })
    };
    let signatures = validators(7).members().iter().map(signed).collect();
    let commit = Commit { height: Height::new(height), round: Round::ZERO, block_id: block.id(), signatures };
    Decided { block, commit: ExtendedCommit::from(commit).into() }
}

#[test]
fn however_many_peers_lag_behind_only_a_few_blocks_are_read_at_once() {
    let mut scene = Scene::at(Height::new(20));
    let mut asked = Vec::new();
    for height in 1..=9 {
        scene.gossip(GossipInput::PeerUp(node_id(height)));
        asked.extend(loads(&scene.hear(node_id(height), step(height as u64, 0, Step::Prevote))));
    }
    assert_eq!((asked.len(), &asked[..]), (LOADS_MAX, &[1, 2, 3, 4][..]));
    let height = Height::new(1);
    scene.gossip(GossipInput::DecidedLoaded { height, decided: Some(decided(1)) });
    assert_eq!(loads(&scene.hear(node_id(9), step(9, 0, Step::Precommit))), [9], "one was read, so there is room");
}

#[test]
fn no_block_is_read_for_a_peer_that_does_not_take_what_it_is_given() {
    let mut scene = Scene::at(Height::new(20));
    let peer = node_id(1);
    scene.gossip(GossipInput::PeerUp(peer));
    assert_eq!(loads(&scene.hear(peer, step(5, 0, Step::Prevote))), [5]);
    let given = scene.gossip(GossipInput::DecidedLoaded { height: Height::new(5), decided: Some(decided(5)) });
    assert_eq!(votes_to(&given, peer).len(), 7);
    assert_eq!(loads(&scene.hear(peer, step(6, 0, Step::Prevote))), [] as [u64; 0], "its votes are not written yet");
    let bytes = votes_to(&given, peer).into_iter().map(|vote| ConsensusMessage::Vote(vote).encode().len() as u64).sum();
    assert_eq!(loads(&scene.gossip(GossipInput::Written { peer, channel: Channel::Vote, bytes })), [6]);
}
