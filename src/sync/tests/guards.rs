//! The guards of the planner one by one: what proves nothing moves nobody.

use super::chain::{Chain, Shape};
use super::stories::deciding_at;
use super::world::Habit::{Behind, Honest};
use super::world::{World, ms, s};
use crate::sync::*;
use crate::types::{Address, Height, NodeId};

#[test]
fn a_node_that_hears_of_the_height_it_is_at_looks_into_nothing() {
    let mut world = deciding_at(50, 60, &[Honest]);
    let before = world.status_asks;
    world.tell(SyncInput::Behind(Height::new(51)));
    world.run(s(60));
    assert_eq!(world.status_asks, before);
}

#[test]
fn who_answers_first_keeps_nobody_else_from_being_heard() {
    let mut world = World::new(Chain::new(Shape::new(50)), None);
    world.connect(Behind(10));
    world.connect_with(Honest, ms(300), ms(1));
    world.begin();
    world.run_until_joined(s(20));
    assert_eq!(world.height, 49);
}

#[test]
fn a_peer_that_was_dropped_and_comes_back_is_not_asked_for_its_status() {
    let (mut sync, chain) = (Sync::new(Role::OneOfMany, None), Chain::new(Shape::new(3)));
    let peer = NodeId::new(Address::new([7; 20]));
    let mut step = |at, input| {
        let mut out = Vec::new();
        sync.step(at, input, &mut out);
        out
    };
    let asked = |out: Vec<SyncEffect>| out.iter().any(|effect| matches!(effect, SyncEffect::AskStatus(_)));
    step(s(1), SyncInput::PeerUp(peer));
    assert!(asked(step(s(1), SyncInput::Begin(chain.state(0)))));
    let impossible = SyncInput::Status { peer, base: Height::new(5), height: Height::FIRST };
    let out = step(s(1), impossible);
    assert!(out.iter().any(|effect| matches!(effect, SyncEffect::Drop(..))), "{out:?}");
    for (later, wanted) in [(2, false), (120, true)] {
        step(s(later), SyncInput::PeerDown(peer));
        assert_eq!(asked(step(s(later), SyncInput::PeerUp(peer))), wanted, "after {later} s");
    }
}
