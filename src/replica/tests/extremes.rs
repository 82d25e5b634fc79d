//! Numbers at their limits: a peer may claim any height up to 2^63 − 1 and any round up to 2^31 − 1, and sums made with
//! them must not overflow. Whatever such a peer says, the chain goes on.

use super::world::{Fact, World};
use crate::consensus::tendermint::Message;
use crate::crypto::merkle::Proof;
use crate::crypto::{Hash, Verified};
use crate::evidence::Facts;
use crate::gossip::Heard;
use crate::replica::{Effect, Input, PeerInput};
use crate::sync::SyncInput;
use crate::types::*;
use bytes::Bytes;
use std::sync::Arc;

/// Heights decided before the peers come.
const HEIGHTS: u64 = 3;
const ROUND_MAX: Round = Round::new(i32::MAX as u32);

fn peer(number: u8) -> NodeId {
    NodeId::new(Address::new([number; Address::LEN]))
}

fn tell(world: &mut World, input: Input) {
    world.take(Fact::Input(input));
    assert!(world.settle());
}

fn say(world: &mut World, peer: NodeId, heard: Heard) {
    tell(world, Input::Peer(peer, PeerInput::Heard(Box::new(heard))));
}

/// A place in the chain as a peer names it, with the set that decides there.
struct Place {
    height: Height,
    round: Round,
    set: Arc<ValidatorSet>,
}

impl Place {
    /// The heights around ours and around the last, each in the first round and around the last.
    fn all(world: &World) -> Vec<Place> {
        let ours = world.state().next_height();
        let last = Height::MAX.previous().expect("it is not 0");
        let rounds = [Round::ZERO, Round::new(ROUND_MAX.get() - 1), ROUND_MAX];
        let heights = [ours.previous().expect("blocks were decided"), ours, ours.next(), last, Height::MAX];
        let at = |height| rounds.map(|round| Place { height, round, set: Arc::clone(&world.state().validators) });
        heights.into_iter().flat_map(at).filter(|place| place.height > ours || place.round > Round::ZERO).collect()
    }

    fn block_id(&self) -> BlockId {
        BlockId { hash: Hash::EMPTY, parts: PartSetHeader { total: 1, hash: Hash::EMPTY } }
    }

    fn part(&self, index: u64, total: u64) -> Part {
        let proof = Proof { total, index, leaf_hash: Hash::EMPTY, aunts: vec![Hash::EMPTY; 64] };
        Part { index: index as u32, bytes: Bytes::from(vec![0; PartSet::PART_BYTES]), proof }
    }

    fn vote(&self, kind: VoteKind, block_id: Option<BlockId>) -> Vote {
        let validator = self.set.proposer();
        let signature = crate::crypto::PrivateKey::from_seed(&[7; 32]).sign(b"unchecked here");
        Vote {
            kind,
            height: self.height,
            round: self.round,
            block_id,
            timestamp: Time::UNIX_EPOCH,
            validator_address: validator.address,
            validator_index: 0,
            signature,
            extension: Bytes::new(),
            extension_signature: block_id.filter(|_| kind == VoteKind::Precommit).map(|_| signature),
        }
    }

    fn stand(&self, step: Step) -> ConsensusMessage {
        ConsensusMessage::NewRoundStep(NewRoundStep {
            height: self.height,
            round: self.round,
            step: step as u32,
            seconds_since_start_time: i64::MIN,
            last_commit_round: Some(ROUND_MAX),
        })
    }

