//! Two halves of a network: neither decides anything alone, and both go on together.

use super::link::Wire;
use super::network::{Application, Net};
use crate::integration::harness::{Failure, base64, value_of};
use serde_json::json;

const NODES: usize = 4;
const LEFT: &[usize] = &[0, 2];
const RIGHT: &[usize] = &[1, 3];

#[test]
fn halves_whose_connections_broke_decide_nothing_and_go_on_when_the_wires_are_mended() {
    heal(Wire::Cut);
}

#[test]
fn halves_whose_connections_only_stand_still_decide_nothing_and_go_on_afterwards() {
    heal(Wire::Stuck);
}

fn heal(broken: Wire) {
    let mut net = Net::new(NODES, 0, Application::BuiltIn);
    net.set("QUORATE_RPC_TIMEOUT_BROADCAST_TX_COMMIT", "1500ms");
    net.start(0..NODES);
    net.await_height(0..NODES, 3);
    net.between(LEFT, RIGHT, broken);
    // Whatever was under way when the wires broke is decided before these are given up, or never.
    let sent = [(0, "left"), (1, "right")];
    for (node, key) in sent {
        let tx = json!({"tx": base64(format!("{key}=side"))});
        let answer = net.member(node).client().call("broadcast_tx_commit", &tx);
        assert!(matches!(answer, Err(Failure::Refused(_))), "half a network decided: {answer:?}");
    }
    let stood = (0..NODES).map(|node| net.member(node).height()).max().unwrap();
    net.between(LEFT, RIGHT, Wire::Whole);
    net.await_height(0..NODES, stood + 2 + NODES as u64);
    net.assert_same_chain(0..NODES);
    // Transactions wait in the mempools of their half; every validator proposed since, so both are in.
    for (node, (_, key)) in (0..NODES).flat_map(|node| sent.map(|sent| (node, sent))) {
        assert_eq!(value_of(&mut net.member(node).client(), key), Some("side".to_owned()), "node {node}");
    }
}
