//! Four validators agree, wherever a transaction comes in, and one of them may die.

use super::network::{Application, Net};
use crate::integration::harness::{assert_linked, value_of};

const NODES: usize = 4;
/// Transactions given to each node.
const TXS_EACH: usize = 3;

#[test]
fn four_nodes_with_applications_of_their_own_commit_what_any_of_them_was_given() {
    let net = Net::started(NODES, Application::External);
    let pairs = || (0..TXS_EACH).flat_map(|turn| (0..NODES).map(move |node| (node, format!("from-{node}-{turn}"))));
    let mut last = 0;
    for (node, key) in pairs() {
        last = last.max(net.member(node).commit_tx(&format!("{key}=value-of-{key}")));
    }
    // The block after carries the application hash of the last transaction.
    net.await_height(0..NODES, last + 1);
    for (node, key) in (0..NODES).flat_map(|node| pairs().map(move |(_, key)| (node, key))) {
        let value = value_of(&mut net.member(node).client(), &key);
        assert_eq!(value, Some(format!("value-of-{key}")), "node {node}");
    }
    let tip = net.assert_same_chain(0..NODES);
    assert!(tip > last);
    let counts = (0..NODES).map(|node| assert_linked(&mut net.member(node).client()).1);
    assert_eq!(counts.collect::<Vec<_>>(), [TXS_EACH * NODES; NODES].map(|count| count as u64), "each once");
}

#[test]
fn a_node_killed_and_started_again_takes_part_again_and_has_not_contradicted_itself() {
    let mut net = Net::started(NODES, Application::BuiltIn);
    net.await_height(0..NODES, 3);
    let victim = 2;
    net.kill(victim);
    let before = net.member(0).height();
    net.await_height([0, 1, 3], before + 3);
    net.start([victim]);
    net.member(0).await_vote_of(net.member(victim), before + 3);
    net.assert_same_chain(0..NODES);
    for witness in [0, 1, 3] {
        assert_eq!(net.member(witness).evidence_on_chain(), 0);
    }
}