    /// Every message there is, about this place.
    fn messages(&self) -> Vec<ConsensusMessage> {
        let Place { height, round, .. } = *self;
        let (parts, mut have) = (self.block_id().parts, BitArray::new(1));
        have.set(0);
        let mut all = vec![
            self.stand(Step::NewHeight),
            ConsensusMessage::NewValidBlock { height, round, parts, have: have.clone(), is_commit: true },
            ConsensusMessage::ProposalPol { height, pol_round: round, have: have.clone() },
            ConsensusMessage::Proposal(Proposal {
                height,
                round,
                pol_round: round.get().checked_sub(1).map(Round::new),
                block_id: self.block_id(),
                timestamp: Time::UNIX_EPOCH,
                signature: self.vote(VoteKind::Prevote, None).signature,
            }),
            ConsensusMessage::BlockPart { height, round, part: self.part(0, 1) },
            ConsensusMessage::BlockPart { height, round, part: self.part(u64::from(u32::MAX), u64::MAX) },
        ];
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            for block_id in [None, Some(self.block_id())] {
                let votes = VotesFor { height, round, kind, block_id };
                all.push(ConsensusMessage::Vote(self.vote(kind, block_id)));
                all.push(ConsensusMessage::VoteSetMaj23(votes));
                all.push(ConsensusMessage::VoteSetBits { votes, have: have.clone() });
            }
            all.push(ConsensusMessage::HasVote { height, round, kind, index: u32::MAX });
        }
        all.extend([self.stand(Step::Commit), self.stand(Step::NewHeight)]);
        all
    }

    /// Two votes here, as an offence.
    fn offence(&self) -> Evidence {
        let (a, b) = (self.vote(VoteKind::Prevote, None), self.vote(VoteKind::Prevote, Some(self.block_id())));
        let pair = DuplicateVoteEvidence::new(a, b, Time::UNIX_EPOCH, &self.set).expect("two votes of a member");
        Evidence::DuplicateVote(Box::new(pair))
    }

    /// A forged block here, held against `common`.
    fn attack(&self, world: &World, common: Height) -> Evidence {
        let (block, commit) = &world.disk.blocks[&1];
        let header = Header { height: self.height, ..block.block().header.clone() };
        let commit = Commit { height: self.height, round: self.round, ..commit.to_commit() };
        let signed_header = SignedHeader { header, commit };
        Evidence::LightClientAttack(Box::new(LightClientAttackEvidence {
            conflicting_block: LightBlock { signed_header, validators: (*self.set).clone() },
            common_height: common,
            byzantine_validators: self.set.members().to_vec(),
            total_voting_power: Power::new(i64::MAX as u64),
            timestamp: Time::UNIX_EPOCH,
        }))
    }
}

/// The same, as it comes in when its signature was checked.
fn checked(message: &ConsensusMessage) -> Option<Message> {
    match message {
        ConsensusMessage::Proposal(proposal) => Some(Message::Proposal(Verified::trusted(proposal.clone()))),
        ConsensusMessage::Vote(vote) => Some(Message::Vote(Verified::trusted(vote.clone()))),
        ConsensusMessage::BlockPart { height, round, part } => {
            Some(Message::Part { height: *height, round: *round, part: part.clone() })
        }
        _ => None,
    }
}

/// A chain of some blocks between two heights, with a transaction that waits for the next.
fn world() -> World {
    let mut world = World::new();
    assert!(world.run_to(HEIGHTS) && world.settle());
    world.submit(Tx::new("waits"));
    assert!(world.settle());
    assert!(world.waits(&Tx::new("waits")));
    world
}

fn goes_on(mut world: World, story: &str) {
    let tip = world.state().last_block_height.get();
    assert!(world.run_to(tip + 2), "{story}: {:?}", world.halted);
    world.check(story);
    assert!(world.disk.committed().contains(&Tx::new("waits").hash()), "{story}: what waited is in a block");
}

#[test]
fn whatever_is_said_of_the_last_heights_and_rounds_the_chain_goes_on() {
    let places = Place::all(&world()).len();
    assert_eq!(places, 13);
    for at in 0..places {
        let mut world = world();
        let place = &Place::all(&world)[at];
        let story = format!("height {} round {}", place.height, place.round);
        for (number, message) in place.messages().into_iter().enumerate() {
            // A peer that says only this, and one that says it where it stands.
            for (peer, first) in [(peer(2 * number as u8), None), (peer(2 * number as u8 + 1), Some(Step::Prevote))] {
                tell(&mut world, Input::Peer(peer, PeerInput::Up));
                if let Some(step) = first {
                    say(&mut world, peer, Heard::Told(place.stand(step)));
                }
                say(&mut world, peer, Heard::Told(message.clone()));
                if let Some(said) = checked(&message) {
                    say(&mut world, peer, Heard::Said(said, message.clone()));
                }
                for channel in [Channel::State, Channel::Data, Channel::Vote, Channel::Mempool, Channel::Evidence] {
                    tell(&mut world, Input::Peer(peer, PeerInput::Written(channel, u64::MAX)));
                }
            }
        }
        goes_on(world, &story);
    }
}

