//! What one peer brought: to whom it is told on, and what is held against nobody.

use super::world::{Death, Fact, World};
use crate::consensus::Accusation;
use crate::crypto::{Hash, PrivateKey};
use crate::evidence::Facts;
use crate::gossip::Heard;
use crate::replica::{Effect, Input, PeerInput, Waker};
use crate::types::*;
use bytes::Bytes;
use std::sync::Arc;

/// Heights decided before.
const HEIGHTS: u64 = 3;

fn peer(number: u8) -> NodeId {
    NodeId::new(Address::new([number; Address::LEN]))
}

fn world() -> World {
    let mut world = World::new();
    assert!(world.run_to(HEIGHTS) && world.settle());
    world
}

fn tell(world: &mut World, from: NodeId, input: PeerInput) {
    world.take(Fact::Input(Input::Peer(from, input)));
    assert!(world.settle());
}

/// A peer comes and says that it is where we are.
fn comes(world: &mut World, number: u8) {
    let height = world.state().next_height();
    let standing = NewRoundStep {
        height,
        round: Round::ZERO,
        step: Step::NewHeight as u32,
        seconds_since_start_time: 0,
        last_commit_round: Some(Round::ZERO),
    };
    tell(world, peer(number), PeerInput::Up);
    let said = Heard::Told(ConsensusMessage::NewRoundStep(standing));
    tell(world, peer(number), PeerInput::Heard(Box::new(said)));
}

/// Two prevotes of our key.
fn contradiction(world: &World, height: Height) -> [Vote; 2] {
    [1, 2].map(|tag| {
        let hash = Hash::new([tag; 32]);
        world.signed_elsewhere(UnsignedVote {
            kind: VoteKind::Prevote,
            height,
            round: Round::ZERO,
            block_id: Some(BlockId { hash, parts: PartSetHeader { total: 1, hash } }),
            timestamp: Time::UNIX_EPOCH,
            validator_address: world.own_address(),
            validator_index: 0,
            extension: None,
        })
    })
}

fn told(world: &World, wanted: impl Fn(NodeId, &PeerMessage) -> bool) -> bool {
    world.outward.iter().any(|effect| matches!(effect, Effect::Tell { peer, message } if wanted(*peer, message)))
}

#[test]
fn a_peer_that_comes_back_is_offered_what_it_brought_before_it_went() {
    let mut world = world();
    comes(&mut world, 1);
    tell(&mut world, peer(1), PeerInput::Txs(vec![Tx::new("brought")]));
    assert!(world.waits(&Tx::new("brought")));
    let offered = |world: &World| {
        let brought = |txs: &[Bytes]| txs.contains(&Bytes::from("brought"));
        told(world, |to, message| to == peer(1) && matches!(message, PeerMessage::Txs(txs) if brought(txs)))
    };
    assert!(!offered(&world), "it has it");
    tell(&mut world, peer(1), PeerInput::Down);
    comes(&mut world, 1);
    assert!(offered(&world), "it may have lost it with its memory");
}

/// Whoever proposes may have had no room for it when it was offered.
#[test]
fn a_transaction_that_lingers_is_offered_again_even_to_who_brought_it() {
    let mut world = world();
    world.share_power();
    let mut world = world.restart(Death::Kill);
    comes(&mut world, 1);
    tell(&mut world, peer(1), PeerInput::Txs(vec![Tx::new("brought")]));
    let woken_at = |world: &World| {
        let at = |effect: &Effect| match effect {
            Effect::WakeAt { waker: Waker::Mempool, at } => Some(*at),
            _ => None,
        };
        world.outward.iter().rev().find_map(at)
    };
    let offers = |world: &World| {
        let offered = |effect: &&Effect| matches!(effect, Effect::Tell { message: PeerMessage::Txs(_), .. });
        world.outward.iter().filter(offered).count()
    };
    for offered in 0..3 {
        assert_eq!(offers(&world), offered);
        let at = woken_at(&world).expect("a look is due");
        world.wake(Waker::Mempool, at);
        assert!(world.settle());
    }
}

#[test]
fn evidence_one_peer_tells_is_told_to_the_others_at_once() {
    let mut world = world();
    let height = Height::new(HEIGHTS);
    let [first, second] = contradiction(&world, height);
    let (block_time, set) = (world.state().last_block_time, Arc::clone(&world.state().validators));
    let pair = DuplicateVoteEvidence::new(first, second, block_time, &set).expect("a contradiction");
    comes(&mut world, 1);
    comes(&mut world, 2);
    let facts = Facts { block_time, validators: set, trusted: None };
    let list = vec![(Evidence::DuplicateVote(Box::new(pair)), Some(facts))];
    tell(&mut world, peer(1), PeerInput::Evidence(list));
    let told_to =
        |number| told(&world, |to, message| to == peer(number) && matches!(message, PeerMessage::Evidence(_)));
    assert_eq!((told_to(1), told_to(2)), (false, true));
}

/// It may count when more want the same; until then whoever brings it is heard.
#[test]
fn a_vote_that_contradicts_the_first_is_to_be_told_again() {
    let mut world = world();
    world.share_power();
    let mut world = world.restart(Death::Kill);
    assert!(world.settle());
    while world.deciding().is_none() {
        let wake = world.outward.iter().rev().find_map(|effect| match effect {
            Effect::WakeAt { waker: Waker::Sync, at } => Some(*at),
            _ => None,
        });
        world.wake_sync(wake.expect("it waits for nobody for ever"));
        assert!(world.settle());
    }
    let again = |world: &World| {
        let places = world.outward.iter().filter_map(|effect| match effect {
            Effect::HearAgain(place) => Some(*place),
            _ => None,
        });
        places.collect::<Vec<_>>()
    };
    let (height, other) = (world.state().next_height(), PrivateKey::from_seed(&[8; 32]));
    let address = Address::from(&other.public_key());
    let (index, _) = world.state().validators.by_address(&address).expect("a validator");
    for (tag, expected) in [(1, vec![]), (2, vec![(height, Round::ZERO, VoteKind::Prevote, index)])] {
        let hash = Hash::new([tag; 32]);
        let block_id = Some(BlockId { hash, parts: PartSetHeader { total: 1, hash } });
        let (round, timestamp, signature) = (Round::ZERO, Time::UNIX_EPOCH, other.sign(&[tag]));
        world.hear(&Vote {
            kind: VoteKind::Prevote,
            height,
            round,
            block_id,
            timestamp,
            validator_address: address,
            validator_index: index,
            signature,
            extension: Bytes::new(),
            extension_signature: None,
        });
        assert!(world.settle());
        assert_eq!(again(&world), expected);
    }
}

/// A twin of ours is stopped, not denounced.
#[test]
fn a_node_denounces_everybody_but_itself() {
    let mut world = world();
    let [first, second] = contradiction(&world, world.state().next_height());
    world.replica.accuse(Accusation { first, second });
    assert!(world.run_to(HEIGHTS + 3));
    assert!(world.disk.blocks.values().all(|(block, _)| block.block().evidence.is_empty()));
}
