//! Whoever is behind catches up: by fetching blocks, or by the gossip of those who are ahead.

use super::link::Wire;
use super::network::{Application, Net};
use rustix::process::Signal;

const NODES: usize = 4;
/// A lag that gossip makes good.
const FEW: u64 = 3;
/// A lag worth fetching blocks for.
const MANY: u64 = 40;

#[test]
fn a_late_joiner_fetches_the_blocks_and_then_votes_and_a_follower_follows() {
    let mut net = Net::new(NODES, 1, Application::BuiltIn);
    net.start([0, 1, 2]);
    net.await_height([0], MANY);
    let (late, follower) = (NODES - 1, NODES);
    net.start([late, follower]);
    net.await_height([late, follower], MANY);
    net.member(0).await_vote_of(net.member(late), MANY);
    net.await_height([follower], net.member(0).height() + 2);
    for node in [late, follower] {
        assert!(!net.member(node).is_catching_up(), "node {node}");
    }
    net.assert_same_chain(0..=follower);
}

#[test]
fn a_node_that_stood_still_for_a_few_heights_votes_again() {
    let net = Net::started(NODES, Application::BuiltIn);
    net.await_height(0..NODES, 2);
    let sleeper = 3;
    net.member(sleeper).signal(Signal::STOP);
    let height = net.member(0).height() + FEW;
    net.await_height([0], height);
    net.member(sleeper).signal(Signal::CONT);
    net.member(0).await_vote_of(net.member(sleeper), height);
    net.assert_same_chain(0..NODES);
}

#[test]
fn a_node_cut_off_for_many_heights_votes_again() {
    let net = Net::started(NODES, Application::BuiltIn);
    net.await_height(0..NODES, 2);
    let alone = 1;
    net.between(&[alone], &[0, 2, 3], Wire::Cut);
    let height = net.member(0).height() + MANY;
    net.await_height([0], height);
    assert!(net.member(alone).height() < height);
    net.between(&[alone], &[0, 2, 3], Wire::Whole);
    net.member(0).await_vote_of(net.member(alone), height);
    net.assert_same_chain(0..NODES);
}