#[test]
fn whatever_offence_is_told_of_the_last_heights_the_chain_goes_on() {
    let mut world = world();
    let facts =
        Facts { block_time: Time::UNIX_EPOCH, validators: Arc::clone(&world.state().validators), trusted: None };
    for place in Place::all(&world) {
        let lies = [
            place.offence(),
            place.attack(&world, Height::FIRST),
            place.attack(&world, place.height),
            place.attack(&world, Height::MAX),
        ];
        for (number, evidence) in lies.into_iter().enumerate() {
            for facts in [None, Some(facts.clone())] {
                let peer = peer(number as u8);
                tell(&mut world, Input::Peer(peer, PeerInput::Up));
                say(&mut world, peer, Heard::Told(place.stand(Step::Prevote)));
                let list = vec![(evidence.clone(), facts.clone())];
                tell(&mut world, Input::Peer(peer, PeerInput::Evidence(list)));
                let evidence = Box::new(evidence.clone());
                tell(&mut world, Input::Evidence { request: 1, evidence, facts });
            }
        }
    }
    goes_on(world, "evidence");
}

/// Block sync, of a node that decides alone and of one that waits for blocks.
#[test]
fn whatever_blocks_a_peer_says_it_has_nobody_fails() {
    let (first, last) = (Height::ZERO, Height::MAX);
    for mut world in [world(), World::follower()] {
        assert!(world.settle());
        for (number, (base, height)) in [(first, last), (last, last), (last, first)].into_iter().enumerate() {
            let peer = peer(number as u8);
            tell(&mut world, Input::Peer(peer, PeerInput::Up));
            tell(&mut world, Input::Sync(SyncInput::Status { peer, base, height }));
            for height in [Height::FIRST, last] {
                tell(&mut world, Input::Sync(SyncInput::NoBlock { peer, height }));
            }
            tell(&mut world, Input::Sync(SyncInput::Behind(height)));
            tell(&mut world, Input::DecidedLoaded { height, decided: None });
        }
        assert_eq!(world.halted, None);
        if world.state().last_block_height > Height::ZERO {
            goes_on(world, "block sync");
        }
    }
}

/// Peers that were dropped, each time it was said.
fn dropped(world: &World) -> Vec<NodeId> {
    let drop = |effect: &Effect| if let Effect::Drop { peer, .. } = effect { Some(*peer) } else { None };
    world.outward.iter().filter_map(drop).collect()
}

#[test]
fn a_peer_whose_vote_breaks_the_rules_of_its_height_is_dropped() {
    let mut world = world();
    let (height, set) = (world.state().next_height(), Arc::clone(&world.state().validators));
    let place = Place { height, round: Round::ZERO, set };
    let vote = Vote { extension_signature: None, ..place.vote(VoteKind::Precommit, Some(place.block_id())) };
    let message = ConsensusMessage::Vote(vote);
    let said = checked(&message).expect("a vote");
    say(&mut world, peer(1), Heard::Said(said, message));
    assert_eq!(dropped(&world), [peer(1)], "this height requires an extension");
    goes_on(world, "a vote without an extension");
}

#[test]
fn a_peer_that_tells_of_a_false_offence_is_dropped_and_the_rest_of_its_list_is_not_looked_at() {
    let mut world = world();
    let set = Arc::clone(&world.state().validators);
    let place = |round| Place { height: Height::FIRST, round: Round::new(round), set: Arc::clone(&set) };
    let block_time = Time::new(1, 0).expect("in range");
    let facts = Facts { block_time, validators: Arc::clone(&set), trusted: None };
    let list = (0..3).map(|round| (place(round).offence(), Some(facts.clone()))).collect();
    tell(&mut world, Input::Peer(peer(1), PeerInput::Evidence(list)));
    assert_eq!(dropped(&world), [peer(1)], "the time of the block is another");
    goes_on(world, "false offences");
}
