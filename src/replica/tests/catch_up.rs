//! A node that has nothing fetches the chain of another, decides with it, falls behind, and fetches again.

use super::world::{Death, Fact, World};
use crate::consensus::Tick;
use crate::gossip::Heard;
use crate::replica::{Effect, Input, PeerInput};
use crate::sync::{CheckFault, CommitCheck, Stage, SyncInput};
use crate::types::*;

/// Blocks the other has at first.
const BLOCKS: u64 = 12;

fn source(blocks: u64) -> World {
    let mut world = World::new();
    assert!(world.run_to(blocks));
    world
}

fn peer() -> NodeId {
    NodeId::new(Address::new([5; Address::LEN]))
}

fn tell(node: &mut World, input: Input) {
    node.take(Fact::Input(input));
}

fn check(chain_id: &ChainId, check: &CommitCheck) -> Result<(), CheckFault> {
    let CommitCheck { block, commit, extended_commit, validators, quorum } = check;
    let (id, height) = (block.id(), block.block().header.height);
    validators
        .verify_commit(chain_id, &id, height, commit, *quorum)
        .map_err(|error| CheckFault::Commit(error.to_string()))?;
    extended_commit.iter().try_for_each(|extended| {
        validators
            .verify_extended_commit(chain_id, &id, height, extended, Extensions::Required, *quorum)
            .map_err(|error| CheckFault::Extensions(error.to_string()))
    })
}

/// Plays the peer until consensus decides `height`, or the one before: a node that lacks only the tip leaves it to
/// consensus. False when the fuel ran out.
fn fetch_until_deciding(node: &mut World, source: &World, height: u64) -> bool {
    fetch_until(node, source, |node| node.deciding().is_some_and(|at| at + 1 >= height))
}

/// Plays the peer until this is so. False when the fuel ran out.
fn fetch_until(node: &mut World, source: &World, done: impl Fn(&World) -> bool) -> bool {
    let tip = source.disk.blocks.keys().last().copied().expect("the source has blocks");
    let mut wake = None;
    for _ in 0..10_000 {
        if !node.settle() {
            return false;
        }
        let fetches = node.progress().stage == Stage::Fetching;
        assert!(!fetches || node.deciding().is_none(), "consensus stands still while blocks are fetched");
        let Some(effect) = node.outward.pop_front() else {
            if done(node) {
                return true;
            }
            let stuck = || panic!("deciding {:?}, nothing to wait for: {:?}", node.deciding(), node.progress());
            let at: Tick = wake.take().unwrap_or_else(stuck);
            node.wake_sync(at);
            continue;
        };
        match effect {
            Effect::Tell { message: PeerMessage::Blocksync(BlocksyncMessage::StatusRequest), peer } => {
                let (base, height) = (Height::FIRST, Height::new(tip));
                tell(node, Input::Sync(SyncInput::Status { peer, base, height }));
            }
            Effect::Tell { message: PeerMessage::Blocksync(BlocksyncMessage::BlockRequest(height)), peer } => {
                let (block, commit) = source.disk.blocks[&height.get()].clone();
                let extended_commit = (height.get() >= 2).then(|| Box::new(commit));
                tell(node, Input::Sync(SyncInput::Block { peer, block, extended_commit }));
            }
            Effect::VerifyCommits { ticket, checks } => {
                let outcomes = checks.iter().map(|one| check(node.chain_id(), one)).collect();
                tell(node, Input::Sync(SyncInput::Verified { ticket, outcomes }));
            }
            Effect::WakeAt { at, waker: crate::replica::Waker::Sync } => wake = Some(at),
            Effect::Drop { why, .. } => panic!("an honest peer is dropped: {why}"),
            _ => {}
        }
    }
    panic!("deciding {:?} after 10,000 turns", node.deciding());
}

fn same_chain(node: &World, source: &World) {
    let blocks = node.deciding().expect("consensus goes on") - 1;
    for height in 1..=blocks {
        let (ours, theirs) = (&node.disk.blocks[&height], &source.disk.blocks[&height]);
        assert_eq!((ours.0.id(), &ours.1), (theirs.0.id(), &theirs.1), "block {height} and its extended commit");
    }
    assert_eq!(node.app.height, blocks);
}

fn stands_at(height: u64) -> Input {
    let step = NewRoundStep {
        height: Height::new(height),
        round: Round::ZERO,
        step: 1,
        seconds_since_start_time: 0,
        last_commit_round: Some(Round::ZERO),
    };
    Input::Peer(peer(), PeerInput::Heard(Box::new(Heard::Told(ConsensusMessage::NewRoundStep(step)))))
}

#[test]
fn a_follower_fetches_decides_falls_behind_and_fetches_again() {
    let mut source = source(BLOCKS);
    let mut node = World::follower();
    tell(&mut node, Input::Peer(peer(), PeerInput::Up));
    assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 1));
    assert_eq!(node.deciding(), Some(BLOCKS + 1), "with extensions the last block comes with its own proof");
    same_chain(&node, &source);

    assert!(source.run_to(BLOCKS + 10));
    tell(&mut node, stands_at(BLOCKS + 3));
    assert!(node.settle());
    assert_eq!(node.deciding(), Some(BLOCKS + 1), "a few heights are left to consensus");
    let is_sync = |effect: &Effect| {
        let asks = matches!(effect, Effect::Tell { message: PeerMessage::Blocksync(_), .. });
        asks || matches!(effect, Effect::WakeAt { waker: crate::replica::Waker::Sync, .. })
    };
    assert!(!node.outward.iter().any(is_sync), "and nobody looks into them: {:?}", node.outward);
    tell(&mut node, stands_at(BLOCKS + 11));
    assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 11));
    assert_eq!(node.deciding(), Some(BLOCKS + 11));
    same_chain(&node, &source);
    node.check("fetched twice");
}

/// Fetching begins with the handshake, which may apply what was decided before: a block that was being applied already
/// would be forgotten, and consensus begin at its height.
#[test]
fn a_node_whose_application_is_away_steps_aside_and_fetches_nothing_until_it_is_back() {
    let mut source = source(BLOCKS);
    let mut node = World::follower();
    tell(&mut node, Input::Peer(peer(), PeerInput::Up));
    assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 1));
    assert!(source.run_to(BLOCKS + 2));
    node.app_goes_away();
    tell(&mut node, stands_at(BLOCKS + 11));
    assert!(fetch_until(&mut node, &source, |node| node.deciding().is_none()));
    assert_eq!(node.progress().stage, Stage::Paused);
    node.app_comes_back();
    assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 3));
    same_chain(&node, &source);
    node.check("fetched without its application");
}

#[test]
fn a_transaction_goes_to_a_peer_as_soon_as_the_application_has_looked_at_it() {
    let source = source(BLOCKS);
    let mut node = World::follower();
    tell(&mut node, Input::Peer(peer(), PeerInput::Up));
    assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 1));
    tell(&mut node, stands_at(BLOCKS + 1));
    node.outward.clear();
    let tx = Tx::new("now".to_owned());
    node.submit(tx.clone());
    assert!(node.settle());
    let offer = PeerMessage::Txs(vec![tx.bytes().clone()]);
    let told = |effect: &Effect| matches!(effect, Effect::Tell { message, .. } if *message == offer);
    assert!(node.outward.iter().any(told), "{:?}", node.outward);
}

#[test]
fn a_follower_dies_after_every_order_while_it_fetches_and_nothing_is_applied_twice() {
    let source = source(BLOCKS);
    let mut whole = World::follower();
    tell(&mut whole, Input::Peer(peer(), PeerInput::Up));
    assert!(fetch_until_deciding(&mut whole, &source, BLOCKS + 1));
    assert!(whole.executed > 100, "{} orders", whole.executed);
    for cut in 0..whole.executed {
        for death in [Death::Kill, Death::PowerCut] {
            let mut node = World::follower();
            node.fuel = cut;
            tell(&mut node, Input::Peer(peer(), PeerInput::Up));
            if fetch_until_deciding(&mut node, &source, BLOCKS + 1) {
                continue;
            }
            let mut node = node.restart(death);
            tell(&mut node, Input::Peer(peer(), PeerInput::Up));
            assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 1));
            same_chain(&node, &source);
            node.check(&format!("{death:?} after {cut} orders of fetching"));
        }
    }
}

#[test]
fn the_application_is_lost_after_every_order_while_blocks_are_fetched() {
    let source = source(BLOCKS);
    for cut in 0..250 {
        let mut node = World::follower();
        node.fuel = cut;
        tell(&mut node, Input::Peer(peer(), PeerInput::Up));
        if fetch_until_deciding(&mut node, &source, BLOCKS + 1) {
            break;
        }
        node.fuel = usize::MAX;
        node.lose_app();
        assert!(fetch_until_deciding(&mut node, &source, BLOCKS + 1));
        same_chain(&node, &source);
        node.check(&format!("application lost after {cut} orders of fetching"));
    }
}
